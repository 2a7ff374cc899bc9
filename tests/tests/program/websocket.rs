//! A WebSocket library of the Rust world through the router, to a dyno that speaks WebSocket by itself.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use crate::{
    busbar::{Busbar, Place, app},
    wait::PATIENCE,
};

struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn open(busbar: &Busbar) -> Self {
        let tcp = TcpStream::connect(busbar.address).await.unwrap();
        let request = "ws://socket.example/chat";
        let (socket, response) =
            timeout(PATIENCE, tokio_tungstenite::client_async(request, tcp)).await.unwrap().unwrap();
        assert_eq!(response.status(), 101);
        Self(socket)
    }

    async fn send(&mut self, message: Message) {
        timeout(PATIENCE, self.0.send(message)).await.unwrap().unwrap();
    }

    async fn next(&mut self) -> Option<Message> {
        timeout(PATIENCE, self.0.next()).await.unwrap().map(Result::unwrap)
    }

    async fn echoes(&mut self, message: Message) {
        self.send(message.clone()).await;
        assert!(
            self.next().await.as_ref() == Some(&message),
            "not the {} bytes that were sent",
            message.len()
        );
    }
}

fn up() -> Busbar {
    let busbar = Place::new().up(&app("tests/apps/websocket"), &[]);
    busbar.runs(&["web.1"]);
    busbar
}

#[tokio::test]
async fn five_hundred_messages_come_back_in_order() {
    let busbar = up();
    let mut socket = Socket::open(&busbar).await;
    for n in 0..250 {
        socket.echoes(Message::text(format!("message {n}"))).await;
    }
    let (mut sink, mut stream) = socket.0.split();
    let all = async {
        for n in 250..500 {
            sink.feed(Message::text(format!("message {n}"))).await.unwrap();
        }
        sink.flush().await.unwrap();
    };
    let back = async {
        for n in 250..500 {
            let message = stream.next().await.unwrap().unwrap();
            assert_eq!(message.into_text().unwrap().as_str(), format!("message {n}"));
        }
    };
    timeout(PATIENCE, async { tokio::join!(all, back) }).await.unwrap();
}

#[tokio::test]
async fn messages_of_every_size_come_back_whole() {
    let busbar = up();
    let mut socket = Socket::open(&busbar).await;
    for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
        socket.echoes(Message::binary(it::filler(size))).await;
    }
}

#[tokio::test]
async fn a_ping_is_answered_by_the_dyno_and_a_close_closes_both_ends() {
    let busbar = up();
    let mut socket = Socket::open(&busbar).await;
    socket.send(Message::Ping("are you there".into())).await;
    assert_eq!(socket.next().await, Some(Message::Pong("are you there".into())));
    let close = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
    socket.send(Message::Close(Some(close.clone()))).await;
    assert_eq!(socket.next().await, Some(Message::Close(Some(close))));
    assert_eq!(socket.next().await, None); // the dyno has closed its end; now we close ours
    drop(socket);
    let line = busbar.out.line("path=\"/chat\"");
    assert!(line.contains("at=info") && line.contains("status=101"), "{line}");
}

#[tokio::test]
async fn two_sockets_at_a_time_do_not_hear_each_other() {
    let busbar = up();
    let (mut one, mut two) = (Socket::open(&busbar).await, Socket::open(&busbar).await);
    one.send(Message::text("one")).await;
    two.echoes(Message::text("two")).await;
    assert_eq!(one.next().await, Some(Message::text("one")));
    two.echoes(Message::text("two again")).await;
}
