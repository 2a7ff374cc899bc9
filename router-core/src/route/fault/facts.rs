//! What follows from a fault: one `match` per list, none with a wildcard.

use std::fmt;

use super::{Fault, Mismatch, RequestError, RequestFlaw, Restriction};

/// What follows from a [`Fault`]. The text in the log (`code`, `desc`, `cause`, `at`, `sock`) is Heroku's where
/// Heroku has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Heroku's code. `None`: Heroku shows none, because no app's log could show it.
    pub code: Option<Code>,
    /// The fault's own name, unique: `request_timeout`. It is the `id` of a JSON body and the label of a metric.
    pub id: &'static str,
    /// The status the client gets if no part of a response was sent yet. 499 is only logged, never sent.
    pub status: u16,
    /// The log level.
    pub at: At,
    /// The connection that broke, where the log names one.
    pub sock: Option<Sock>,
    /// What the log says happened.
    pub desc: &'static str,
    /// What the log says it was precisely.
    pub cause: Option<&'static str>,
    /// Whose doing it is.
    pub blame: Blame,
    /// What may be tried before the fault ends the request.
    pub retry: Retry,
    /// Whether an HTTP/1 connection to the client is closed after the answer. Otherwise it stays open if the client
    /// wanted so and its whole request was read.
    pub closes_client: bool,
}

/// Heroku's name of a fault: `H12`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(&'static str);

impl Code {
    /// `"H12"`.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// How loud the log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum At {
    /// Nothing is wrong, or somebody wanted it so.
    Info,
    /// The client's doing.
    Warning,
    /// The app's, a dyno's or the router's doing.
    Error,
}

impl At {
    /// The word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Which of the two connections of a request broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sock {
    /// The one to the client.
    Client,
    /// The one to the dyno, which the log calls `backend`.
    Dyno,
}

impl Sock {
    /// The word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Dyno => "backend",
        }
    }
}

/// Whose doing a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// Whoever sent the request.
    Client,
    /// The one dyno that had the request.
    Dyno,
    /// The app as a whole: its formation, its settings, its owner's decision.
    App,
    /// The router or the machinery around it.
    Router,
}

impl Blame {
    /// As `docs/errors.md` says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Dyno => "dyno",
            Self::App => "app",
            Self::Router => "router",
        }
    }
}

/// What the router may do before a fault ends the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Nothing: the dyno may have acted on the request, or another try would end the same.
    Never,
    /// Try another dyno: no byte of the request was sent.
    AnotherDyno,
    /// Send it again over a new connection, only if this one was reused from the pool, the method is idempotent,
    /// and no byte of a request body was sent (RFC 9110 section 9.2.2, RFC 9112 section 9.3.1).
    NewConnection,
}

impl Fault {
    /// What follows from it.
    pub const fn facts(self) -> Facts {
        use Blame::{App, Client, Dyno, Router};
        match self {
            Self::AppCrashed => coded("H10", 503, "app_crashed", "App crashed", App),
            Self::BacklogTooDeep => coded("H11", 503, "backlog_too_deep", "Backlog too deep", App),
            Self::RequestTimeout => coded("H12", 503, "request_timeout", "Request timeout", Dyno).closing(),
            Self::ClosedWithoutResponse => {
                coded("H13", 503, "closed_without_response", "Connection closed without response", Dyno)
                    .closing()
                    .retried(Retry::NewConnection)
            }
            Self::NoWebProcesses => coded("H14", 503, "no_web_processes", "No web processes running", App),
            Self::IdleConnection => coded("H15", 503, "idle_connection", "Idle connection", Dyno).closing(),
            Self::PoorlyFormattedResponse => {
                coded("H17", 503, "poorly_formatted_response", "Poorly formatted HTTP response", Dyno)
                    .closing()
            }
            Self::ServerRequestInterrupted => {
                coded("H18", 503, "server_request_interrupted", "Server Request Interrupted", Dyno)
                    .closing()
                    .on(Sock::Dyno)
            }
            Self::ConnectTimeout => coded("H19", 503, "connect_timeout", "Backend connection timeout", Dyno)
                .retried(Retry::AnotherDyno),
            Self::BootTimeout => coded("H20", 503, "boot_timeout", "App boot timeout", App),
            Self::ConnectRefused => coded("H21", 503, "connect_refused", "Backend connection refused", Dyno)
                .retried(Retry::AnotherDyno),
            Self::DynoMismatch(mismatch) => mismatch.facts(),
            Self::RequestLimit => coded("H22", 503, "request_limit", "Connection limit reached", App),
            Self::ForcedClose => coded("H24", 503, "forced_close", "Forced close", Router).closing(),
            Self::ResponseRestriction(restriction) => restriction.facts(),
            Self::RequestError(error) => error.facts(),
            Self::ClientInterrupted => {
                coded("H27", 499, "client_interrupted", "Client Request Interrupted", Client)
                    .at(At::Warning)
                    .on(Sock::Client)
                    .closing()
            }
            Self::ClientIdle => {
                coded("H28", 499, "client_idle", "Client Connection Idle", Client).at(At::Warning).closing()
            }
            Self::Misdirected => coded("H31", 421, "misdirected", "Misdirected Request", Client),
            Self::TlsMismatch => {
                coded("H32", 495, "tls_mismatch", "TLS Certificate Mismatch", Client).closing()
            }
            Self::StreamBroken => {
                coded("H33", 499, "stream_broken", "HTTP/2 Stream Broken", Client).at(At::Warning).closing()
            }
            Self::AllQuarantined => coded("H34", 503, "all_quarantined", "All up dynos are quarantined", App),
            Self::Maintenance => coded("H80", 503, "maintenance", "Maintenance mode", App).at(At::Info),
            Self::BlankApp => coded("H81", 502, "blank_app", "Blank app", App).at(At::Info),
            Self::PlatformError => coded("H99", 503, "platform_error", "Platform error", Router).closing(),
            Self::UnknownHost => uncoded(404, "unknown_host", "No such app", None),
            Self::RequestFlaw(flaw) => flaw.facts(),
        }
    }
}

