//! `busbar router` with a configuration file, and dynos that are somewhere.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    thread,
};

use it::{
    Wire,
    dyno::{Full, Refusing},
    fakes,
};

use rustix::process::Signal;

use crate::{
    busbar::{Busbar, Place, get},
    traffic::{Load, Outcome},
    wait::until,
};

/// A file with one app, `shop`, at `shop.example`, with these dynos and these lines in its `[app.routing]`.
pub(crate) fn shop(dynos: &[SocketAddr], routing: &str) -> String {
    let dynos: Vec<_> = dynos.iter().map(SocketAddr::to_string).collect();
    format!(
        "listen = [\"127.0.0.1:0\"]\nworkers = 1\n\n[[app]]\nname = \"shop\"\n\
         domains = [\"shop.example\", \"*.shop.example\"]\ndynos = {dynos:?}\n[app.routing]\n{routing}\n"
    )
}

fn route(dynos: &[SocketAddr], routing: &str) -> Busbar {
    Place::new().router(&shop(dynos, routing), &[])
}

/// The fields of the line about this request.
fn line(busbar: &Busbar, path: &str) -> String {
    busbar.out.line(&format!(" path=\"{path}\" "))
}

#[test]
fn the_smallest_file_routes_by_exact_and_wildcard_host() {
    let dynos = [fakes::answers("one"), fakes::answers("two")];
    let busbar = route(&dynos.each_ref().map(|dyno| dyno.address), "");
    for host in ["shop.example", "SHOP.example.:1234", "a.shop.example"] {
        let (status, body) = busbar.get(host, "/");
        assert!(status == 200 && ["one", "two"].contains(&body.as_str()), "{host}: {status} {body}");
    }
    for host in ["example", "a.b.shop.example", "other.example"] {
        assert_eq!(busbar.get(host, "/").0, 404, "{host}");
    }
    let line = line(&busbar, "/");
    assert!(
        line.contains("+00:00 heroku[router]: at=info method=GET path=\"/\" host=shop.example "),
        "{line}"
    );
}

#[test]
fn two_dynos_share_the_load_without_an_error() {
    let dynos = [fakes::answers("one"), fakes::answers("two")];
    let busbar = route(&dynos.each_ref().map(|dyno| dyno.address), "");
    let load = Load::start(busbar.address, 8);
    load.goes_on_for(50);
    assert!(load.finish().keys().all(|outcome| matches!(outcome, Outcome::Refused(404, _))), "no such host");
    let load = Load::start_for(busbar.address, 8, "shop.example");
    load.goes_on_for(2000);
    load.lost_nothing();
}

#[test]
fn a_dyno_that_refuses_is_left_alone_while_the_other_serves() {
    let (refuses, serves) = (Refusing::new(), fakes::answers("served"));
    let busbar = route(&[refuses.address, serves.address], "balance = \"round_robin\"");
    let mut client = busbar.client();
    for _ in 0..20 {
        assert_eq!(get(&mut client, "shop.example", "/"), (200, "served".into()));
    }
}

#[test]
fn a_dyno_that_never_accepts_is_left_alone_while_the_other_serves() {
    let (full, serves) = (Full::new(), fakes::answers("served"));
    let routing = "balance = \"round_robin\"\nconnect_timeout = \"200ms\"\nquarantine = \"1h\"";
    let busbar = route(&[full.address, serves.address], routing);
    let mut client = busbar.client();
    for n in 0..20 {
        assert_eq!(get(&mut client, "shop.example", &format!("/{n}")), (200, "served".into()));
    }
    // It is tried once, and then never again: only one request has waited for it.
    line(&busbar, "/19");
    let connect = |line: &String| {
        let (_, rest) = line.split_once(" connect=")?;
        rest.split_once("ms")?.0.parse::<u64>().ok()
    };
    let lines = busbar.out.lines();
    let waited = lines.iter().filter_map(connect).filter(|ms| *ms >= 200).count();
    assert!(waited <= 1, "{lines:#?}");
}

