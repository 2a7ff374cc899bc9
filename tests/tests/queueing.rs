//! A limit of requests per dyno turns the router into the queue: first come, first served, bounded.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::{Arc, Mutex},
    time::Instant,
};

use busbar_registry::Millis;
use it::{App, Dyno, Fake, Router, Wire, fakes, fakes::Gate, filler};

fn one_at_a_time(routing: &mut busbar_registry::Routing) {
    routing.concurrency_per_dyno = NonZeroU32::new(1);
}

fn get(router: &Router, path: &str) -> Wire {
    let mut client = router.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n"));
    client
}

#[test]
fn a_dyno_gets_one_request_at_a_time_and_the_others_wait_in_order() {
    let dyno = Dyno::listening();
    let router = Router::with(dyno.address, one_at_a_time);
    let mut first = get(&router, "/1");
    let mut line = dyno.accept();
    assert_eq!(line.request().target(), "/1");
    let mut waiting = Vec::new();
    for (path, queue) in [("/2", 1), ("/3", 2), ("/4", 3)] {
        waiting.push(get(&router, path));
        router.waits_until(queue);
    }
    line.is_quiet();
    line.send(fakes::ok("1"));
    assert_eq!(first.response().text(), "1");
    for (client, expected) in waiting.iter_mut().zip(["/2", "/3", "/4"]) {
        assert_eq!(line.request().target(), expected);
        line.is_quiet();
        line.send(fakes::ok(expected));
        assert_eq!(client.response().text(), expected);
    }
    dyno.nobody_else_came();
}

#[test]
fn a_full_queue_is_h11() {
    let dyno = Dyno::listening();
    let mut router = Router::with(dyno.address, |routing| {
        one_at_a_time(routing);
        routing.queue_limit = 0;
    });
    let _first = get(&router, "/1");
    let mut line = dyno.accept();
    line.request();
    let mut second = get(&router, "/2");
    assert_eq!(second.response().status(), 503);
    assert_eq!(router.code(), "H11");
}

#[test]
fn who_leaves_the_queue_is_h27_and_the_next_one_is_served() {
    let dyno = Dyno::listening();
    let mut router = Router::with(dyno.address, one_at_a_time);
    let mut first = get(&router, "/1");
    let mut line = dyno.accept();
    line.request();
    let second = get(&router, "/2");
    router.waits_until(1);
    let mut third = get(&router, "/3");
    router.waits_until(2);
    drop(second);
    assert_eq!(router.code(), "H27");
    line.send(fakes::ok("1"));
    assert_eq!(first.response().text(), "1");
    assert_eq!(line.request().target(), "/3");
    line.send(fakes::ok("3"));
    assert_eq!(third.response().text(), "3");
}

#[test]
fn who_uploads_while_it_waits_is_not_taken_for_one_who_left() {
    let dyno = Dyno::listening();
    let router = Router::with(dyno.address, one_at_a_time);
    let mut first = get(&router, "/1");
    let mut line = dyno.accept();
    line.request();
    let (mut second, mut other, body) = (router.client(), router.client(), filler(64 << 10));
    // Where a head comes in two pieces, the second one is read into a small block, which the body fills.
    second.send(format!("POST /2 HTTP/1.1\r\nHost: app.test\r\nContent-Length: {}\r\n", body.len()));
    router.still_serves(&mut other);
    second.send([b"\r\n", body.as_slice()].concat());
    router.waits_until(1);
    for _ in 0..3 {
        router.still_serves(&mut other);
    }
    line.send(fakes::ok("1"));
    assert_eq!(first.response().text(), "1");
    assert!(line.request().body == body, "another body");
    line.send(fakes::ok("2"));
    assert_eq!(second.response().text(), "2");
}

