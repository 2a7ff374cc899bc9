//! A configuration file as it is written: right keys, right types, nothing known yet about what it means.

use toml::de::DeTable;

use super::{
    complaint::Complaints,
    table::{At, Keys},
};

/// The file.
#[derive(Debug, Default)]
pub(crate) struct RawConfig {
    pub(crate) listen: Option<At<Vec<At<String>>>>,
    pub(crate) listeners: Vec<RawListener>,
    pub(crate) workers: Option<At<u64>>,
    pub(crate) drain_timeout: Option<At<String>>,
    pub(crate) drain_delay: Option<At<String>>,
    pub(crate) limits: RawLimits,
    pub(crate) tls: RawTls,
    pub(crate) http2: RawHttp2,
    pub(crate) certificates: Vec<RawCertificate>,
    pub(crate) acme: Option<RawAcme>,
    pub(crate) edge: RawEdge,
    pub(crate) admin: Option<At<String>>,
    pub(crate) registry: Option<RawRegistry>,
    pub(crate) access_log: Option<At<String>>,
    pub(crate) apps: Vec<RawApp>,
}

/// `[[listener]]`
#[derive(Debug)]
pub(crate) struct RawListener {
    pub(crate) place: std::ops::Range<usize>,
    pub(crate) address: Option<At<String>>,
    pub(crate) mode: Option<At<String>>,
    pub(crate) proxy_protocol: Option<At<bool>>,
    pub(crate) from: Option<At<Vec<At<String>>>>,
    pub(crate) tls: Option<At<String>>,
    pub(crate) client_certificates: Option<At<String>>,
    pub(crate) client_ca: Option<At<Vec<At<String>>>>,
    pub(crate) client_crl: Option<At<Vec<At<String>>>>,
    pub(crate) client_cert_header: Option<At<bool>>,
    pub(crate) h3: Option<At<bool>>,
    pub(crate) http2: Option<At<bool>>,
    pub(crate) h2c: Option<At<bool>>,
}

/// `[http2]`
#[derive(Debug, Default)]
pub(crate) struct RawHttp2 {
    pub(crate) streams: Option<At<u64>>,
    pub(crate) stream_window: Option<At<String>>,
    pub(crate) connection_window: Option<At<String>>,
    pub(crate) frame: Option<At<String>>,
    pub(crate) send_buffer: Option<At<String>>,
    pub(crate) heads: Option<At<String>>,
    pub(crate) held: Option<At<String>>,
    pub(crate) stream_errors: Option<At<u64>>,
}

/// `[tls]`
#[derive(Debug, Default)]
pub(crate) struct RawTls {
    pub(crate) handshake_timeout: Option<At<String>>,
    pub(crate) handshakes: Option<At<u64>>,
    pub(crate) ticket_keys: Option<At<String>>,
    pub(crate) uploads: Option<At<String>>,
}

/// `[[certificate]]`
#[derive(Debug)]
pub(crate) struct RawCertificate {
    pub(crate) place: std::ops::Range<usize>,
    pub(crate) chain: Option<At<String>>,
    pub(crate) key: Option<At<String>>,
    pub(crate) ocsp: Option<At<String>>,
    pub(crate) default: Option<At<bool>>,
}

/// `[acme]`
#[derive(Debug)]
pub(crate) struct RawAcme {
    pub(crate) place: std::ops::Range<usize>,
    pub(crate) directory: Option<At<String>>,
    pub(crate) staging: Option<At<bool>>,
    pub(crate) agree_to_terms: Option<At<bool>>,
    pub(crate) contact: Option<At<Vec<At<String>>>>,
    pub(crate) domains: Option<At<Vec<At<String>>>>,
    pub(crate) challenges: Option<At<Vec<At<String>>>>,
    pub(crate) hook: Option<At<String>>,
    pub(crate) hook_timeout: Option<At<String>>,
    pub(crate) key_type: Option<At<String>>,
    pub(crate) storage: Option<At<String>>,
    pub(crate) eab_key_id: Option<At<String>>,
    pub(crate) eab_key_file: Option<At<String>>,
    pub(crate) ca_file: Option<At<String>>,
    pub(crate) profile: Option<At<String>>,
    pub(crate) on_demand: Option<At<bool>>,
    pub(crate) on_demand_per_hour: Option<At<u64>>,
}

