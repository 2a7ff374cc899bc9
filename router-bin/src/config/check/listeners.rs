//! What `listen` and `[[listener]]` mean: together they are where requests are accepted.

mod clients;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Range,
};

use busbar_registry::Address;
use router_core::{
    route::forward::{Network, TrustedProxies},
    server::listen::ProxyProtocol,
    tls::TlsPolicy,
};

use super::{
    super::{ListenAt, complaint::Complaints, raw::RawListener, table::At},
    all, parsed,
};

/// Where requests are accepted when nobody says.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// All of them; never empty.
pub(super) fn check(
    listen: Option<At<Vec<At<String>>>>,
    listeners: Vec<RawListener>,
    complaints: &mut Complaints<'_>,
) -> Vec<ListenAt> {
    if let Some(list) = listen.as_ref().filter(|list| list.value.is_empty()) {
        complaints.add(&list.at, "`listen` has no address; write one, like \"127.0.0.1:8080\"");
    }
    if listen.is_none() && listeners.is_empty() {
        return vec![Address::from(LISTEN).into()];
    }
    let simple = all(listen, "listen address", str::parse::<Address>, complaints).unwrap_or_default();
    let mut found: Vec<ListenAt> = simple.into_iter().map(Into::into).collect();
    for raw in listeners {
        let place = raw.address.as_ref().map_or_else(|| raw.place.clone(), |address| address.at.clone());
        let Some(listener) = one(raw, complaints) else { continue };
        let asks_for_a_port = listener.address.tcp().is_some_and(|address| address.port() == 0);
        if !asks_for_a_port && found.iter().any(|other| other.address == listener.address) {
            let said = format!("{} is listened on already; remove one of them", listener.address);
            complaints.add(&place, said);
        } else {
            found.push(listener);
        }
    }
    found
}

fn one(raw: RawListener, complaints: &mut Complaints<'_>) -> Option<ListenAt> {
    let clients = clients::check(&raw, complaints);
    let RawListener { place, address, mode, proxy_protocol, from, tls, http2, h2c, h3, .. } = raw;
    let mut listener = match &address {
        Some(text) => ListenAt::from(parsed::<Address>("address", text, complaints)?),
        None => {
            complaints.add(&place, "this [[listener]] has no `address`; write one, like \"127.0.0.1:8080\"");
            return None;
        }
    };
    if let Some(mode) = mode {
        listener.mode = permissions(&mode, &listener.address, complaints).unwrap_or(listener.mode);
    }
    let proxied = proxy_protocol.is_some_and(|written| written.value);
    if let Some(list) = from.as_ref().filter(|_| !proxied) {
        complaints
            .add(&list.at, "`from` says whose PROXY headers are believed; write proxy_protocol = true, too");
    }
    warn_of_everybody(&listener.address, proxied, from.as_ref(), &place, complaints);
    let network = |text: &str| -> Result<Network, String> {
        text.parse::<Network>().map_err(|error| format!("proxy {text:?}: {error}"))
    };
    let from: TrustedProxies =
        all(from, "proxy", network, complaints).unwrap_or_default().into_iter().collect();
    let from = Some(from).filter(|from| *from != TrustedProxies::default());
    listener.clients = clients;
    let encrypted = tls.is_some();
    listener.tls = tls.and_then(|tls| policy(&tls, complaints));
    listener.http2 = speaks_http2(encrypted, http2.as_ref(), h2c.as_ref(), complaints);
    listener.h3 = h3.is_some_and(|h3| h3.value && may_speak_h3(&h3, &listener, proxied, complaints));
    listener.proxy_protocol = proxied.then_some(ProxyProtocol { from });
    Some(listener)
}

/// HTTP/3 is experimental, and not in every program.
fn may_speak_h3(
    written: &At<bool>,
    listener: &ListenAt,
    proxied: bool,
    complaints: &mut Complaints<'_>,
) -> bool {
    let said = if !cfg!(feature = "h3") {
        "this busbar was built without HTTP/3; build it with `--features h3`, or remove `h3`"
    } else if listener.tls.is_none() || listener.address.tcp().is_none() {
        "HTTP/3 needs TLS and a port; write tls = \"intermediate\", too, and an address with a port"
    } else if proxied {
        "HTTP/3 has no PROXY header; remove `h3` or `proxy_protocol`"
    } else if listener.clients.is_some() {
        "HTTP/3 does not tell dynos about certificates of clients; remove `h3` or `client_certificates`"
    } else {
        return true;
    };
    complaints.add(&written.at, said);
    false
}

fn policy(written: &At<String>, complaints: &mut Complaints<'_>) -> Option<TlsPolicy> {
    let policy = match written.value.as_str() {
        "modern" => Some(TlsPolicy::Modern),
        "intermediate" => Some(TlsPolicy::Intermediate),
        _ => None,
    };
    if policy.is_none() {
        let advice = "write \"intermediate\" (TLS 1.2 and 1.3) or \"modern\" (TLS 1.3 only)";
        complaints.add(&written.at, format!("`tls` is {:?}; {advice}", written.value));
    }
    policy
}

/// Over TLS that is agreed upon, and usual; in the clear the client begins with it, and few do.
fn speaks_http2(
    encrypted: bool,
    http2: Option<&At<bool>>,
    h2c: Option<&At<bool>>,
    complaints: &mut Complaints<'_>,
) -> bool {
    let (asked, other) = if encrypted { (http2, h2c) } else { (h2c, http2) };
    if let Some(other) = other {
        let advice = if encrypted {
            "`h2c` is HTTP/2 without TLS, and this listener has `tls`; write `http2`"
        } else {
            "`http2` is for listeners with `tls`; without, HTTP/2 is spoken with h2c = true"
        };
        complaints.add(&other.at, advice);
    }
    asked.map_or(encrypted, |asked| asked.value)
}

/// Whoever can connect where PROXY headers are believed can be anybody; so it must be said who may.
fn warn_of_everybody(
    address: &Address,
    proxied: bool,
    from: Option<&At<Vec<At<String>>>>,
    place: &Range<usize>,
    complaints: &mut Complaints<'_>,
) {
    let nobody = from.is_none_or(|list| list.value.is_empty());
    let local = address.tcp().is_none_or(|address| address.ip().is_loopback());
    if proxied && nobody && !local {
        complaints.add(
            place,
            "anybody who reaches this `proxy_protocol` listener could claim any address; write who may, like \
             from = [\"10.0.0.0/8\"]",
        );
    }
}

/// `"0660"`: octal, as chmod takes it.
fn permissions(mode: &At<String>, address: &Address, complaints: &mut Complaints<'_>) -> Option<u32> {
    if address.tcp().is_some() {
        complaints.add(&mode.at, format!("`mode` is for socket files, and {address} is none; remove it"));
        return None;
    }
    let octal = mode.value.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let read = u32::from_str_radix(&mode.value, 8).ok().filter(|mode| octal && *mode <= 0o777);
    if read.is_none() {
        complaints
            .add(&mode.at, format!("`mode` is {:?}; write it as chmod does, like \"0660\"", mode.value));
    }
    read
}
