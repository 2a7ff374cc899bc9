//! Connections and streams that end: drains, idle connections, dynos that crash, clients that leave.

use std::time::Duration;

use http::Request;
use it::{App, Dyno, fakes};
use router_core::{observe::Closed, server::ServerOptions};

use super::client::{Front, answer, run, whole};

#[test]
fn a_drain_says_goaway_and_loses_no_stream() {
    for transport in [Front::clear, Front::tls] {
        let dyno = Dyno::listening();
        let front = transport(App::new([dyno.address]));
        run(async {
            let mut client = front.connect().await;
            let (one, _) = client.ask(Request::get("/"), "/1", true).await;
            let (two, _) = client.ask(Request::get("/"), "/2", true).await;
            let mut wires = [dyno.accept(), dyno.accept()];
            wires.iter_mut().for_each(|wire| drop(wire.head()));
            let meter = front.router.meter();
            let drained = tokio::spawn(front.router.into_server().drain(Duration::from_secs(10)));
            client.told_to_go().await;
            for wire in &mut wires {
                wire.send(fakes::ok("whole"));
            }
            for response in [one, two] {
                assert_eq!(answer(response).await.expect("no stream is lost").text(), "whole");
            }
            let ended = client.driven.await.expect("it ends");
            assert!(ended.is_ok(), "{ended:?}");
            let report = drained.await.expect("it is over");
            assert_eq!((report.cut, report.workers_lost), (0, 0));
            assert_eq!(meter.totals().closed.get(&Closed::DrainAnswered), Some(&1));
        });
    }
}

#[test]
fn what_is_open_when_patience_is_over_is_h24() {
    let dyno = Dyno::listening();
    let front = Front::clear(App::new([dyno.address]));
    run(async {
        let mut client = front.connect().await;
        let (silent, _) = client.ask(Request::get("/"), "/1", true).await;
        let (begun, _) = client.ask(Request::get("/"), "/2", true).await;
        let mut wires = [dyno.accept(), dyno.accept()];
        for wire in &mut wires {
            if wire.head().target() == "/2" {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
            }
        }
        let begun = begun.await.expect("it begins");
        let meter = front.router.meter();
        let report = front.router.into_server().drain(Duration::from_millis(50)).await;
        assert_eq!(answer(silent).await.expect("it is told so").status(), 503);
        let (_, mut body) = begun.into_parts();
        let end = whole(&mut body).await;
        assert_eq!(end.expect_err("it is cut").reason(), Some(h2::Reason::INTERNAL_ERROR));
        assert_eq!((report.cut, meter.totals().faults.get("forced_close")), (1, Some(&2)));
        assert_eq!(meter.totals().closed.get(&Closed::DrainCut), Some(&1));
    });
}

#[test]
fn an_idle_connection_is_told_to_go() {
    let dyno = fakes::answers("ok");
    let short = |options: &mut ServerOptions| options.keepalive_timeout = Duration::from_millis(500);
    let front = Front::clear_with(App::new([dyno.address]), short);
    run(async {
        let mut client = front.connect().await;
        assert_eq!(client.get("/").await.text(), "ok");
        let ended = client.driven.await.expect("it ends");
        assert!(ended.is_ok(), "{ended:?}");
    });
    front.router.until("it is counted", |totals| totals.closed.get(&Closed::Idle) == Some(&1));
}

#[test]
fn a_client_that_leaves_is_h27_for_each_of_its_streams_and_the_dyno_is_told() {
    let dyno = Dyno::listening();
    let mut front = Front::clear(App::new([dyno.address]));
    run(async {
        let mut client = front.connect().await;
        let (cancelled, mut upload) = client.ask(Request::post("/"), "/", false).await;
        let mut wire = dyno.accept();
        wire.head();
        upload.send_reset(h2::Reason::CANCEL);
        drop((cancelled, upload));
        assert!(!wire.has_more());
        assert_eq!(front.router.code(), "H27");

        let (_one, _) = client.ask(Request::get("/"), "/1", true).await;
        let (_two, _) = client.ask(Request::get("/"), "/2", true).await;
        let mut wires = [dyno.accept(), dyno.accept()];
        wires.iter_mut().for_each(|wire| drop(wire.head()));
        client.driven.abort();
        drop(client);
        assert!(wires.iter_mut().all(|wire| !wire.has_more()));
        assert_eq!([front.router.code(), front.router.code()], ["H27", "H27"]);
    });
    front.router.until("it is counted", |totals| totals.closed.get(&Closed::Broken) == Some(&1));
}

/// Bounded in time by the test's patience: 10 000 streams of 20 connections, each cut by a dyno that dies in its response.
#[test]
fn ten_thousand_streams_whose_dynos_crash_each_end_with_the_right_error() {
    let dyno = fakes::sends_half_a_response();
    let app = App::new([dyno.address]).routed(|routing| routing.in_flight_per_dyno = 10_000);
    let front = Front::clear(app);
    run(async {
        let clients = (0..20).map(async |_| {
            let mut client = front.connect().await;
            for _ in 0..10 {
                let mut all = Vec::new();
                for _ in 0..50 {
                    all.push(answer(client.ask(Request::get("/"), "/", true).await.0));
                }
                for result in futures_util::future::join_all(all).await {
                    let error = result.expect_err("it is cut");
                    assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR), "{error}");
                }
            }
        });
        futures_util::future::join_all(clients).await;
    });
    front.router.until("each has its code", |totals| {
        totals.faults.get("server_request_interrupted") == Some(&10_000)
    });
    assert_eq!(front.router.totals().requests, 10_000);
}
