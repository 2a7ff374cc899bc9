//! Load: a few keep-alive connections that ask again and again, and count what became of every single request.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::wait::{PATIENCE, until};

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// 200, with this body.
    Answered(String),
    /// Another status, with this body.
    Refused(u16, String),
    /// No connection, or one that ended before the whole answer.
    Cut(String),
}

/// How many requests had which outcome.
pub(crate) type Tally = BTreeMap<Outcome, u64>;

/// Load that goes on until it is finished or dropped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    connections: Vec<JoinHandle<Tally>>,
}

impl Load {
    /// Begins to ask for `/` over this many connections.
    pub(crate) fn start(address: SocketAddr, connections: usize) -> Self {
        Self::start_for(address, connections, "load.test")
    }

    /// The same for this host.
    pub(crate) fn start_for(address: SocketAddr, connections: usize, host: &'static str) -> Self {
        let (stop, done) = <(Arc<AtomicBool>, Arc<AtomicU64>)>::default();
        let ask = || {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            thread::spawn(move || ask_again_and_again(address, host, &stop, &done))
        };
        let connections = (0..connections).map(|_| ask()).collect();
        Self { stop, done, connections }
    }

    /// Waits until this many further requests are through.
    pub(crate) fn goes_on_for(&self, requests: u64) {
        let goal = self.done.load(Ordering::Relaxed) + requests;
        until("the load goes on", || (self.done.load(Ordering::Relaxed) >= goal).then_some(()));
    }

    /// Ends it when the requests in flight are through.
    pub(crate) fn finish(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::new();
        for connection in self.connections.drain(..) {
            for (outcome, count) in connection.join().expect("nobody panicked") {
                *all.entry(outcome).or_default() += count;
            }
        }
        all
    }

    /// Ends it, and fails if a single request was not answered.
    #[track_caller]
    pub(crate) fn lost_nothing(self) {
        let tally = self.finish();
        let all_answered = tally.keys().all(|outcome| matches!(outcome, Outcome::Answered(_)));
        assert!(all_answered && !tally.is_empty(), "{tally:#?}");
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn ask_again_and_again(address: SocketAddr, host: &str, stop: &AtomicBool, done: &AtomicU64) -> Tally {
    let (mut tally, mut connection) = (Tally::new(), None);
    while !stop.load(Ordering::Relaxed) {
        let outcome = match ask(address, host, &mut connection) {
            Ok((200, body)) => Outcome::Answered(body),
            Ok((status, body)) => Outcome::Refused(status, body),
            Err(why) => {
                connection = None;
                Outcome::Cut(why)
            }
        };
        *tally.entry(outcome).or_default() += 1;
        done.fetch_add(1, Ordering::Relaxed);
    }
    tally
}

/// One request on the connection, or on a new one if there is none. One that the answer closes is forgotten.
fn ask(address: SocketAddr, host: &str, kept: &mut Option<TcpStream>) -> Result<(u16, String), String> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => connect(address).map_err(|e| format!("connecting: {e}"))?,
    };
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\r\n");
    connection.write_all(request.as_bytes()).map_err(|e| format!("sending: {e}"))?;
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Some((status, body, closes)) = whole(&received)? {
            *kept = (!closes).then_some(connection);
            return Ok((status, body));
        }
        match connection.read(&mut buffer).map_err(|e| format!("after {} bytes: {e}", received.len()))? {
            0 => return Err(format!("closed after {} bytes", received.len())),
            n => received.extend_from_slice(&buffer[..n]),
        }
    }
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    Ok(connection)
}

/// Status, body, and whether the connection closes, once all of it is there.
fn whole(received: &[u8]) -> Result<Option<(u16, String, bool)>, String> {
    let text = String::from_utf8_lossy(received);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let length: usize = length.ok_or_else(|| format!("no length: {head}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| format!("no status: {head}"))?;
    let closes = head.lines().any(|line| line.starts_with("connection:") && line.contains("close"));
    match body.len() {
        got if got > length => Err(format!("more than announced: {text}")),
        got if got < length => Ok(None),
        _ => Ok(Some((status, body.trim_end().to_owned(), closes))),
    }
}
