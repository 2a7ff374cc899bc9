//! The side that has the terminal, or the files: the one that ends when the dyno does, with its status.
//!
//! [`Operator::attend`]: with a terminal that is raw meanwhile and is put back however this ends, or with pipes.

use std::io;

use bytes::Bytes;
use dyno_runtime::{Exit, WindowSize};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustix::{
    process::Signal,
    stdio::{stdin, stdout},
    termios::{isatty, tcgetwinsize},
};
use tokio::{
    io::{ReadHalf, WriteHalf},
    sync::{mpsc, oneshot},
};
use tokio_util::codec::{FramedRead, FramedWrite};

use super::{
    console::{self, To},
    keyboard::Keyboard,
    raw::Raw,
    signals::Signals,
    wire::{Frames, FromHost, FromOperator, WireError},
};
use crate::{admin_client::CallError, failure::Failure};

/// The size of our own terminal, if we have one.
pub(crate) fn window() -> Option<WindowSize> {
    let size = tcgetwinsize(stdout()).or_else(|_| tcgetwinsize(stdin())).ok()?;
    Some(WindowSize { rows: size.ws_row, columns: size.ws_col })
}

/// Whether standard input is a terminal, and standard output.
pub(crate) fn terminals() -> (bool, bool) {
    (isatty(stdin()), isatty(stdout()))
}

type Connection = TokioIo<Upgraded>;

/// Whoever is attached to a dyno.
pub(crate) struct Operator {
    from: FramedRead<ReadHalf<Connection>, Frames<FromHost>>,
    to: FramedWrite<WriteHalf<Connection>, Frames<FromOperator>>,
    /// What is said of a connection that ends too early.
    lost: fn(String) -> CallError,
    keyboard: Keyboard,
    show: mpsc::Sender<(To, Bytes)>,
    shown: oneshot::Receiver<io::Result<()>>,
    to_show: Option<(To, Bytes)>,
    resized: bool,
    exit: Option<Option<Exit>>,
}

/// What happens next.
enum Next {
    Signal(Signal),
    Heard(Option<Result<FromHost, WireError>>),
    Typed(Option<Bytes>),
    /// One more thing was shown, or sent.
    Done,
}

