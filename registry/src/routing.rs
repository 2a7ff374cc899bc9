//! How requests of one app are routed. Every default is Heroku's value where Heroku publishes one.

use std::{fmt, num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

/// A span of time in whole milliseconds, on the wire a plain number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// `seconds` as milliseconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }
    /// The same span as a [`Duration`].
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which dyno of an app gets the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// The dyno with the fewest requests in flight; ties at random. The default, because it waits least.
    #[default]
    Least,
    /// The less busy one of two chosen at random.
    P2c,
    /// Of two chosen at random, the one with the smaller expected wait (decaying peak latency × requests in flight).
    PeakEwma,
    /// One after the other.
    RoundRobin,
    /// Any of them: what Heroku's router does.
    Random,
    /// The same key (session cookie or client address) goes to the same dyno while the set lasts.
    Rendezvous,
}

/// What the dynos of an app speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DynoProtocol {
    /// HTTP/1.1 in the clear, as on Heroku.
    #[default]
    Http1,
    /// HTTP/2 in the clear, without asking first (RFC 9113 §3.3).
    H2c,
    /// HTTP/2 over TLS.
    H2,
}

impl DynoProtocol {
    /// Whether it is HTTP/2.
    pub const fn is_http2(self) -> bool {
        matches!(self, Self::H2c | Self::H2)
    }
    /// Whether it is encrypted.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::H2)
    }
}

/// How the dynos of an app that speak TLS show who they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DynoTls {
    /// Who may have signed their certificates, or those certificates themselves: PEM text. `None`: nobody.
    pub ca: Option<String>,
    /// The name their certificates are for. `None`: each dyno's is for its own IP address.
    pub server_name: Option<String>,
    /// Off, whoever answers at a dyno's address is believed to be it.
    pub verify: bool,
}

impl Default for DynoTls {
    fn default() -> Self {
        Self { ca: None, server_name: None, verify: true }
    }
}

/// How requests of one app are routed.
///
/// Unknown keys are refused; missing keys take Heroku's values (HTTP Routing, Error Codes: Dev Center).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Routing {
    /// How the next dyno is chosen.
    pub balance: Balance,
    /// A client's requests go to the dyno that its cookie names.
    pub session_affinity: bool,
    /// A dyno that is new gets its full share only after this time, and a part that grows linearly before. Zero: at once.
    pub slow_start_ms: Millis,
    /// At most this many requests at a dyno at a time; the rest waits in the router. `None`: no such limit.
    pub concurrency_per_dyno: Option<NonZeroU32>,
    /// How many requests may wait in the router for a free dyno before H11; counts only with `concurrency_per_dyno`.
    pub queue_limit: u32,
    /// Requests in flight per up web dyno, over the whole app, before H11.
    pub in_flight_per_dyno: u32,
    /// Requests of the app in flight before H22. `None`: no such limit.
    pub request_limit: Option<NonZeroU32>,
    /// How long one TCP connect to a dyno may take before the next dyno is tried (H19).
    pub connect_timeout_ms: Millis,
    /// How many dynos are tried for one request (H19, H21).
    pub connect_attempts: u32,
    /// How long a dyno that refused or timed out is left alone by this router.
    pub quarantine_ms: Millis,
    /// A dyno that fails so many requests in a row is ejected: left alone, and for longer each time. `None`: never, as
    /// Heroku. A failure is what the router itself sees: no connection, H12, H13 or H18 without a response.
    pub eject_after: Option<NonZeroU32>,
    /// How long a dyno is ejected the first time, twice as long the second, and so on up to five minutes.
    pub eject_for_ms: Millis,
    /// When more than this part of the app's dynos would be ejected, none is: it is not they who are sick.
    pub eject_at_most_percent: u32,
    /// Of 100 requests of the app, at most so many may be tried once more.
    pub retry_budget_percent: u32,
    /// Besides those, so many retries per second.
    pub retry_budget_per_second: u32,
    /// From the last byte of the request to the first byte of the response (H12).
    pub first_byte_timeout_ms: Millis,
    /// The longest silence in each direction after that (H15, H28).
    pub idle_timeout_ms: Millis,
    /// The whole request, from its head to the last byte of the response (H12). An upgraded connection has no such
    /// limit. `None`: no other request has one either.
    pub total_timeout_ms: Option<Millis>,
    /// The slowest a client may send its body or take the response, in bytes per second (H28). Zero: as slow as
    /// `idle_timeout_ms` allows.
    pub min_rate: u32,
    /// Over how long a time of waiting for the client `min_rate` is measured, again and again.
    pub min_rate_period_ms: Millis,
    /// How long a request waits for a dyno that boots, wakes, or leaves quarantine (H20, H34), or for a free one (H11).
    pub hold_timeout_ms: Millis,
    /// How much of a response the router takes from a dyno ahead of a slow client, so that the dyno is free earlier;
    /// Heroku's routers: 1 MiB. Zero: only what is on its way.
    pub response_buffer_bytes: u32,
    /// How long an unused connection to a dyno is kept. Zero: none is kept.
    pub dyno_keepalive_ms: Millis,
    /// What its dynos speak.
    #[serde(skip_serializing_if = "is_usual")]
    pub dyno_protocol: DynoProtocol,
    /// How its dynos show who they are, if they speak TLS. `None`: they cannot, and none is believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dyno_tls: Option<Box<DynoTls>>,
    /// The router answers `Expect: 100-continue` itself. False: the dyno does, end to end.
    pub answer_continue: bool,
    /// Requests over plain HTTP are sent to `https://` instead of a dyno.
    pub https_redirect: bool,
    /// Browsers are told to use TLS only, for so long (`Strict-Transport-Security`). `None`: they are not.
    pub hsts_seconds: Option<u32>,
    /// Shown in a frame in place of our own page for H-codes.
    pub error_page_url: Option<String>,
    /// Shown in a frame in place of our own maintenance page (H80).
    pub maintenance_page_url: Option<String>,
}

