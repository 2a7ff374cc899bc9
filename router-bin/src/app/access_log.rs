//! The router's log lines on their way out. A thread of their own writes them: no request waits for a disk or a pipe.
//!
//! - [`LineThread`]: takes batches of lines and gives them to a [`Sink`]; when that is too slow, batches are dropped
//!   and counted.
//! - [`Writer`]: a sink that writes to standard output, standard error or a file.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use jiff::Timestamp;
use router_core::observe::AccessLog;

use crate::{config::AccessLogTo, failure::Failure, out};

/// Batches that may wait to be written. A batch is at most some 64 KiB, so this is 16 MiB.
const WAITING: usize = 256;

/// Takes batches of whole lines.
pub(crate) trait Sink: Send + 'static {
    /// Takes some lines, each with its end.
    fn lines(&mut self, lines: &[u8]);
    /// Writes to the new place from now on, or opens the old one again.
    fn reopen(&mut self, _to: Opened) {}
}

enum Order {
    Lines(Vec<u8>),
    Reopen(Opened),
    Finish,
}

/// Gives lines to a sink, on a thread of its own.
pub(crate) struct LineThread {
    orders: mpsc::SyncSender<Order>,
    thread: JoinHandle<()>,
}

/// Where a [`LineThread`] takes lines.
struct Inlet(mpsc::SyncSender<Order>);

impl AccessLog for Inlet {
    fn write(&self, lines: Vec<u8>) -> u64 {
        match self.0.try_send(Order::Lines(lines)) {
            Ok(()) => 0,
            Err(
                mpsc::TrySendError::Full(Order::Lines(lines))
                | mpsc::TrySendError::Disconnected(Order::Lines(lines)),
            ) => {
                let ends = lines.iter().filter(|byte| **byte == b'\n').count();
                u64::try_from(ends).unwrap_or(u64::MAX)
            }
            Err(_) => 0,
        }
    }
}

impl LineThread {
    /// Begins to give lines to `sink`.
    ///
    /// # Errors
    /// When there can be no further thread.
    pub(crate) fn start(mut sink: impl Sink) -> Result<Self, Failure> {
        let (orders, taken) = mpsc::sync_channel(WAITING);
        let work = move || {
            for order in taken {
                match order {
                    Order::Lines(lines) => sink.lines(&lines),
                    Order::Reopen(to) => sink.reopen(to),
                    Order::Finish => break,
                }
            }
        };
        let started = std::thread::Builder::new().name("access-log".to_owned()).spawn(work);
        let thread =
            started.map_err(|source| Failure::System { deed: "starting the thread of the log", source })?;
        Ok(Self { orders, thread })
    }

    /// Where the router puts its lines.
    pub(crate) fn inlet(&self) -> Arc<dyn AccessLog> {
        Arc::new(Inlet(self.orders.clone()))
    }

    /// Writes to `to` from now on. False: the log is so far behind that it cannot even be told.
    pub(crate) fn reopen(&self, to: Opened) -> bool {
        self.orders.try_send(Order::Reopen(to)).is_ok()
    }

    /// Waits until everything is written. Cancelled, it goes on in its thread.
    pub(crate) async fn finish(self) {
        let finished = tokio::task::spawn_blocking(move || {
            let _its_thread_is_gone = self.orders.send(Order::Finish);
            self.thread.join()
        });
        let _panicked = finished.await;
    }
}

/// A place to write to that can be written to.
pub(crate) enum Opened {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The end of a file.
    File(File),
    /// Nowhere.
    Off,
}