/// `[limits]`
#[derive(Debug, Default)]
pub(crate) struct RawLimits {
    pub(crate) request_line: Option<At<String>>,
    pub(crate) method: Option<At<String>>,
    pub(crate) header_name: Option<At<String>>,
    pub(crate) header_value: Option<At<String>>,
    pub(crate) header_count: Option<At<u64>>,
    pub(crate) head_total: Option<At<String>>,
    pub(crate) chunk_line: Option<At<String>>,
    pub(crate) trailers: Option<At<String>>,
    pub(crate) response_status_line: Option<At<String>>,
    pub(crate) response_header: Option<At<String>>,
    pub(crate) response_cookie: Option<At<String>>,
    pub(crate) response_header_count: Option<At<u64>>,
    pub(crate) response_head_total: Option<At<String>>,
    pub(crate) connections: Option<At<u64>>,
    pub(crate) connections_per_client: Option<At<u64>>,
    pub(crate) kept_per_dyno: Option<At<u64>>,
    pub(crate) kept_connections: Option<At<u64>>,
    pub(crate) head_timeout: Option<At<String>>,
    pub(crate) keepalive_timeout: Option<At<String>>,
}

/// `[edge]`
#[derive(Debug, Default)]
pub(crate) struct RawEdge {
    pub(crate) underscores: Option<At<String>>,
    pub(crate) content_length_with_chunked: Option<At<String>>,
    pub(crate) trusted_proxies: Option<At<Vec<At<String>>>>,
    pub(crate) forwarded: Option<At<bool>>,
}

/// `[registry]`
#[derive(Debug)]
pub(crate) struct RawRegistry {
    pub(crate) place: std::ops::Range<usize>,
    pub(crate) listen: Option<At<Vec<At<String>>>>,
    pub(crate) key_file: Option<At<String>>,
}

/// `[[app]]`
#[derive(Debug)]
pub(crate) struct RawApp {
    pub(crate) place: std::ops::Range<usize>,
    pub(crate) name: Option<At<String>>,
    pub(crate) domains: Option<At<Vec<At<String>>>>,
    pub(crate) dynos: Option<At<Vec<At<String>>>>,
    pub(crate) catch_all: Option<At<bool>>,
    pub(crate) maintenance: Option<At<bool>>,
    pub(crate) acme: Option<At<bool>>,
    pub(crate) routing: RawRouting,
}

/// `[app.routing]`: the keys of [`busbar_registry::Routing`], spans of time without `_ms` and as text.
#[derive(Debug, Default)]
pub(crate) struct RawRouting {
    pub(crate) balance: Option<At<String>>,
    pub(crate) session_affinity: Option<At<bool>>,
    pub(crate) slow_start: Option<At<String>>,
    pub(crate) concurrency_per_dyno: Option<At<u64>>,
    pub(crate) queue_limit: Option<At<u64>>,
    pub(crate) in_flight_per_dyno: Option<At<u64>>,
    pub(crate) request_limit: Option<At<u64>>,
    pub(crate) connect_timeout: Option<At<String>>,
    pub(crate) connect_attempts: Option<At<u64>>,
    pub(crate) quarantine: Option<At<String>>,
    pub(crate) eject_after: Option<At<u64>>,
    pub(crate) eject_for: Option<At<String>>,
    pub(crate) eject_at_most_percent: Option<At<u64>>,
    pub(crate) retry_budget_percent: Option<At<u64>>,
    pub(crate) retry_budget_per_second: Option<At<u64>>,
    pub(crate) first_byte_timeout: Option<At<String>>,
    pub(crate) idle_timeout: Option<At<String>>,
    pub(crate) total_timeout: Option<At<String>>,
    pub(crate) min_rate: Option<At<String>>,
    pub(crate) min_rate_period: Option<At<String>>,
    pub(crate) hold_timeout: Option<At<String>>,
    pub(crate) response_buffer: Option<At<String>>,
    pub(crate) dyno_keepalive: Option<At<String>>,
    pub(crate) dyno_protocol: Option<At<String>>,
    pub(crate) dyno_ca: Option<At<String>>,
    pub(crate) dyno_server_name: Option<At<String>>,
    pub(crate) dyno_verify: Option<At<bool>>,
    pub(crate) answer_continue: Option<At<bool>>,
    pub(crate) https_redirect: Option<At<bool>>,
    pub(crate) hsts: Option<At<String>>,
    pub(crate) error_page_url: Option<At<String>>,
    pub(crate) maintenance_page_url: Option<At<String>>,
}

