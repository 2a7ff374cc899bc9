//! What the tests share: a server on a socket of its own, and a client that knows nothing but HTTP text.

use std::{path::PathBuf, sync::Arc, time::Duration};

use busbar_registry::{
    AppName, AppRecord, Bounds, Capabilities, Change, Client, DynoRecord, Event, Lease, Memory, Millis,
    Registration, Registry, Revision, Routing, Watch, WebFormation,
    wire::{Limits, serve},
};
use futures_util::StreamExt;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, UnixListener, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

/// Nothing here takes longer unless it hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn key() -> Capabilities {
    Capabilities::from_key([42; 32])
}

pub(super) fn name(app: &str) -> AppName {
    app.parse().unwrap()
}

pub(super) fn app(app: &str) -> AppRecord {
    AppRecord {
        name: name(app),
        domains: vec![format!("{app}.example").parse().unwrap()],
        catch_all: false,
        maintenance: false,
        routing: Routing::default(),
        web: WebFormation::default(),
    }
}

pub(super) fn asked(app: &str, dyno: &str, port: u16, ttl_ms: u64) -> Registration {
    let address = ([10, 0, 0, 1], port).into();
    Registration { app: name(app), dyno: dyno.parse().unwrap(), address, ttl_ms: Millis(ttl_ms) }
}

/// Leases may be short, so that nobody waits long for one to run out.
pub(super) fn memory() -> Arc<Memory> {
    Memory::start(Bounds { ttl_min: Millis(50), ..Bounds::default() })
}

/// A running server.
pub(super) struct Server {
    stop: oneshot::Sender<()>,
    task: JoinHandle<usize>,
}

impl Server {
    pub(super) fn start(
        registry: Arc<dyn Registry>,
        listener: impl Into<busbar_registry::wire::Listener> + Send + 'static,
        limits: Limits,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { drop(stopped.await) };
        Self { stop, task: tokio::spawn(serve(registry, key(), listener, limits, shutdown)) }
    }

    /// How many connections had to be cut.
    pub(super) async fn stop(self) -> usize {
        drop(self.stop);
        timeout(PATIENCE, self.task).await.unwrap().unwrap()
    }
}

/// A registry with the apps `shop` and `blog` behind TCP.
pub(super) struct Tcp {
    pub(super) memory: Arc<Memory>,
    pub(super) address: String,
    pub(super) server: Server,
}

impl Tcp {
    pub(super) async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let memory = memory();
        for record in ["shop", "blog"].map(app) {
            memory.put_app(record, None).await.unwrap();
        }
        Self { server: Server::start(memory.clone(), listener, limits), memory, address }
    }

    pub(super) fn operator(&self) -> Client {
        Client::tcp(&self.address, key().operator_token()).with_timeout(PATIENCE)
    }

    pub(super) fn of_app(&self, app: &str) -> Client {
        Client::tcp(&self.address, key().app_token(&name(app))).with_timeout(PATIENCE)
    }

    /// One request, written by hand, and its whole answer: status and JSON.
    pub(super) async fn raw(
        &self,
        request: &str,
        token: Option<&str>,
        body: &str,
    ) -> (u16, serde_json::Value) {
        self.raw_of_length(request, token, body, body.len()).await
    }

    /// The same with a body that is not as long as its head says.
    pub(super) async fn raw_of_length(
        &self,
        request: &str,
        token: Option<&str>,
        body: &str,
        length: usize,
    ) -> (u16, serde_json::Value) {
        let (mut reader, _writer) = self.send(request, token, body, length).await;
        let mut answer = String::new();
        timeout(PATIENCE, reader.read_to_string(&mut answer)).await.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("not JSON: {answer}")))
    }

    /// A hold, written by hand. The lease, and the lines after it; dropping the lines breaks the connection.
    pub(super) async fn raw_hold(&self, path: &str, app: &str, body: &str) -> (Lease, RawLines) {
        let token = key().app_token(&name(app));
        let (reader, writer) =
            self.send(&format!("POST {path}"), Some(token.secret()), body, body.len()).await;
        let mut lines = RawLines { reader, _writer: writer };
        let mut line = lines.next().await;
        (serde_json::from_value(line["lease"].take()).unwrap(), lines)
    }

    async fn send(
        &self,
        request: &str,
        token: Option<&str>,
        body: &str,
        length: usize,
    ) -> (BufReader<OwnedReadHalf>, OwnedWriteHalf) {
        let (reader, mut writer) = TcpStream::connect(&self.address).await.unwrap().into_split();
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let (method, path) = request.split_once(' ').unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: r\r\nConnection: close\r\nContent-Length: {length}\r\n{token}\r\n"
        );
        writer.write_all(head.as_bytes()).await.unwrap();
        // The server may answer before it has read all of a body that it refuses.
        let _ = writer.write_all(body.as_bytes()).await;
        (BufReader::new(reader), writer)
    }
}

/// The lines of a stream, found without any HTTP library.
pub(super) struct RawLines {
    reader: BufReader<OwnedReadHalf>,
    _writer: OwnedWriteHalf,
}

impl RawLines {
    /// The next line that is JSON; heads and chunk sizes are passed over.
    pub(super) async fn next(&mut self) -> serde_json::Value {
        loop {
            let mut line = String::new();
            assert_ne!(
                timeout(PATIENCE, self.reader.read_line(&mut line)).await.unwrap().unwrap(),
                0,
                "ended"
            );
            if let Ok(value @ serde_json::Value::Object(_)) = serde_json::from_str(&line) {
                return value;
            }
        }
    }
}

pub(super) fn unix(path: &PathBuf) -> UnixListener {
    drop(std::fs::remove_file(path));
    UnixListener::bind(path).unwrap()
}

pub(super) async fn next(watch: &mut Watch) -> Event {
    timeout(PATIENCE, watch.next()).await.expect("no event came").expect("the watch ended").unwrap()
}

/// The next dyno that is put.
pub(super) async fn put(watch: &mut Watch) -> DynoRecord {
    loop {
        if let Change::DynoPut { dyno } = next(watch).await.change {
            return dyno;
        }
    }
}

/// The generation of the next dyno that is removed.
pub(super) async fn removed(watch: &mut Watch) -> busbar_registry::Generation {
    loop {
        if let Change::DynoRemoved { generation, .. } = next(watch).await.change {
            return generation;
        }
    }
}

pub(super) async fn watch_now(memory: &Memory) -> Watch {
    let Revision(now) = memory.snapshot().await.unwrap().revision;
    memory.watch(Revision(now)).await.unwrap()
}
