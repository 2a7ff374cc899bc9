//! Who leaves, who waits to come in, and the end.

use std::{num::NonZeroUsize, task::Poll, time::Duration};

use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::Request;
use it::{App, Dyno, Router, fakes};
use tower::{Service as _, ServiceExt as _};

use super::super::outer::Outer;

fn get() -> Request<Body> {
    Request::get("http://app.test/").body(Body::empty()).expect("a request")
}

#[test]
fn a_dropped_future_is_h27_and_the_dyno_is_told() {
    let dyno = Dyno::listening();
    let mut router = Router::to(dyno.address);
    let outer = Outer::before(&router);
    let asked = outer.runtime.spawn(outer.service.clone().oneshot(get()));
    let mut wire = dyno.accept();
    wire.request();
    asked.abort();
    wire.is_closed();
    assert_eq!(router.code(), "H27");
}

#[test]
fn a_dropped_body_is_h27_and_the_dyno_is_told() {
    let dyno = Dyno::listening();
    let mut router = Router::to(dyno.address);
    let outer = Outer::before(&router);
    let asked = outer.runtime.spawn(outer.service.clone().oneshot(get()));
    let mut wire = dyno.accept();
    wire.request();
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
    let Ok(response) = outer.wait(asked).expect("no panic");
    drop(response);
    wire.is_closed();
    assert_eq!(router.code(), "H27");
}

#[test]
fn a_client_of_axum_that_leaves_is_h27() {
    let dyno = Dyno::listening();
    let mut router = Router::to(dyno.address);
    let outer = Outer::before(&router);
    let mut client = outer.client();
    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 10\r\n\r\n12345");
    let mut wire = dyno.accept();
    wire.until(b"12345");
    drop(client);
    wire.is_closed();
    assert_eq!(router.code(), "H27");
}

#[test]
fn a_service_is_ready_when_there_is_a_place() {
    let gate = fakes::Gate::default();
    let dyno = fakes::answers_when(gate.clone());
    let router = Router::start_with(App::new([dyno.address]), |options| {
        options.connections_per_worker = 2;
        options.workers = NonZeroUsize::MIN;
    });
    let outer = Outer::before(&router);
    let ready = |service: &mut _| {
        outer
            .runtime
            .block_on(async { std::future::poll_fn(|cx| Poll::Ready(poll_ready(service, cx))).await })
    };
    let mut services = [outer.service.clone(), outer.service.clone(), outer.service.clone()];
    let [one, two, three] = &mut services;
    assert!(ready(one) && ready(two) && !ready(three));
    let (one, two) = outer.runtime.block_on(async { (one.call(get()), two.call(get())) });
    assert!(!ready(three));
    gate.open();
    for asked in [one, two] {
        let Ok(response) = outer.wait(asked);
        assert_eq!(outer.wait(response.into_body().collect()).expect("whole").to_bytes(), "late");
    }
    assert!(outer.wait(tower::ServiceExt::<Request<Body>>::ready(three)).is_ok());
}

fn poll_ready(service: &mut router_core::service::RouterService, cx: &mut std::task::Context<'_>) -> bool {
    tower::Service::<Request<Body>>::poll_ready(service, cx).is_ready()
}

#[test]
fn two_services_in_one_process_do_not_know_of_each_other() {
    let (one, two) = (fakes::answers("one"), fakes::answers("two"));
    let (first, second) = (Router::to(one.address), Router::to(two.address));
    for (router, answer) in [(&first, "one"), (&second, "two"), (&first, "one")] {
        let outer = Outer::before(router);
        let body = outer.wait(outer.call(get()).into_body().collect()).expect("whole");
        assert_eq!(body.to_bytes(), answer);
    }
    drop(first);
    let outer = Outer::before(&second);
    assert_eq!(outer.call(get()).status(), 200);
}

#[test]
fn a_drain_finishes_what_was_handed_over_and_refuses_what_comes_after() {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let outer = Outer::before(&router);
    let asked = outer.runtime.spawn(outer.service.clone().oneshot(get()));
    let mut wire = dyno.accept();
    wire.request();
    let draining = outer.runtime.spawn(router.into_server().drain(Duration::from_secs(30)));
    let late = outer.wait(async {
        loop {
            // Until the worker has seen that the drain has begun, a request is still taken, and waits for the dyno.
            let late = tokio::time::timeout(Duration::from_millis(20), outer.service.clone().oneshot(get()));
            if let Ok(Ok(response)) = late.await {
                return response;
            }
        }
    });
    assert_eq!(late.status(), 503);
    wire.send(fakes::ok("done"));
    let Ok(response) = outer.wait(asked).expect("no panic");
    assert_eq!(outer.wait(response.into_body().collect()).expect("whole").to_bytes(), "done");
    let report = outer.wait(draining).expect("no panic");
    assert_eq!((report.cut, report.workers_lost), (0, 0));
}

#[test]
fn what_a_drain_has_no_more_patience_for_is_h24() {
    let dyno = Dyno::listening();
    let router = Router::to(dyno.address);
    let outer = Outer::before(&router);
    let asked = outer.runtime.spawn(outer.service.clone().oneshot(get()));
    let mut wire = dyno.accept();
    wire.request();
    let report = outer.drain(router.into_server(), Duration::ZERO);
    let Ok(response) = outer.wait(asked).expect("no panic");
    assert_eq!((response.status().as_u16(), report.cut), (503, 1));
    assert_eq!(report.totals.faults.get("forced_close"), Some(&1), "{:?}", report.totals);
}