/// Reads what can be read of `text`, and complains about the rest.
pub(crate) fn read(text: &str, complaints: &mut Complaints<'_>) -> RawConfig {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let at = error.span().unwrap_or(0..0);
        complaints.add(&at, format!("this is not TOML: {}", error.message().replace('\n', ", ")));
    }
    if !errors.is_empty() {
        return RawConfig::default(); // what follows a slip of syntax is often misread, so nothing is said about it
    }
    config(Keys::new("", 0..0, table.get_ref()), complaints)
}

fn config(mut keys: Keys<'_, '_>, complaints: &mut Complaints<'_>) -> RawConfig {
    let raw = RawConfig {
        listen: keys.strings("listen", complaints),
        listeners: keys
            .tables("listener", "[[listener]]", complaints)
            .into_iter()
            .map(|keys| listener(keys, complaints))
            .collect(),
        workers: keys.number("workers", complaints),
        drain_timeout: keys.string("drain_timeout", complaints),
        drain_delay: keys.string("drain_delay", complaints),
        limits: limits(keys.table("limits", "[limits]", complaints), complaints),
        tls: tls(keys.table("tls", "[tls]", complaints), complaints),
        http2: http2(keys.table("http2", "[http2]", complaints), complaints),
        certificates: keys
            .tables("certificate", "[[certificate]]", complaints)
            .into_iter()
            .map(|keys| certificate(keys, complaints))
            .collect(),
        acme: acme(keys.table("acme", "[acme]", complaints), complaints),
        edge: edge(keys.table("edge", "[edge]", complaints), complaints),
        admin: one_string(keys.table("admin", "[admin]", complaints), "listen", complaints),
        registry: registry(keys.table("registry", "[registry]", complaints), complaints),
        access_log: one_string(keys.table("log", "[log]", complaints), "access", complaints),
        apps: keys
            .tables("app", "[[app]]", complaints)
            .into_iter()
            .map(|keys| app(keys, complaints))
            .collect(),
    };
    keys.finish(complaints);
    raw
}

fn one_string(
    mut keys: Keys<'_, '_>,
    key: &'static str,
    complaints: &mut Complaints<'_>,
) -> Option<At<String>> {
    let text = keys.string(key, complaints);
    keys.finish(complaints);
    text
}

fn listener(mut keys: Keys<'_, '_>, complaints: &mut Complaints<'_>) -> RawListener {
    let raw = RawListener {
        place: keys.place(),
        address: keys.string("address", complaints),
        mode: keys.string("mode", complaints),
        proxy_protocol: keys.boolean("proxy_protocol", complaints),
        from: keys.strings("from", complaints),
        tls: keys.string("tls", complaints),
        client_certificates: keys.string("client_certificates", complaints),
        client_ca: keys.strings("client_ca", complaints),
        client_crl: keys.strings("client_crl", complaints),
        client_cert_header: keys.boolean("client_cert_header", complaints),
        h3: keys.boolean("h3", complaints),
        http2: keys.boolean("http2", complaints),
        h2c: keys.boolean("h2c", complaints),
    };
    keys.finish(complaints);
    raw
}