// What nobody has asked for is not written, so that older routers and runtimes still read it.
fn is_usual(protocol: &DynoProtocol) -> bool {
    *protocol == DynoProtocol::default()
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            balance: Balance::Least,
            session_affinity: false,
            slow_start_ms: Millis(0),
            concurrency_per_dyno: None,
            queue_limit: 1000,
            in_flight_per_dyno: 200,
            request_limit: None,
            connect_timeout_ms: Millis::from_secs(5),
            connect_attempts: 10,
            quarantine_ms: Millis::from_secs(5),
            eject_after: None,
            eject_for_ms: Millis::from_secs(10),
            eject_at_most_percent: 50,
            retry_budget_percent: 20,
            retry_budget_per_second: 10,
            first_byte_timeout_ms: Millis::from_secs(30),
            idle_timeout_ms: Millis::from_secs(55),
            total_timeout_ms: None,
            min_rate: 0,
            min_rate_period_ms: Millis::from_secs(20),
            hold_timeout_ms: Millis::from_secs(75),
            response_buffer_bytes: 1024 * 1024,
            dyno_keepalive_ms: Millis::from_secs(90),
            dyno_protocol: DynoProtocol::Http1,
            dyno_tls: None,
            answer_continue: true,
            https_redirect: false,
            hsts_seconds: None,
            error_page_url: None,
            maintenance_page_url: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_written_means_herokus_values() {
        let routing: Routing = serde_json::from_str("{}").unwrap();
        assert_eq!(routing, Routing::default());
        assert_eq!(routing.first_byte_timeout_ms.duration(), Duration::from_secs(30));
    }

    #[test]
    fn what_dynos_speak_is_written_only_where_it_is_not_http_1() {
        let usual = serde_json::to_string(&Routing::default()).unwrap();
        assert!(!usual.contains("dyno_protocol") && !usual.contains("dyno_tls"), "{usual}");
        let open = DynoTls { verify: false, ..DynoTls::default() };
        let h2 =
            Routing { dyno_protocol: DynoProtocol::H2, dyno_tls: Some(Box::new(open)), ..Routing::default() };
        let written = serde_json::to_string(&h2).unwrap();
        assert!(written.contains(r#""dyno_protocol":"h2","dyno_tls":{"ca":null"#), "{written}");
        assert_eq!(serde_json::from_str::<Routing>(&written).unwrap(), h2);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let refused = serde_json::from_str::<Routing>(r#"{"ballance":"least"}"#).unwrap_err();
        assert!(refused.to_string().contains("ballance"), "{refused}");
    }
}
