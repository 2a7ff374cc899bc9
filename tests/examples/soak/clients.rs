//! Who sends, and what they saw: threads with one connection each, which send at their own times whatever the router does.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Three times what the dynos of [`dynos`](crate::dynos) can carry, together.
const CLIENTS: u32 = 400;
const EACH: Duration = Duration::from_micros(666_667);
/// Longer than any deadline of the router.
const PATIENCE: Duration = Duration::from_secs(20);

/// What one request came to.
#[derive(Debug)]
pub(crate) enum Seen {
    Answer {
        status: u16,
        code: Option<String>,
        /// The router closes the connection.
        closes: bool,
    },
    Cut,
    Nothing,
    /// Its client did not wait for the end.
    Left,
}

pub(crate) struct Clients {
    threads: Vec<JoinHandle<Vec<(String, Seen)>>>,
    stop: Arc<AtomicBool>,
}

pub(crate) fn start(router: SocketAddr) -> Clients {
    let stop = Arc::<AtomicBool>::default();
    let client = |number| {
        let stop = Arc::clone(&stop);
        let small = thread::Builder::new().stack_size(128 * 1024);
        small.spawn(move || life(number, router, &stop)).expect("a thread")
    };
    Clients { threads: (0..CLIENTS).map(client).collect(), stop }
}

impl Clients {
    /// Everything that was sent, by its id.
    pub(crate) fn stop(self) -> BTreeMap<String, Seen> {
        self.stop.store(true, Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    }
}

fn life(number: u32, router: SocketAddr, stop: &AtomicBool) -> Vec<(String, Seen)> {
    let (mut seen, mut connection) = (Vec::new(), None);
    let mut due = Instant::now() + EACH * number / CLIENTS;
    for turn in 0_u32.. {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due = (due + EACH).max(Instant::now());
        if stop.load(Relaxed) {
            break;
        }
        let mut stream = connection.take().unwrap_or_else(|| connect(router));
        let id = format!("soak-client-{number:06}-request-{turn:09}");
        // Of 64 requests one is left at once, one after a while, one in its own body; one has a body.
        let kind = (number.wrapping_mul(31) + turn) % 64;
        let body = if matches!(kind, 2 | 3) { 20_000 } else { 0 };
        let head = format!(
            "POST /{kind} HTTP/1.1\r\nHost: soak.example\r\nAccept: text/plain\r\nX-Request-Id: {id}\r\n\
             Content-Length: {body}\r\n\r\n"
        );
        let sends = if kind == 2 { body / 2 } else { body };
        let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![b'x'; sends]));
        let outcome = match kind {
            0 | 2 => Seen::Left,
            1 => {
                thread::sleep(Duration::from_millis(30));
                Seen::Left
            }
            _ if sent.is_err() => Seen::Nothing,
            _ => answer(&mut stream),
        };
        if matches!(outcome, Seen::Answer { closes: false, .. }) {
            connection = Some(stream);
        }
        seen.push((id, outcome));
    }
    seen
}

fn connect(router: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(router).expect("the router accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("an option");
    stream
}

fn answer(stream: &mut TcpStream) -> Seen {
    let (mut text, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(whole) = whole(&text) {
            return whole;
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) if text.is_empty() => return Seen::Nothing,
            Ok(0) | Err(_) => return Seen::Cut,
            Ok(n) => text.extend(piece.iter().take(n)),
        }
    }
}

/// The answer, when it is there whole. All have a `Content-Length`.
fn whole(text: &[u8]) -> Option<Seen> {
    let text = String::from_utf8_lossy(text);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.get(9..12)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
    });
    let code = || {
        let word = body.split(|c: char| !c.is_ascii_alphanumeric()).find(|word| {
            word.len() == 3 && word.starts_with('H') && word.bytes().skip(1).all(|b| b.is_ascii_digit())
        });
        word.map(str::to_owned)
    };
    let code = if status >= 400 { code() } else { None };
    let closes = head.to_ascii_lowercase().contains("\r\nconnection: close");
    (body.len() >= length?).then_some(Seen::Answer { status, code, closes })
}
