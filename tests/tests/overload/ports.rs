//! No local port left towards a dyno.

use std::{fs, os::unix::net::UnixStream, process::Command, thread};

use it::{App, Dyno, Router, Wire, fakes::ok};
use router_core::server::Listener;

use super::GET;

/// In a network namespace of its own, where its loopback is.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn apart(check: impl FnOnce() + Send + 'static) {
    if !rustix::process::geteuid().is_root() || Command::new("ip").arg("-V").output().is_err() {
        eprintln!("skipped: needs root and ip (apt-get install iproute2)");
        return;
    }
    let within = move || {
        #[expect(unsafe_code, reason = "a namespace for this thread and those it starts")]
        // SAFETY: no other thread has descriptors that would mean something else in another network.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.expect("a namespace");
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.expect("ip is there").success());
        check();
    };
    thread::spawn(within).join().expect("no panic");
}

#[test]
fn a_request_waits_for_a_local_port_and_its_dyno_is_not_blamed() {
    apart(|| {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let path = directory.path().join("a.sock");
        let dyno = Dyno::listening();
        let listener = Listener::bind_unix(&path, 0o600).expect("it can be made");
        let app = App::new([dyno.address]).routed(it::router::no_keepalive);
        let mut router = Router::start_on(listener, app, |_| {});
        // This network's own: one port for everybody who lets the kernel choose.
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "2000 2000").expect("it can be set");
        let connect = || Wire::over_unix(UnixStream::connect(&path).expect("somebody listens there"));
        let (mut first, mut second) = (connect(), connect());
        first.send(GET);
        let mut has_it = dyno.accept();
        has_it.request();
        second.send(GET);
        router.until("it tries", |totals| totals.dials == 2);
        dyno.nobody_else_came();
        has_it.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(first.response().text(), "ok");
        // The router's end goes first, as the dyno keeps its own open.
        has_it.is_closed();
        drop(has_it);
        let mut waited = dyno.accept();
        waited.request();
        waited.send(ok("waited"));
        assert_eq!(second.response().text(), "waited");
        assert_eq!([router.code(), router.code()], ["", ""]);
    });
}