/// Status, code and description of a request that no dyno could take, and of the one after it.
fn unreachable(dyno: SocketAddr) -> Vec<(u16, String)> {
    let routing = "connect_timeout = \"200ms\"\nquarantine = \"1h\"\nhold_timeout = \"50ms\"";
    let busbar = route(&[dyno], routing);
    ["/first", "/second"]
        .map(|path| {
            let (status, body) = busbar.get("shop.example", path);
            let line = line(&busbar, path);
            let code = line.split(" code=").nth(1).and_then(|rest| rest.split(' ').next()).expect("a code");
            assert!(body.contains(code), "{code} is not in {body}");
            (status, code.to_owned())
        })
        .into()
}

#[test]
fn without_another_dyno_one_that_refuses_is_h21_and_then_quarantined() {
    let refuses = Refusing::new();
    assert_eq!(unreachable(refuses.address), [(503, "H21".into()), (503, "H34".into())]);
}

#[test]
fn without_another_dyno_one_that_never_accepts_is_h19_and_then_quarantined() {
    let full = Full::new();
    assert_eq!(unreachable(full.address), [(503, "H19".into()), (503, "H34".into())]);
}

#[test]
fn a_dyno_that_recovers_serves_again_after_its_quarantine() {
    let refuses = Refusing::new();
    let busbar = route(&[refuses.address], "quarantine = \"100ms\"\nhold_timeout = \"50ms\"");
    assert_eq!(busbar.get("shop.example", "/").0, 503);
    let address = refuses.address;
    drop(refuses);
    // A port that was bound and never connected is free at once.
    let listener = TcpListener::bind(address).unwrap();
    let serves = thread::spawn(move || {
        let mut wire = Wire::new(listener.accept().expect("the router comes").0);
        wire.request();
        wire.send(fakes::ok("recovered"));
    });
    until("it serves again", || (busbar.get("shop.example", "/").0 == 200).then_some(()));
    serves.join().unwrap();
}

#[test]
fn the_rules_of_edge_and_the_limits_of_the_file_are_kept_on_the_wire() {
    let dyno = fakes::echoes();
    let rules = "[edge]\nunderscores = \"drop\"\ncontent_length_with_chunked = \"chunked_wins\"\n\
        trusted_proxies = [\"127.0.0.0/8\"]\nforwarded = true\n\
        [limits]\nmethod = \"16B\"\nresponse_header = \"256B\"\n";
    let busbar = Place::new().router(&(shop(&[dyno.address], "") + rules), &[]);
    let mut client = busbar.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\
         X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\nmy_own: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    let response = client.response();
    assert!(response.connection_has("close"));
    let seen = response.text();
    for there in [
        "\"body\":\"hello\"",
        "203.0.113.7, 127.0.0.1",
        "\"X-Forwarded-Proto\",\"https\"",
        "\"Forwarded\",\"for=",
    ] {
        assert!(seen.contains(there), "no {there} in {seen}");
    }
    assert!(!seen.contains("my_own") && !seen.contains("Content-Length"), "{seen}");
    let fwd = line(&busbar, "/");
    assert!(fwd.contains("fwd=\"203.0.113.7\""), "{fwd}");

    let mut client = busbar.client();
    client.send(format!("{} /long HTTP/1.1\r\nHost: shop.example\r\n\r\n", "M".repeat(17)));
    assert_eq!(client.response().status(), 400);
    let wide = fakes::sends_a_header_of(300);
    let busbar = Place::new().router(&(shop(&[wide.address], "") + rules), &[]);
    assert_eq!(busbar.get("shop.example", "/").0, 502);
}

#[test]
fn flags_win_over_variables_and_variables_over_the_file() {
    let dyno = fakes::answers("ok");
    let place = Place::new();
    let log = place.path("access.log");
    let file = place.write("edge.toml", &shop(&[dyno.address], ""));
    let file = file.display().to_string();
    let log_flag = log.display().to_string();
    let mut command =
        place.command(&["router", "--config", &file, "--access-log", &log_flag, "--workers", "2"]);
    command.env("BUSBAR_ACCESS_LOG", "off").env("BUSBAR_WORKERS", "7").env("BUSBAR_DRAIN_TIMEOUT", "1s");
    let busbar = Busbar::start(place, command);
    busbar.err.line("workers: 2;");
    assert_eq!(busbar.get("shop.example", "/logged").0, 200);
    until("it is logged there", || {
        fs::read_to_string(&log).ok().filter(|text| text.contains("path=\"/logged\""))
    });
    assert_eq!(busbar.out.lines(), [] as [String; 0]);
    busbar.signal(Signal::TERM);
    busbar.err.line("for 1 s;");
}
