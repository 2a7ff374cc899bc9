//! A limit of requests per dyno turns the router into the queue: first come, first served, bounded.

use std::num::NonZeroU32;

use it::{Dyno, Router, Wire, fakes};

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
