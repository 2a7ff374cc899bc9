//! Clients that take or send slowly: one stream does not hold the others. How much memory one may hold is for `memory.rs`.

use http::Request;
use it::{App, Dyno, Fake, Wire, fakes, filler};
use router_core::server::ServerOptions;

use super::client::{Front, answer, run, send_all, whole};

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

#[test]
fn uploads_that_their_dynos_have_do_not_use_up_the_window_while_their_answers_wait() {
    let dyno = Dyno::listening();
    let narrow = |options: &mut ServerOptions| options.http2.connection_window = 64 * 1024;
    let front = Front::clear_with(App::new([dyno.address]), narrow);
    run(async {
        let mut client = front.connect().await;
        client.settled().await;
        let body = filler(16 * 1024);
        let mut waiting = Vec::new();
        for _ in 0..40 {
            let request = Request::post("/").header("content-length", body.len());
            let (answered, mut upload) = client.ask(request, "/", false).await;
            send_all(&mut upload, &body, true).await.expect("it is taken");
            let mut wire = dyno.accept();
            assert!(wire.request().body == body, "another body");
            waiting.push((answered, wire));
        }
        for (answered, mut wire) in waiting {
            wire.send(fakes::ok("ok"));
            assert_eq!(answer(answered).await.expect("it is answered").text(), "ok");
        }
    });
}
