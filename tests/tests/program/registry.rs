//! `busbar router` with a registry that dynos elsewhere register at, as docs/registry.md says.

use std::{
    fs::{self, Permissions},
    net::SocketAddr,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
};

use it::{dyno::Refusing, fakes};
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    busbar::{Busbar, Place, app, exchange},
    traffic::Load,
    wait::until,
};

/// A router that two apps may register at: one at `shop.example` with a name of its own, and `blog`.
pub(crate) struct Registry {
    pub(crate) busbar: Busbar,
    /// The name of the first one.
    pub(crate) app: String,
    /// Its token.
    pub(crate) token: String,
    /// The other one's token.
    blog: String,
}

impl Registry {
    pub(crate) fn start() -> Self {
        let place = Place::new();
        let (app, key) = (place.app.clone(), place.path("registry.key").display().to_string());
        let token = |app, flags: &[&str]| {
            let made = place.verb(&[&["token", app, "--key-file", &key], flags].concat());
            assert_eq!(made.code, Some(0), "{made:?}");
            made.out.trim_end().to_owned()
        };
        let (ours, blog) = (token(&app, &["--new-key"]), token("blog", &[]));
        let config = format!(
            "listen = [\"127.0.0.1:0\"]\n[registry]\nlisten = [\"unix:{}\"]\nkey_file = {key:?}\n\
             [[app]]\nname = \"blog\"\ndomains = [\"blog.example\"]\n\
             [[app]]\nname = {app:?}\ndomains = [\"shop.example\"]\n[app.routing]\nhold_timeout = \"50ms\"\n",
            place.path("registry.sock").display()
        );
        Self { busbar: place.router(&config, &[]), app, token: ours, blog }
    }

    /// The status and the answer to a request.
    fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> (u16, Value) {
        let socket =
            UnixStream::connect(self.busbar.place.path("registry.sock")).expect("the registry listens");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: registry\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let (status, answer) = exchange(socket, &request).expect("an answer");
        (status, serde_json::from_str(&answer).unwrap_or(Value::Null))
    }

    fn register(&self, app: &str, token: &str, address: SocketAddr, ttl_ms: u32) -> (u16, Value) {
        let body =
            format!("{{\"app\":\"{app}\",\"dyno\":\"web.1\",\"address\":\"{address}\",\"ttl_ms\":{ttl_ms}}}");
        self.ask("POST", &format!("/v1/apps/{app}/dynos"), token, &body)
    }

    /// The lease of a dyno that is registered, and that requests reach by now.
    fn registered(&self, address: SocketAddr, ttl_ms: u32) -> String {
        let (status, lease) = self.register(&self.app, &self.token, address, ttl_ms);
        assert_eq!(status, 201, "{lease}");
        until("requests reach it", || (self.busbar.get("shop.example", "/").0 == 200).then_some(()));
        lease["id"].as_str().expect("an id").to_owned()
    }
}

#[test]
fn a_dyno_registers_gets_requests_drains_and_leaves() {
    let registry = Registry::start();
    let dyno = fakes::answers("ok");
    assert_eq!(registry.busbar.get("shop.example", "/").0, 503);
    let lease = registry.registered(dyno.address, 60_000);
    let routes = registry.busbar.verb(&["routes"]).out;
    assert!(routes.contains("shop.example"), "{routes}");
    let (status, drained) = registry.ask("POST", &format!("/v1/leases/{lease}/drain"), &registry.token, "");
    assert_eq!(status, 200, "{drained}");
    until("it gets no more", || (registry.busbar.get("shop.example", "/").0 == 503).then_some(()));
    assert_eq!(registry.busbar.registered(), (0, 1));
    let (status, _) = registry.ask("DELETE", &format!("/v1/leases/{lease}"), &registry.token, "");
    assert_eq!((status, registry.busbar.registered()), (200, (0, 0)));
}

#[test]
fn a_wrong_token_registers_nothing_and_is_told_so() {
    let registry = Registry::start();
    let dyno = fakes::answers("ok");
    let damaged = registry.token.replace(&registry.app, "blog");
    for token in ["", "nonsense", &registry.blog, &damaged] {
        let (status, refusal) = registry.register(&registry.app, token, dyno.address, 60_000);
        assert!([401, 403].contains(&status), "{status} {refusal}");
        assert_eq!(refusal["id"], "unauthorised", "{refusal}");
        let message = refusal["message"].as_str().expect("a message");
        assert!(message.contains(&format!("the token that was made for {}", registry.app)), "{message}");
        for secret in [&registry.token, &registry.blog] {
            assert!(!refusal.to_string().contains(secret.as_str()));
        }
    }
    assert_eq!(registry.busbar.registered(), (0, 0));
    let (status, refusal) = registry.ask("GET", "/v1/snapshot", &registry.token, "");
    assert_eq!((status, &refusal["id"]), (403, &Value::from("operator_only")));
}

