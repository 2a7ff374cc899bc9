//! Sessions that are resumed by a ticket, at the router that made it or at another one.

use std::path::Path;

use it::{App, Router, fakes};
use router_core::tls::{Terminator, TicketKeys, Tickets, TlsPolicy};

use super::{
    GET,
    client::{Authority, Client, listener, store},
};

const OLD: &str = "0101010101010101010101010101010101010101010101010101010101010101";
const NEW: &str = "0202020202020202020202020202020202020202020202020202020202020202";
const NEWEST: &str = "0303030303030303030303030303030303030303030303030303030303030303";

fn keys(lines: &[&str]) -> TicketKeys {
    TicketKeys::from_text(Path::new("keys"), &lines.join("\n")).expect("keys")
}

/// A router with a certificate of its own for the same name.
fn router(authority: &Authority, dyno: &it::Fake, tickets: &Tickets) -> Router {
    let certificates = store([authority.signs(&["app.test"])], true);
    let terminator = Terminator::new(TlsPolicy::Intermediate, certificates, tickets).expect("TLS");
    Router::start_on(listener().with_tls(terminator), App::new([dyno.address]), |_| {})
}

/// Asks once, and says whether the router resumed a session.
fn resumes(router: &Router, config: &rustls::ClientConfig) -> bool {
    let before = router.totals().tls_resumed;
    let mut client = Client::connect(router.address, config, "app.test");
    client.send(GET);
    assert_eq!(client.response().1, b"ok");
    router.totals().tls_resumed > before
}

#[test]
fn a_ticket_of_one_router_is_good_at_another_one_with_the_same_keys_and_outlives_a_rotation() {
    let (authority, dyno) = (Authority::new(), fakes::answers("ok"));
    let (shared, same) = (Tickets::shared(keys(&[OLD])), Tickets::shared(keys(&[OLD])));
    let (one, other) = (router(&authority, &dyno, &shared), router(&authority, &dyno, &same));
    let stranger = router(&authority, &dyno, &Tickets::new().expect("randomness"));
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let client = || {
            let mut config = authority.client_of(version);
            config.resumption = rustls::client::Resumption::in_memory_sessions(8);
            config
        };
        shared.replace(keys(&[OLD]));
        same.replace(keys(&[OLD]));
        let config = client();
        assert!(!resumes(&one, &config), "it is new");
        assert!(resumes(&other, &config));

        let (rotated, kept, lost) = (client(), client(), client());
        assert!(!resumes(&one, &rotated) && !resumes(&one, &kept) && !resumes(&one, &lost));
        same.replace(keys(&[NEW, OLD]));
        assert!(resumes(&other, &rotated), "one generation later it is good");
        same.replace(keys(&[NEWEST, NEW]));
        assert!(!resumes(&other, &kept), "two generations later it is not");
        assert!(!resumes(&stranger, &lost), "without the key there is a whole handshake");
    }
}