fn http2(mut keys: Keys<'_, '_>, complaints: &mut Complaints<'_>) -> RawHttp2 {
    let raw = RawHttp2 {
        streams: keys.number("streams", complaints),
        stream_window: keys.string("stream_window", complaints),
        connection_window: keys.string("connection_window", complaints),
        frame: keys.string("frame", complaints),
        send_buffer: keys.string("send_buffer", complaints),
        heads: keys.string("heads", complaints),
        held: keys.string("held", complaints),
        stream_errors: keys.number("stream_errors", complaints),
    };
    keys.finish(complaints);
    raw
}

fn tls(mut keys: Keys<'_, '_>, complaints: &mut Complaints<'_>) -> RawTls {
    let raw = RawTls {
        handshake_timeout: keys.string("handshake_timeout", complaints),
        handshakes: keys.number("handshakes", complaints),
        ticket_keys: keys.string("ticket_keys", complaints),
        uploads: keys.string("uploads", complaints),
    };
    keys.finish(complaints);
    raw
}

fn certificate(mut keys: Keys<'_, '_>, complaints: &mut Complaints<'_>) -> RawCertificate {
    let raw = RawCertificate {
        place: keys.place(),
        chain: keys.string("chain", complaints),
        key: keys.string("key", complaints),
        ocsp: keys.string("ocsp", complaints),
        default: keys.boolean("default", complaints),
    };
    keys.finish(complaints);
    raw
}

fn acme(mut keys: Keys<'_, '_>, complaints: &mut Complaints<'_>) -> Option<RawAcme> {
    if !keys.is_written() {
        return None;
    }
    let raw = RawAcme {
        place: keys.place(),
        directory: keys.string("directory", complaints),
        staging: keys.boolean("staging", complaints),
        agree_to_terms: keys.boolean("agree_to_terms", complaints),
        contact: keys.strings("contact", complaints),
        domains: keys.strings("domains", complaints),
        challenges: keys.strings("challenges", complaints),
        hook: keys.string("hook", complaints),
        hook_timeout: keys.string("hook_timeout", complaints),
        key_type: keys.string("key_type", complaints),
        storage: keys.string("storage", complaints),
        eab_key_id: keys.string("eab_key_id", complaints),
        eab_key_file: keys.string("eab_key_file", complaints),
        ca_file: keys.string("ca_file", complaints),
        profile: keys.string("profile", complaints),
        on_demand: keys.boolean("on_demand", complaints),
        on_demand_per_hour: keys.number("on_demand_per_hour", complaints),
    };
    keys.finish(complaints);
    Some(raw)
}

fn limits(mut keys: Keys<'_, '_>, complaints: &mut Complaints<'_>) -> RawLimits {
    let raw = RawLimits {
        request_line: keys.string("request_line", complaints),
        method: keys.string("method", complaints),
        header_name: keys.string("header_name", complaints),
        header_value: keys.string("header_value", complaints),
        header_count: keys.number("header_count", complaints),
        head_total: keys.string("head_total", complaints),
        chunk_line: keys.string("chunk_line", complaints),
        trailers: keys.string("trailers", complaints),
        response_status_line: keys.string("response_status_line", complaints),
        response_header: keys.string("response_header", complaints),
        response_cookie: keys.string("response_cookie", complaints),
        response_header_count: keys.number("response_header_count", complaints),
        response_head_total: keys.string("response_head_total", complaints),
        connections: keys.number("connections", complaints),
        connections_per_client: keys.number("connections_per_client", complaints),
        kept_per_dyno: keys.number("kept_per_dyno", complaints),
        kept_connections: keys.number("kept_connections", complaints),
        head_timeout: keys.string("head_timeout", complaints),
        keepalive_timeout: keys.string("keepalive_timeout", complaints),
    };
    keys.finish(complaints);
    raw
}