impl Mismatch {
    /// The facts of H17 and H21 when it was found out before anything was sent.
    const fn facts(self) -> Facts {
        let (code, id, desc, cause) = match self {
            Self::NoHttp2 => {
                ("H17", "dyno_no_http2", "Poorly formatted HTTP response", "dyno does not speak HTTP/2")
            }
            Self::Tls => ("H21", "dyno_tls", "Backend connection refused", "TLS handshake with dyno failed"),
        };
        Facts { cause: Some(cause), ..coded(code, 503, id, desc, Blame::Dyno).retried(Retry::AnotherDyno) }
    }
}

impl Restriction {
    /// The facts of H25; Heroku puts the precise cause into `desc`.
    const fn facts(self) -> Facts {
        let (id, desc) = match self {
            Self::ContentLength => ("invalid_content_length", "HTTP restriction: invalid content length"),
            Self::Cookie => ("oversized_cookie", "HTTP restriction: oversized cookie"),
            Self::Header => ("oversized_header", "HTTP restriction: oversized header"),
            Self::StatusLine => ("oversized_status_line", "HTTP restriction: oversized status line"),
        };
        coded("H25", 502, id, desc, Blame::Dyno).closing()
    }
}

impl RequestError {
    /// The facts of H26.
    const fn facts(self) -> Facts {
        let (status, id, cause) = match self {
            Self::Expectation => (417, "unsupported_expectation", "unsupported expect header value"),
            Self::BadHeader => (400, "bad_connection_header", "bad header"),
            Self::BadChunk => (400, "bad_chunk", "bad chunk"),
            Self::BadTrailer => (400, "bad_trailer", "bad trailer"),
        };
        Facts { cause: Some(cause), ..coded("H26", status, id, "Request Error", Blame::Client).closing() }
    }
}

impl RequestFlaw {
    /// Its facts. 400 where Heroku documents 400 (also for one long header and for too many of them); 414, 431,
    /// 501 and 505 where it has no rule or answers so in practice.
    const fn facts(self) -> Facts {
        let (status, id, cause) = match self {
            Self::BareLf => (400, "bare_lf", "bare LF"),
            Self::BareCr => (400, "bare_cr", "bare CR"),
            Self::ControlByte => (400, "control_byte", "control byte in head"),
            Self::BadRequestLine => (400, "bad_request_line", "bad request line"),
            Self::BadMethod => (400, "bad_method", "bad method"),
            Self::ConnectMethod => (400, "connect_method", "CONNECT is not supported"),
            Self::BadTarget => (400, "bad_target", "bad request target"),
            Self::BadHeader => (400, "bad_header", "bad header"),
            Self::SpaceBeforeColon => (400, "space_before_colon", "space before colon"),
            Self::ObsFold => (400, "obs_fold", "folded header"),
            Self::Underscore => (400, "underscore", "underscore in header name"),
            Self::BadContentLength => (400, "bad_content_length", "bad content length"),
            Self::SeveralContentLengths => (400, "several_content_lengths", "several content lengths"),
            Self::ContentLengthAndTransferEncoding => {
                (400, "content_length_and_transfer_encoding", "content length and transfer encoding")
            }
            Self::BadTransferEncoding => (400, "bad_transfer_encoding", "bad transfer encoding"),
            Self::UnknownTransferEncoding => (501, "unknown_transfer_encoding", "unknown transfer encoding"),
            Self::MissingHost => (400, "missing_host", "missing host"),
            Self::SeveralHosts => (400, "several_hosts", "several hosts"),
            Self::HostMismatch => (400, "host_mismatch", "host mismatch"),
            Self::BadHost => (400, "bad_host", "bad host"),
            Self::HeaderTooLong => (400, "header_too_long", "header too long"),
            Self::TooManyHeaders => (400, "too_many_headers", "too many headers"),
            Self::HeadTooLarge => (431, "head_too_large", "request head too large"),
            Self::TargetTooLong => (414, "target_too_long", "request line too long"),
            Self::VersionNotSupported => (505, "version_not_supported", "HTTP version not supported"),
            Self::HeadTimeout => (408, "head_timeout", "request head not finished in time"),
            Self::PlainOnTls => (400, "plain_on_tls", "plain HTTP on a TLS port"),
        };
        uncoded(status, id, "Bad request", Some(cause)).closing()
    }
}

const fn coded(code: &'static str, status: u16, id: &'static str, desc: &'static str, blame: Blame) -> Facts {
    Facts {
        code: Some(Code(code)),
        id,
        status,
        at: At::Error,
        sock: None,
        desc,
        cause: None,
        blame,
        retry: Retry::Never,
        closes_client: false,
    }
}

const fn uncoded(status: u16, id: &'static str, desc: &'static str, cause: Option<&'static str>) -> Facts {
    Facts { code: None, cause, ..coded("", status, id, desc, Blame::Client).at(At::Warning) }
}

impl Facts {
    const fn at(self, at: At) -> Self {
        Self { at, ..self }
    }
    const fn on(self, sock: Sock) -> Self {
        Self { sock: Some(sock), ..self }
    }
    const fn retried(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }
    const fn closing(self) -> Self {
        Self { closes_client: true, ..self }
    }
}
