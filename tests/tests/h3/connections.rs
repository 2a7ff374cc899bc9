//! Connections over QUIC: they move to another address, have limits, and end in order.

use std::{num::NonZeroUsize, time::Duration};

use it::{App, Dyno, Fake, Wire, router::HOST};

use super::client::{Client, any, body, endpoint, run, stage, tls};

fn hello() -> Fake {
    Fake::new(|wire: &mut Wire| {
        while wire.has_more() {
            wire.request();
            wire.try_send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        }
    })
}

#[test]
fn a_connection_that_moves_to_another_address_goes_on() {
    let dyno = hello();
    let mut stage = stage(App::new([dyno.address]), |_| {});
    run(async {
        let mut client = Client::connect(&stage).await;
        assert_eq!(client.get("/").await.1, b"hello");
        let before = client.endpoint.local_addr().expect("it is bound");
        client.endpoint.rebind(std::net::UdpSocket::bind(any()).expect("a port")).expect("it moves");
        assert_ne!(client.endpoint.local_addr().expect("it is bound"), before);
        assert_eq!(client.get("/moved").await.1, b"hello");
    });
    assert_eq!(stage.router.line().get("path"), "/");
    assert_eq!(stage.router.line().get("path"), "/moved");
    assert_eq!(stage.router.totals().connections, 1);
}

#[test]
fn no_request_is_taken_before_the_handshake_is_over() {
    let dyno = hello();
    let stage = stage(App::new([dyno.address]), |_| {});
    run(async {
        let mut config = tls(&stage);
        config.enable_early_data = true;
        let endpoint = endpoint(config);
        let first = endpoint.connect(stage.router.address, HOST).expect("it may").await.expect("it connects");
        // The ticket comes with the first bytes of the server's control stream.
        let (mut driver, mut h3) =
            h3::client::new(h3_quinn::Connection::new(first.clone())).await.expect("h3");
        let driver = tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
        let request = http::Request::get(format!("https://{HOST}/")).body(()).expect("a request");
        let mut stream = h3.send_request(request).await.expect("it is sent");
        stream.finish().await.expect("it is sent");
        assert_eq!(stream.recv_response().await.expect("a response").status(), 200);
        first.close(0u32.into(), b"");
        drop(driver.await);
        let again = endpoint.connect(stage.router.address, HOST).expect("it may");
        assert!(again.into_0rtt().is_err(), "0-RTT was offered");
    });
}

#[test]
fn a_client_has_so_many_connections_and_no_more_over_quic() {
    let dyno = hello();
    let stage = stage(App::new([dyno.address]), |options| {
        options.connections_per_client = NonZeroUsize::new(1);
    });
    run(async {
        let mut first = Client::connect(&stage).await;
        let endpoint = endpoint(tls(&stage));
        let second = endpoint.connect(stage.router.address, HOST).expect("it may").await;
        assert!(second.is_err(), "a second one was let in");
        assert_eq!(first.get("/").await.1, b"hello");
    });
}

#[test]
fn an_idle_connection_is_closed_in_order_over_quic() {
    let dyno = hello();
    let stage = stage(App::new([dyno.address]), |options| {
        options.keepalive_timeout = Duration::from_secs(1);
    });
    run(async {
        let mut client = Client::connect(&stage).await;
        assert_eq!(client.get("/").await.1, b"hello");
        let end = client.driver.await.expect("it ends");
        assert!(end.is_h3_no_error(), "{end:?}");
    });
}

/// A request that needs no dyno to be answered; `None` when it cannot be made any more.
async fn misdirected(client: &mut Client) -> Option<u16> {
    let request = http::Request::get("https://nobody.test/").body(()).expect("a request");
    let mut stream = client.h3.send_request(request).await.ok()?;
    stream.finish().await.ok()?;
    Some(stream.recv_response().await.ok()?.status().as_u16())
}

#[test]
fn a_drain_lets_requests_over_http3_finish_and_takes_no_more() {
    let dyno = Dyno::listening();
    let stage = stage(App::new([dyno.address]), |_| {});
    run(async {
        let mut client = Client::connect(&stage).await;
        let mut stream = client.begin(http::Request::get(format!("https://{HOST}/"))).await;
        stream.finish().await.expect("it is sent");
        let mut wire = tokio::task::block_in_place(|| {
            let mut wire = dyno.accept();
            wire.request();
            wire
        });
        let drain = tokio::spawn(stage.router.into_server().drain(Duration::from_secs(20)));
        // Told to go, the client cannot begin another request; how soon it learns that is the network's affair.
        while let Some(status) = misdirected(&mut client).await {
            assert_eq!(status, 421);
        }
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast");
        assert_eq!(stream.recv_response().await.expect("a response").status(), 200);
        assert_eq!(body(&mut stream).await, b"last");
        drop((client, stream, wire, dyno));
        let report = drain.await.expect("it drains");
        assert_eq!(report.workers_lost, 0);
    });
}