impl Operator {
    /// Over this connection.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn new(connection: Upgraded, lost: fn(String) -> CallError) -> Result<Self, Failure> {
        let (from, to) = tokio::io::split(TokioIo::new(connection));
        let (show, shown) = console::output().map_err(unprepared)?;
        Ok(Self {
            from: FramedRead::new(from, Frames::default()),
            to: FramedWrite::new(to, Frames::default()),
            lost,
            keyboard: Keyboard::default(),
            show,
            shown,
            to_show: None,
            resized: false,
            exit: None,
        })
    }

    /// The dyno's name.
    ///
    /// # Errors
    /// The connection was lost.
    pub(crate) async fn dyno(&mut self) -> Result<String, Failure> {
        match self.from.next().await {
            Some(Ok(FromHost::Dyno(name))) => Ok(name),
            frame => Err(self.lost(frame.and_then(Result::err))),
        }
    }

    /// Lets the dyno start, and is its terminal (`raw`), or its files, until it ends. `None`: it was not launched.
    ///
    /// # Errors
    /// [`Failure::Status`] when a signal ends us; the connection was lost; nobody reads the output.
    pub(crate) async fn attend(mut self, raw: bool) -> Result<Option<Exit>, Failure> {
        // From here on no signal ends us without the terminal being put back.
        let mut signals = Signals::listen(raw).map_err(unprepared)?;
        let own = stdin();
        let raw = raw.then(|| Raw::set(&own)).transpose().map_err(unprepared)?;
        self.to.send(FromOperator::Attach).await.map_err(|error| self.lost(Some(error)))?;
        self.resized = raw.is_some();
        self.keyboard = Keyboard::listen(raw.is_some()).map_err(unprepared)?;
        while self.exit.is_none() || self.to_show.is_some() {
            self.send_typed().await;
            match self.next(&mut signals).await? {
                Next::Signal(signal) => self.hear_signal(signal, raw.as_ref())?,
                Next::Heard(Some(Ok(frame))) => self.hear(frame, raw.is_some())?,
                Next::Heard(frame) => return Err(self.lost(frame.and_then(Result::err))),
                Next::Typed(bytes) => {
                    if !self.keyboard.typed(bytes) {
                        return Err(ended_by(Signal::INT));
                    }
                }
                Next::Done => {}
            }
        }
        self.finish(signals).await
    }

    async fn next(&mut self, signals: &mut Signals) -> Result<Next, Failure> {
        let (sent, over) = (self.to.write_buffer().is_empty(), self.exit.is_some());
        Ok(tokio::select! {
            biased;
            signal = signals.next() => Next::Signal(signal),
            went = &mut self.shown => return Err(not_shown(went)),
            place = self.show.reserve(), if self.to_show.is_some() => {
                // Without a place there the thread has ended, and is heard above.
                if let (Ok(place), Some(what)) = (place, self.to_show.take()) {
                    place.send(what);
                }
                Next::Done
            }
            frame = self.from.next(), if self.to_show.is_none() && !over => Next::Heard(frame),
            flushed = self.to.flush(), if !sent => {
                // What cannot be sent any more is no news: how the dyno ended may still be to be heard.
                if flushed.is_err() {
                    self.to.write_buffer_mut().clear();
                    self.keyboard.close();
                }
                Next::Done
            }
            bytes = self.keyboard.next(), if !over => Next::Typed(bytes),
        })
    }

    /// Sends what may be sent now.
    async fn send_typed(&mut self) {
        if !self.to.write_buffer().is_empty() {
            return;
        }
        let size = std::mem::take(&mut self.resized).then(window).flatten();
        let frame = size.map(FromOperator::Resize).or_else(|| self.keyboard.frame());
        if let Some(frame) = frame {
            // Into an empty buffer; it is flushed with the rest.
            let _buffered = self.to.feed(frame).await;
        }
    }

    fn hear(&mut self, frame: FromHost, raw: bool) -> Result<(), Failure> {
        match frame {
            FromHost::Stdout(bytes) => self.to_show = Some((To::Stdout, bytes)),
            FromHost::Stderr(bytes) => self.to_show = Some((To::Stderr, bytes)),
            FromHost::Taken(count) => self.keyboard.taken(count),
            FromHost::StdinClosed => self.keyboard.close(),
            FromHost::Note(text) => {
                let end = if raw { "\r\n" } else { "\n" };
                self.to_show = Some((To::Stderr, format!("busbar: {text}{end}").into()));
            }
            FromHost::Exit(exit) => self.exit = Some(exit),
            FromHost::Dyno(_) => return Err(self.lost(None)),
        }
        Ok(())
    }

    fn hear_signal(&mut self, signal: Signal, raw: Option<&Raw<'_>>) -> Result<(), Failure> {
        match (signal, raw) {
            (Signal::WINCH, _) => self.resized = true,
            (Signal::TSTP, Some(raw)) => {
                raw.back();
                let _not_stopped = rustix::process::kill_process(rustix::process::getpid(), Signal::STOP);
            }
            // Whoever stopped us, the shell has made the terminal its own meanwhile.
            (Signal::CONT, Some(raw)) => {
                raw.again();
                self.resized = true;
            }
            (signal, _) => return Err(ended_by(signal)),
        }
        Ok(())
    }

    /// What is to be shown is shown before we end; but a signal ends us all the same.
    async fn finish(self, mut signals: Signals) -> Result<Option<Exit>, Failure> {
        let Self { show, mut shown, exit, .. } = self;
        drop(show);
        loop {
            tokio::select! {
                went = &mut shown => return match went {
                    Ok(Ok(())) => Ok(exit.flatten()),
                    went => Err(not_shown(went)),
                },
                signal = signals.next() => if ![Signal::WINCH, Signal::TSTP, Signal::CONT].contains(&signal) {
                    return Err(ended_by(signal));
                },
            }
        }
    }

    fn lost(&self, error: Option<WireError>) -> Failure {
        let why = error.map_or_else(|| "it was closed".to_owned(), |error| error.to_string());
        (self.lost)(why).into()
    }
}

fn unprepared(source: io::Error) -> Failure {
    Failure::System { deed: "preparing standard input and output", source }
}

/// As a shell says it.
fn ended_by(signal: Signal) -> Failure {
    Failure::Status(u8::try_from(128 + signal.as_raw()).unwrap_or(1))
}

fn not_shown(went: Result<io::Result<()>, oneshot::error::RecvError>) -> Failure {
    match went {
        Ok(Err(source)) if source.kind() != io::ErrorKind::BrokenPipe => {
            Failure::System { deed: "writing what the dyno writes", source }
        }
        _ => Failure::OutputClosed,
    }
}
