//! Clients that take or send slowly: one stream holds neither the others nor more memory than is bounded.

use std::fs;

use http::Request;
use it::{App, Dyno, Fake, Wire, fakes, filler};

use super::{
    client::{Front, answer, run, send_all, whole},
    frames::{Raw, WINDOW_UPDATE, frame, get},
};

/// Answers `/big` with 512 KiB, everything else with `ok`.
fn big_and_small() -> Fake {
    let big = fakes::ok(filler(512 * 1024));
    Fake::new(move |wire: &mut Wire| {
        while wire.has_more() {
            let request = wire.request();
            wire.try_send(if request.target() == "/big" { big.clone() } else { fakes::ok("ok") });
        }
    })
}

#[test]
fn a_slow_client_of_one_stream_holds_neither_its_other_streams_nor_the_dyno() {
    let dyno = big_and_small();
    for transport in [Front::clear, Front::tls] {
        // One request at a time: the next one is served only when the dyno is done with the slow one.
        let app = App::new([dyno.address])
            .routed(|routing| routing.concurrency_per_dyno = std::num::NonZeroU32::new(1));
        let front = transport(app);
        run(async {
            // The window of the connection is for all streams; it is the client's to open it.
            let mut builder = h2::client::Builder::new();
            let mut client = front.connect_as(builder.initial_connection_window_size(1 << 20)).await;
            let (slow, _) = client.ask(Request::get("/"), "/big", true).await;
            let slow = slow.await.expect("it begins");
            for _ in 0..3 {
                assert_eq!(client.get("/").await.text(), "ok");
            }
            let (body, _) = whole(&mut slow.into_body()).await.expect("it is whole");
            assert!(body == filler(512 * 1024));
        });
    }
}

#[test]
fn an_upload_that_its_dyno_does_not_take_stops_and_others_go_on() {
    let dyno = Dyno::listening();
    let front = Front::clear(App::new([dyno.address]));
    run(async {
        let mut client = front.connect().await;
        let (stuck, mut upload) = client.ask(Request::post("/"), "/", false).await;
        let body = filler(32 << 20);
        let upload = tokio::spawn(async move { send_all(&mut upload, &body, true).await });
        let mut wire = dyno.accept();
        wire.head();
        for n in 0..3 {
            let (answered, mut other) = client.ask(Request::post("/"), "/", false).await;
            send_all(&mut other, &filler(100_000), true).await.expect("it is taken");
            let mut another = dyno.accept();
            assert_eq!(another.request().body.len(), 100_000, "{n}");
            another.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
            assert_eq!(answer(answered).await.expect("it is answered").text(), "ok");
        }
        drop(wire);
        let ended = answer(stuck).await;
        assert_eq!(ended.expect("a page").status(), 503);
        assert!(upload.await.expect("it ends").is_err());
    });
}

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("it can be read");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it says so");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[test]
fn a_client_that_grants_windows_without_end_and_takes_nothing_costs_a_bounded_amount() {
    let body = fakes::ok(filler(4 << 20));
    let dyno = Fake::new(move |wire: &mut Wire| {
        if wire.has_more() {
            wire.request();
            wire.try_send(&body);
        }
    });
    let front = Front::clear(App::new([dyno.address]));
    let before = resident();
    // SETTINGS_INITIAL_WINDOW_SIZE, then the connection's window.
    let mut raw = Raw::connect_with(&front.router, &[(4, 0x7fff_ffff)]);
    raw.send(frame(WINDOW_UPDATE, 0, 0, 0x7fff_0000_u32.to_be_bytes()));
    for n in 0..100 {
        raw.send(get(2 * n + 1));
    }
    front.router.until("all are at work", |totals| totals.dials >= 100);
    // Each response is held as far as it may be, and what a slow client is shown after a while.
    let (mut victim, mut last) = (front.router.client(), 0);
    loop {
        front.router.still_serves(&mut victim);
        let now = resident();
        if now <= last {
            break;
        }
        last = now;
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let grown = last.saturating_sub(before);
    // 4 MiB held, some buffers, and the stacks of a hundred fakes that wait.
    assert!(grown < 48 << 20, "{grown} bytes more");
}