#[test]
fn requests_go_to_the_dyno_that_has_fewest() {
    let (busy, idle) = (Dyno::listening(), fakes::answers("idle"));
    let mut router = Router::to(busy.address);
    let _held = get(&router, "/");
    let mut line = busy.accept();
    line.request();
    router.add_dyno(2, idle.address);
    for _ in 0..40 {
        assert_eq!(get(&router, "/").response().text(), "idle");
    }
}

#[test]
fn the_time_in_the_queue_is_logged_and_told_to_the_dyno() {
    let dyno = Dyno::listening();
    let mut router = Router::with(dyno.address, one_at_a_time);
    let mut first = get(&router, "/1");
    let mut line = dyno.accept();
    assert_eq!(line.request().get("X-Queue-Time"), Some("0"));
    let (mut second, mut other) = (router.client(), router.client());
    second.send("GET /2 HTTP/1.1\r\nHost: app.test\r\nX-Queue-Time: 123456\r\nX_Queue_Time: 1\r\n\r\n");
    router.waits_until(1);
    let waits = Instant::now();
    // Some time passes; how long it was at least is known before the wait ends.
    while waits.elapsed().as_millis() == 0 {
        router.still_serves(&mut other);
    }
    let held = waits.elapsed().as_millis();
    line.send(fakes::ok("1"));
    first.response();
    let request = line.request();
    let told: u64 = request.get("X-Queue-Time").expect("it waited").parse().expect("whole milliseconds");
    assert!(u128::from(told) >= held && told < 123_456, "{told} ms of {held}");
    assert_eq!(request.get("X_Queue_Time"), None);
    line.send(fakes::ok("2"));
    second.response();
    assert_eq!((router.line().get("queue"), router.line().number("queue")), ("0ms", told));
}

#[test]
fn an_app_without_a_queue_is_told_nothing_and_logs_herokus_line() {
    let dyno = fakes::echoes();
    let mut router = Router::to(dyno.address);
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: app.test\r\nX-Queue-Time: 1\r\n\r\n");
    assert!(!client.response().text().to_lowercase().contains("queue"));
    assert_eq!(router.line().get("queue"), "");
}

#[test]
fn who_waits_too_long_is_h11_and_its_place_is_free_again() {
    let dyno = Dyno::listening();
    let mut router = Router::with(dyno.address, |routing| {
        one_at_a_time(routing);
        routing.queue_limit = 1;
        routing.hold_timeout_ms = Millis(50);
    });
    let mut first = get(&router, "/1");
    let mut line = dyno.accept();
    line.request();
    assert_eq!(get(&router, "/2").response().status(), 503);
    let waited = router.line();
    assert_eq!((waited.get("code"), waited.get("path"), waited.get("dyno")), ("H11", "/2", ""));
    assert!(waited.number("queue") >= 50);
    router.waits_until(0);
    line.is_quiet();
    line.send(fakes::ok("1"));
    assert_eq!(first.response().text(), "1");
    dyno.nobody_else_came();
}

#[test]
fn the_queue_is_one_for_all_workers() {
    let (gate, first, order) = (Gate::default(), Gate::default(), Arc::<Mutex<Vec<String>>>::default());
    let (opens, began, noted) = (gate.clone(), first.clone(), Arc::clone(&order));
    let dyno = Fake::new(move |wire| {
        while wire.has_more() {
            noted.lock().expect("nobody panicked").push(wire.request().target().to_owned());
            began.open();
            opens.pass();
            wire.try_send(fakes::ok("done"));
        }
    });
    let app = App::new([dyno.address]).routed(one_at_a_time);
    let router = Router::start_with(app, |options| options.workers = NonZeroUsize::new(3).expect("three"));
    let mut clients = vec![get(&router, "/first")];
    first.pass();
    let paths: Vec<String> = (0..12).map(|n| format!("/{n}")).collect();
    for (path, queue) in paths.iter().zip(1..) {
        clients.push(get(&router, path));
        router.waits_until(queue);
    }
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "done"));
    let order = order.lock().expect("nobody panicked");
    assert_eq!((&*order[0], &order[1..]), ("/first", &*paths));
}
