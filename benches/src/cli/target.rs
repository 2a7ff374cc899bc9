//! The URL a run is aimed at, and whether we may.

use std::net::{SocketAddr, ToSocketAddrs as _};

use http::Uri;

/// Where to connect, and what to say there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) is_tls: bool,
    pub(super) is_websocket: bool,
}

/// Reads the URL and refuses to hit strangers: an address that is not loopback has to be claimed by `is_mine`.
pub(super) fn find(url: &str, is_mine: bool) -> Result<Target, String> {
    let uri: Uri = url.parse().map_err(|error| format!("`{url}` is not a URL: {error}"))?;
    let (is_tls, is_websocket) = match uri.scheme_str() {
        Some("http") => (false, false),
        Some("https") => (true, false),
        Some("ws") => (false, true),
        Some("wss") => (true, true),
        _ => return Err(format!("`{url}` is not a URL with http, https, ws or wss")),
    };
    let host = uri.host().ok_or_else(|| format!("`{url}` has no host"))?;
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let plain_host = host.trim_start_matches('[').trim_end_matches(']');
    let address = (plain_host, port)
        .to_socket_addrs()
        .map_err(|error| format!("cannot find {host}: {error}"))?
        .next()
        .ok_or_else(|| format!("{host} has no address"))?;
    if !address.ip().is_loopback() && !is_mine {
        return Err(format!(
            "{host} is {}, not this machine: a load generator can do harm, so say --i-own-this-host if you do",
            address.ip()
        ));
    }
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
    let host = uri.authority().map_or(host, http::uri::Authority::as_str).to_owned();
    Ok(Target { address, host, path, is_tls, is_websocket })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_a_target_unless_it_is_claimed() {
        for mine in
            ["http://127.0.0.1:80/", "http://127.9.9.9/", "http://[::1]:8080/x?y=z", "ws://localhost/"]
        {
            assert!(find(mine, false).is_ok(), "{mine}");
        }
        for foreign in ["http://192.0.2.1/", "https://8.8.8.8/", "http://[2001:db8::1]/"] {
            assert!(find(foreign, false).is_err(), "{foreign}");
            assert!(find(foreign, true).is_ok(), "{foreign}");
        }
    }

    #[test]
    fn a_url_is_taken_apart() {
        let target = find("wss://localhost:8443/chat?room=1", false).unwrap();
        assert_eq!((target.address.port(), target.host.as_str()), (8443, "localhost:8443"));
        assert_eq!(target.path, "/chat?room=1");
        assert!(target.is_tls && target.is_websocket);
        for wrong in ["localhost", "/path", "ftp://localhost/", ""] {
            assert!(find(wrong, false).is_err(), "{wrong}");
        }
    }
}
