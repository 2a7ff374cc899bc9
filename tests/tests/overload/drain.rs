//! The end under load: nobody is cut before its time, and each connection that ends has its reason counted.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use busbar_registry::Millis;
use it::{
    Dyno, PATIENCE, Router,
    fakes::{self, Fake, Gate},
};
use router_core::{
    observe::{Closed, Totals},
    server::{DrainReport, Server},
};

use super::GET;

fn drain(server: Server, patience: Duration) -> DrainReport {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(server.drain(patience))
}

/// Each connection that was accepted has ended by exactly one reason.
fn adds_up(totals: &Totals) {
    assert_eq!(totals.connections_open, 0);
    assert_eq!(totals.closed.values().sum::<u64>(), totals.connections, "{totals:?}");
}

fn count(totals: &Totals, why: Closed) -> u64 {
    totals.closed.get(&why).copied().unwrap_or_default()
}

/// What clients that never stop asking have seen.
#[derive(Default)]
struct Seen {
    over: AtomicBool,
    answered: AtomicU64,
    /// The connection ended after a request was sent and before a byte of its response: it was not begun.
    unanswered: AtomicU64,
    cut: AtomicU64,
}

impl Seen {
    /// Asks again and again, on a new connection when the last one was closed, until nobody listens.
    fn ask(&self, router: SocketAddr) {
        while let Ok(mut stream) = TcpStream::connect(router) {
            stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
            while stream.write_all(GET.as_bytes()).is_ok() && self.read(&mut stream) {}
            if self.over.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Whether a whole response came.
    fn read(&self, stream: &mut TcpStream) -> bool {
        let mut response = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            let whole = response.ends_with(b"\r\n\r\nok");
            match stream.read(&mut buffer) {
                _ if whole => unreachable!("it was read before"),
                Ok(n) if n > 0 => response.extend(buffer.get(..n).expect("so many were read")),
                Ok(_) | Err(_) if response.is_empty() => {
                    self.unanswered.fetch_add(1, Ordering::Relaxed);
                    return false;
                }
                Ok(_) | Err(_) => {
                    self.cut.fetch_add(1, Ordering::Relaxed);
                    return false;
                }
            }
            if response.ends_with(b"\r\n\r\nok") {
                self.answered.fetch_add(1, Ordering::Relaxed);
                let text = String::from_utf8_lossy(&response).to_ascii_lowercase();
                return !text.contains("connection: close");
            }
        }
    }
}

/// Answers at once, but for one request, which has come when `begun` is open and is answered when `gate` is.
fn holds_one(begun: Gate, gate: Gate) -> Fake {
    Fake::new(move |wire| {
        while wire.has_more() {
            if wire.request().target() == "/held" {
                begun.open();
                gate.pass();
            }
            wire.try_send(fakes::ok("ok"));
        }
    })
}

#[test]
fn a_drain_under_load_cuts_nobody_and_every_request_it_took_is_answered() {
    let (begun, gate) = (Gate::default(), Gate::default());
    let dyno = holds_one(begun.clone(), gate.clone());
    let router = Router::to(dyno.address);
    let (address, seen) = (router.address, Seen::default());
    let (mut held, mut idle) = (router.client(), router.client());
    router.still_serves(&mut idle);
    held.send("GET /held HTTP/1.1\r\nHost: app.test\r\n\r\n");
    begun.pass();
    thread::scope(|scope| {
        // The drain has begun when it ends the idle connection; one request at least is under way then.
        scope.spawn(|| {
            idle.is_closed();
            gate.open();
            assert_eq!(held.response().text(), "ok");
            held.is_closed();
        });
        for _ in 0..8 {
            scope.spawn(|| seen.ask(address));
        }
        router.until("there is load", |totals| totals.requests > 500);
        let report = drain(router.into_server(), PATIENCE);
        seen.over.store(true, Ordering::SeqCst);
        assert_eq!(report.cut, 0);
        assert_eq!(count(&report.totals, Closed::DrainCut), 0);
        assert!(report.totals.faults.is_empty(), "{report:?}");
        assert!(count(&report.totals, Closed::DrainAnswered) > 0, "{report:?}");
        adds_up(&report.totals);
        // Every answer that the router counted arrived somewhere; two went to those who did not go on.
        let begin = std::time::Instant::now();
        while seen.answered.load(Ordering::SeqCst) + 2 < report.totals.requests {
            assert!(begin.elapsed() < PATIENCE, "answers are missing: {report:?}");
            thread::yield_now();
        }
    });
    assert_eq!(seen.cut.load(Ordering::SeqCst), 0);
}

#[test]
fn a_request_that_is_connecting_when_time_is_up_is_told_and_counted_and_its_dyno_not_blamed() {
    let full = it::dyno::Full::new();
    let router = Router::with(full.address, |routing| routing.connect_timeout_ms = Millis::from_secs(60));
    let mut client = router.client();
    client.send(GET);
    router.until("it connects", |totals| totals.dials == 1);
    let told = thread::spawn(move || client.response().status());
    let report = drain(router.into_server(), Duration::ZERO);
    assert_eq!((told.join().expect("it is told"), report.totals.requests), (503, 1));
    assert_eq!(report.totals.faults.get("forced_close"), Some(&1), "{report:?}");
}

#[test]
fn each_connection_that_a_drain_ends_is_counted_by_its_reason() {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let mut idle = router.client();
    router.still_serves(&mut idle);
    let (mut finishes, mut stays) = (router.client(), router.client());
    finishes.send(GET);
    let mut first = dyno.accept();
    first.request();
    stays.send(GET);
    let mut second = dyno.accept();
    second.request();
    let mut left = router.client();
    router.still_serves(&mut left);
    drop(left);
    router.until("the client that left is counted", |totals| count(totals, Closed::ClientLeft) == 1);

    let answering = thread::spawn(move || {
        idle.is_closed();
        first.send(fakes::ok("in time"));
        assert_eq!(finishes.response().text(), "in time");
        finishes.is_closed();
    });
    let cut = thread::spawn(move || {
        second.is_closed();
        stays.rest()
    });
    let report = drain(router.into_server(), Duration::from_secs(2));
    answering.join().expect("the others end in order");
    let told = cut.join().expect("it is told");
    assert!(told.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&told));
    for (why, n) in
        [(Closed::ClientLeft, 1), (Closed::DrainIdle, 1), (Closed::DrainAnswered, 1), (Closed::DrainCut, 1)]
    {
        assert_eq!(count(&report.totals, why), n, "{why:?} in {report:?}");
    }
    assert_eq!((report.cut, report.totals.faults.get("forced_close")), (1, Some(&1)));
    adds_up(&report.totals);
}