#[test]
fn one_app_can_neither_take_anothers_address_nor_end_its_lease() {
    let registry = Registry::start();
    let dyno = fakes::answers("ok");
    let lease = registry.registered(dyno.address, 60_000);
    let (status, refusal) = registry.register("blog", &registry.blog, dyno.address, 60_000);
    assert_eq!((status, &refusal["id"]), (409, &Value::from("address_taken")), "{refusal}");
    let (status, refusal) = registry.ask("DELETE", &format!("/v1/leases/{lease}"), &registry.blog, "");
    assert!([401, 403].contains(&status), "{status} {refusal}");
    assert_eq!(registry.busbar.get("shop.example", "/"), (200, "ok".into()));
}

#[test]
fn a_lease_that_ran_out_takes_its_dyno_away_and_cannot_be_renewed() {
    let registry = Registry::start();
    let dyno = fakes::answers("ok");
    let lease = registry.registered(dyno.address, 3000);
    until("the lease has run out", || (registry.busbar.get("shop.example", "/").0 == 503).then_some(()));
    assert_eq!(registry.busbar.registered(), (0, 0));
    let (status, refusal) = registry.ask("POST", &format!("/v1/leases/{lease}/renew"), &registry.token, "");
    assert_eq!((status, &refusal["id"]), (410, &Value::from("lease_gone")));
    assert_eq!(refusal["message"], "the lease is no longer valid; register again");
    registry.registered(dyno.address, 60_000);
}

#[test]
fn a_registered_dyno_that_cannot_be_reached_is_h21() {
    let registry = Registry::start();
    let refuses = Refusing::new();
    let (status, _) = registry.register(&registry.app, &registry.token, refuses.address, 60_000);
    assert_eq!(status, 201);
    let body = until("it is known", || {
        let (_, body) = registry.busbar.get("shop.example", "/");
        (!body.contains("H14")).then_some(body)
    });
    assert!(body.contains("H21"), "{body}");
}

#[test]
fn a_runtime_elsewhere_runs_the_dynos_and_takes_them_away_when_it_stops() {
    let registry = Registry::start();
    let place = Place { app: registry.app.clone(), ..Place::new() };
    let file = place.write("token", &registry.token);
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let socket = format!("unix:{}", registry.busbar.place.path("registry.sock").display());
    let (file, directory) = (file.display().to_string(), app("examples/hello").display().to_string());
    let who = ["--app", &registry.app, "--token-file", &file, "--registry", &socket];
    let command = place.command(&[&["runtime", &directory, "--formation", "web=2"], &who[..]].concat());
    let mut runtime = Busbar::spawn(place, command);
    until("both dynos are registered", || (registry.busbar.registered() == (2, 0)).then_some(()));
    let load = Load::start_for(registry.busbar.address, 4, "shop.example");
    load.goes_on_for(100);
    assert_eq!(runtime.verb(&["scale", "web=3"]).code, Some(0));
    until("the third one is registered", || (registry.busbar.registered() == (3, 0)).then_some(()));
    load.goes_on_for(100);
    load.lost_nothing();
    runtime.signal(Signal::TERM);
    assert_eq!(runtime.ended().code(), Some(0));
    runtime.left_nothing();
    until("no dyno is left", || (registry.busbar.get("shop.example", "/").0 == 503).then_some(()));
    assert_eq!(registry.busbar.registered(), (0, 0));
}

#[test]
fn a_runtime_with_a_wrong_token_says_so_and_registers_nothing() {
    let registry = Registry::start();
    let place = Place { app: registry.app.clone(), ..Place::new() };
    let file = place.write("token", &registry.blog);
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let socket = format!("unix:{}", registry.busbar.place.path("registry.sock").display());
    let (file, directory) = (file.display().to_string(), app("tests/apps/abrupt").display().to_string());
    let who = ["--app", &registry.app, "--token-file", &file, "--registry", &socket];
    let command = place.command(&[&["runtime", &directory], &who[..]].concat());
    let runtime = Busbar::spawn(place, command);
    let said = runtime.err.line("the token does not allow this");
    assert!(!said.contains(&registry.blog), "{said}");
    assert_eq!(registry.busbar.registered(), (0, 0));
}

#[test]
fn a_runtime_whose_token_others_may_read_does_not_start() {
    let registry = Registry::start();
    let place = Place::new();
    let file = place.write("token", &registry.token);
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let (file, directory) = (file.display().to_string(), app("tests/apps/abrupt").display().to_string());
    let said =
        place.verb(&["runtime", &directory, "--token-file", &file, "--registry", "unix:/nowhere"]).failed(1);
    assert!(said.contains(&file) && !said.contains(&registry.token), "{said}");
}