impl Opened {
    /// Opens it.
    ///
    /// # Errors
    /// When the file cannot be opened or made.
    pub(crate) fn open(to: &AccessLogTo) -> Result<Self, Failure> {
        Ok(match to {
            AccessLogTo::Stdout => Self::Stdout,
            AccessLogTo::Stderr => Self::Stderr,
            AccessLogTo::Off => Self::Off,
            AccessLogTo::File(path) => Self::File(append_to(path)?),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().lock().write_all(bytes).and_then(|()| io::stdout().flush()),
            Self::Stderr => io::stderr().lock().write_all(bytes),
            Self::File(file) => file.write_all(bytes),
            Self::Off => Ok(()),
        }
    }
}

fn append_to(path: &Path) -> Result<File, Failure> {
    File::options().append(true).create(true).open(path).map_err(|source| Failure::File {
        what: "log file",
        path: path.display().to_string(),
        deed: "opened",
        source,
        advice: "check its directory and permissions",
    })
}

/// Writes each line with its time, as `heroku logs` shows it. What cannot be written is lost; that is said once.
pub(crate) struct Writer {
    to: Opened,
    failing: bool,
    room: Vec<u8>,
}

impl Writer {
    /// Writes to `to`.
    pub(crate) fn new(to: Opened) -> Self {
        Self { to, failing: false, room: Vec::new() }
    }
}

impl Sink for Writer {
    fn lines(&mut self, lines: &[u8]) {
        // Workers hand their lines over many times a second, so one time for the batch is right.
        let head = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00 heroku[router]: ").to_string();
        self.room.clear();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            self.room.extend_from_slice(head.as_bytes());
            self.room.extend_from_slice(line);
        }
        match self.to.write(&self.room) {
            Ok(()) => self.failing = false,
            Err(error) if !std::mem::replace(&mut self.failing, true) => {
                out::note(format_args!(
                    "access lines are lost: {error}; free the log's place, or choose another one"
                ));
            }
            Err(_) => {}
        }
    }

    fn reopen(&mut self, to: Opened) {
        self.to = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sink that waits for leave to take each batch.
    struct Slow(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Sink for Slow {
        fn lines(&mut self, lines: &[u8]) {
            let _ = self.0.recv();
            let _ = self.1.send(lines.to_vec());
        }
    }

    #[tokio::test]
    async fn a_slow_log_loses_whole_batches_and_counts_their_lines() {
        let (leave, wait) = mpsc::channel();
        let (taken, seen) = mpsc::channel();
        let thread = LineThread::start(Slow(wait, taken)).unwrap();
        let inlet = thread.inlet();
        let dropped: u64 = (0..WAITING + 10).map(|_| inlet.write(b"a\nb\n".to_vec())).sum();
        // The thread may or may not have taken the first batch out of the queue.
        assert!(dropped == 18 || dropped == 20, "{dropped}");
        drop(leave);
        thread.finish().await;
        assert_eq!(seen.iter().count() as u64, WAITING as u64 + 10 - dropped / 2);
    }

    #[tokio::test]
    async fn a_file_is_appended_to_and_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("log"), dir.path().join("log.1"));
        let to = AccessLogTo::File(path.clone());
        let thread = LineThread::start(Writer::new(Opened::open(&to).unwrap())).unwrap();
        let inlet = thread.inlet();
        assert_eq!(inlet.write(b"at=info one\nat=info two\n".to_vec()), 0);
        std::fs::rename(&path, &moved).unwrap();
        assert!(thread.reopen(Opened::open(&to).unwrap()));
        assert_eq!(inlet.write(b"at=info three\n".to_vec()), 0);
        thread.finish().await;
        // The first batch may have been written before the file was moved or after it.
        let first = std::fs::read_to_string(&moved).unwrap();
        assert_eq!(first.lines().count(), 2, "{first}");
        assert!(first.lines().all(|line| line.contains("+00:00 heroku[router]: at=info ")), "{first}");
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    #[test]
    fn a_log_file_that_cannot_be_opened_says_what_to_do() {
        let to = AccessLogTo::File("/nonexistent/log".into());
        let refused = Opened::open(&to).err().unwrap().to_string();
        assert!(refused.starts_with("log file /nonexistent/log cannot be opened: no such file"), "{refused}");
    }
}