fn edge(mut keys: Keys<'_, '_>, complaints: &mut Complaints<'_>) -> RawEdge {
    let raw = RawEdge {
        underscores: keys.string("underscores", complaints),
        content_length_with_chunked: keys.string("content_length_with_chunked", complaints),
        trusted_proxies: keys.strings("trusted_proxies", complaints),
        forwarded: keys.boolean("forwarded", complaints),
    };
    keys.finish(complaints);
    raw
}

fn registry(mut keys: Keys<'_, '_>, complaints: &mut Complaints<'_>) -> Option<RawRegistry> {
    if !keys.is_written() {
        return None;
    }
    let raw = RawRegistry {
        place: keys.place(),
        listen: keys.strings("listen", complaints),
        key_file: keys.string("key_file", complaints),
    };
    keys.finish(complaints);
    Some(raw)
}

fn app(mut keys: Keys<'_, '_>, complaints: &mut Complaints<'_>) -> RawApp {
    let raw = RawApp {
        place: keys.place(),
        name: keys.string("name", complaints),
        domains: keys.strings("domains", complaints),
        dynos: keys.strings("dynos", complaints),
        catch_all: keys.boolean("catch_all", complaints),
        maintenance: keys.boolean("maintenance", complaints),
        acme: keys.boolean("acme", complaints),
        routing: routing(keys.table("routing", "[app.routing]", complaints), complaints),
    };
    keys.finish(complaints);
    raw
}

fn routing(mut keys: Keys<'_, '_>, complaints: &mut Complaints<'_>) -> RawRouting {
    let raw = RawRouting {
        balance: keys.string("balance", complaints),
        session_affinity: keys.boolean("session_affinity", complaints),
        slow_start: keys.string("slow_start", complaints),
        concurrency_per_dyno: keys.number("concurrency_per_dyno", complaints),
        queue_limit: keys.number("queue_limit", complaints),
        in_flight_per_dyno: keys.number("in_flight_per_dyno", complaints),
        request_limit: keys.number("request_limit", complaints),
        connect_timeout: keys.string("connect_timeout", complaints),
        connect_attempts: keys.number("connect_attempts", complaints),
        quarantine: keys.string("quarantine", complaints),
        eject_after: keys.number("eject_after", complaints),
        eject_for: keys.string("eject_for", complaints),
        eject_at_most_percent: keys.number("eject_at_most_percent", complaints),
        retry_budget_percent: keys.number("retry_budget_percent", complaints),
        retry_budget_per_second: keys.number("retry_budget_per_second", complaints),
        first_byte_timeout: keys.string("first_byte_timeout", complaints),
        idle_timeout: keys.string("idle_timeout", complaints),
        total_timeout: keys.string("total_timeout", complaints),
        min_rate: keys.string("min_rate", complaints),
        min_rate_period: keys.string("min_rate_period", complaints),
        hold_timeout: keys.string("hold_timeout", complaints),
        response_buffer: keys.string("response_buffer", complaints),
        dyno_keepalive: keys.string("dyno_keepalive", complaints),
        dyno_protocol: keys.string("dyno_protocol", complaints),
        dyno_ca: keys.string("dyno_ca", complaints),
        dyno_server_name: keys.string("dyno_server_name", complaints),
        dyno_verify: keys.boolean("dyno_verify", complaints),
        answer_continue: keys.boolean("answer_continue", complaints),
        https_redirect: keys.boolean("https_redirect", complaints),
        hsts: keys.string("hsts", complaints),
        error_page_url: keys.string("error_page_url", complaints),
        maintenance_page_url: keys.string("maintenance_page_url", complaints),
    };
    keys.finish(complaints);
    raw
}
