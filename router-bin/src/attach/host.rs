//! The side that has the dyno.
//!
//! [`Host::serve`] hands bytes to and fro in one task, and holds one frame each way besides the window of what the dyno
//! has not read. Whoever goes away before the dyno has ended hangs it up.

use std::{future::pending, sync::Arc, time::Duration};

use busbar_registry::DynoName;
use bytes::{Buf as _, Bytes, BytesMut};
use dyno_runtime::{Attach, Exit, Source, Speaker, Streams, Tail, Terminal};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf},
    net::unix::pipe,
    sync::oneshot,
    time::{sleep, timeout},
};
use tokio_util::codec::{FramedRead, FramedWrite};

use super::wire::{Frames, FromHost, FromOperator, LONGEST, WINDOW, WireError};
use crate::dynos::Dynos;

/// How long somebody outside the dyno may still hold its output open once it has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How long the other side may take to close what is over.
const FAREWELL: Duration = Duration::from_secs(1);
/// What is typed to say that nothing more is typed.
const END_OF_FILE: u8 = 4;

/// A dyno that waits for somebody to be attached.
pub(crate) struct Host {
    pub(crate) dynos: Arc<dyn Dynos>,
    pub(crate) dyno: DynoName,
    pub(crate) attach: Attach,
    pub(crate) ended: oneshot::Receiver<Option<Exit>>,
    /// Where the runtime says what happens to it.
    pub(crate) tail: Option<Tail>,
}

impl Host {
    /// Serves whoever is at the other end of this connection until the dyno has ended, or they are gone.
    pub(crate) async fn serve(self, connection: impl AsyncRead + AsyncWrite) {
        let (from, to) = tokio::io::split(connection);
        let from = FramedRead::new(from, Frames::default());
        let mut line = Line { from, to: FramedWrite::new(to, Frames::default()) };
        let Self { dynos, dyno, attach, mut ended, tail } = self;
        let mut held = Held { dynos: Some(dynos), dyno };
        let told = Notes { tail, dyno: held.dyno.clone() };
        match converse(&mut line, attach, &mut ended, told, &held.dyno).await {
            Ok(()) => {
                held.dynos = None;
                line.close().await;
            }
            Err(error) => tracing::debug!(dyno = %held.dyno, %error, "whoever was attached is gone"),
        }
    }
}

/// Dropped before the dyno has ended, it hangs up.
struct Held {
    dynos: Option<Arc<dyn Dynos>>,
    dyno: DynoName,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(dynos) = self.dynos.take() {
            let dyno = self.dyno.clone();
            tokio::spawn(async move { dynos.hang_up(dyno).await });
        }
    }
}

/// The connection.
struct Line<S> {
    from: FramedRead<ReadHalf<S>, Frames<FromOperator>>,
    to: FramedWrite<WriteHalf<S>, Frames<FromHost>>,
}

impl<S: AsyncRead + AsyncWrite> Line<S> {
    async fn heard(&mut self) -> Result<FromOperator, WireError> {
        heard(self.from.next().await)
    }

    /// All that was said is there before the connection ends.
    async fn close(mut self) {
        let closed = async {
            if self.to.close().await.is_ok() {
                while let Some(Ok(_)) = self.from.next().await {}
            }
        };
        let _they_stay = timeout(FAREWELL, closed).await;
    }
}

fn heard(frame: Option<Result<FromOperator, WireError>>) -> Result<FromOperator, WireError> {
    frame.unwrap_or_else(|| Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()))
}

/// What does not belong there.
fn out_of_turn() -> WireError {
    std::io::Error::new(std::io::ErrorKind::InvalidData, "a frame came out of turn").into()
}

/// From the dyno's name to its end.
async fn converse<S: AsyncRead + AsyncWrite>(
    line: &mut Line<S>,
    attach: Attach,
    ended: &mut oneshot::Receiver<Option<Exit>>,
    mut notes: Notes,
    dyno: &DynoName,
) -> Result<(), WireError> {
    line.to.send(FromHost::Dyno(dyno.to_string())).await?;
    let ready = tokio::select! {
        frame = line.heard() => match frame? {
            FromOperator::Attach => true,
            _ => return Err(out_of_turn()),
        },
        _ = &mut *ended => false,
    };
    let streams = if ready { attach.attach().await } else { None };
    let exit = match streams {
        Some(streams) => Pump::new(streams).run(line, ended, &mut notes).await?,
        None => {
            if ready {
                let _already_known = ended.await;
            }
            notes.rest(line).await?;
            None
        }
    };
    line.to.send(FromHost::Exit(exit)).await
}

/// What the runtime says about the dyno that whoever is attached should know.
struct Notes {
    tail: Option<Tail>,
    dyno: DynoName,
}

impl Notes {
    /// The next one. Cancel safe.
    async fn next(&mut self) -> String {
        while let Some(tail) = &mut self.tail {
            match tail.next().await {
                None => self.tail = None,
                Some(line) => {
                    let own = matches!(&line.speaker, Speaker::Dyno(dyno) if *dyno == self.dyno);
                    let text = String::from_utf8_lossy(&line.text);
                    if own && line.source == Source::Heroku && text.starts_with("Error ") {
                        return text.into_owned();
                    }
                }
            }
        }
        pending().await
    }

    /// Those that are there already.
    async fn rest<S: AsyncRead + AsyncWrite>(&mut self, line: &mut Line<S>) -> Result<(), WireError> {
        while let Ok(note) = timeout(Duration::ZERO, self.next()).await {
            line.to.send(FromHost::Note(note)).await?;
        }
        Ok(())
    }
}

enum In {
    Pipe(pipe::Sender),
    Terminal(Arc<Terminal>),
}

impl In {
    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.write(bytes).await,
            Self::Terminal(terminal) => terminal.write(bytes).await,
        }
    }
}

enum Out {
    Pipe(pipe::Receiver),
    Terminal(Arc<Terminal>),
}

/// What comes from the dyno. An error is an end, too. Cancel safe.
async fn read(from: &mut Option<Out>, into: &mut BytesMut) -> usize {
    match from {
        None => pending().await,
        Some(Out::Pipe(pipe)) => pipe.read(into).await.unwrap_or(0),
        Some(Out::Terminal(terminal)) => terminal.read(into).await.unwrap_or(0),
    }
}

/// Hands it what was typed. Cancel safe.
async fn write(to: &mut Option<In>, bytes: &[u8]) -> std::io::Result<usize> {
    match to {
        Some(to) if !bytes.is_empty() => to.write(bytes).await,
        _ => pending().await,
    }
}

/// Between a dyno's streams and the connection.
struct Pump {
    stdin: Option<In>,
    outputs: [Option<Out>; 2],
    buffers: [BytesMut; 2],
    terminal: Option<Arc<Terminal>>,
    /// What the dyno has not taken yet.
    typed: BytesMut,
    /// Nothing more will be typed.
    typed_all: bool,
    /// The last line that was typed has no end.
    in_line: bool,
    /// So much may still be sent to us.
    window: usize,
    /// So much was taken, and that has not been said.
    taken: usize,
    /// It reads no more, and that has not been said.
    closed: bool,
}

/// What happens next.
enum Next {
    Heard(FromOperator),
    Flushed,
    Wrote(usize, usize),
    Took(std::io::Result<usize>),
    Ended(Option<Exit>),
    Note(String),
    /// Nobody of the dyno is left to write anything.
    Silent,
}

impl Pump {
    fn new(streams: Streams) -> Self {
        let (stdin, outputs, terminal) = match streams {
            Streams::Pipes { stdin, stdout, stderr } => {
                (stdin.map(In::Pipe), [Some(Out::Pipe(stdout)), Some(Out::Pipe(stderr))], None)
            }
            Streams::Terminal(terminal) => {
                let terminal = Arc::new(terminal);
                let (stdin, stdout) =
                    (In::Terminal(Arc::clone(&terminal)), Out::Terminal(Arc::clone(&terminal)));
                (Some(stdin), [Some(stdout), None], Some(terminal))
            }
        };
        Self {
            stdin,
            outputs,
            buffers: [BytesMut::new(), BytesMut::new()],
            terminal,
            typed: BytesMut::new(),
            typed_all: false,
            in_line: false,
            window: WINDOW,
            taken: 0,
            closed: false,
        }
    }

    /// Until the dyno has ended and all that it wrote was said.
    async fn run<S: AsyncRead + AsyncWrite>(
        mut self,
        line: &mut Line<S>,
        ended: &mut oneshot::Receiver<Option<Exit>>,
        notes: &mut Notes,
    ) -> Result<Option<Exit>, WireError> {
        let mut exit = None;
        loop {
            if line.to.write_buffer().is_empty() {
                self.account(line).await?;
            }
            let idle = line.to.write_buffer().is_empty();
            if idle && exit.is_some() && self.outputs.iter().all(Option::is_none) {
                notes.rest(line).await?;
                return Ok(exit.flatten());
            }
            match self.next(line, idle, exit.is_some(), ended, notes).await? {
                Next::Heard(frame) => self.hear(frame)?,
                Next::Flushed => {}
                Next::Wrote(which, count) => self.say(line, which, count).await?,
                Next::Took(took) => self.take(took),
                Next::Ended(how) => exit = Some(how),
                Next::Note(note) => line.to.feed(FromHost::Note(note)).await?,
                Next::Silent => self.outputs = [None, None],
            }
        }
    }

    async fn next<S: AsyncRead + AsyncWrite>(
        &mut self,
        line: &mut Line<S>,
        idle: bool,
        over: bool,
        ended: &mut oneshot::Receiver<Option<Exit>>,
        notes: &mut Notes,
    ) -> Result<Next, WireError> {
        let [stdout, stderr] = &mut self.outputs;
        let [first, second] = &mut self.buffers;
        for buffer in [&mut *first, &mut *second] {
            buffer.resize(LONGEST, 0);
        }
        Ok(tokio::select! {
            frame = line.from.next() => Next::Heard(heard(frame)?),
            flushed = line.to.flush(), if !idle => { flushed?; Next::Flushed }
            count = read(stdout, first), if idle => Next::Wrote(0, count),
            count = read(stderr, second), if idle => Next::Wrote(1, count),
            took = write(&mut self.stdin, &self.typed) => Next::Took(took),
            how = ended, if !over => Next::Ended(how.ok().flatten()),
            note = notes.next(), if idle => Next::Note(note),
            () = sleep(LAST_WORDS), if over && idle => Next::Silent,
        })
    }

    /// Says what is due about what the dyno reads.
    async fn account<S: AsyncRead + AsyncWrite>(&mut self, line: &mut Line<S>) -> Result<(), WireError> {
        if self.taken > 0 && (self.typed.is_empty() || self.taken >= WINDOW / 2) {
            let taken = std::mem::take(&mut self.taken);
            self.window += taken;
            line.to.feed(FromHost::Taken(u32::try_from(taken).unwrap_or(u32::MAX))).await?;
        }
        if std::mem::take(&mut self.closed) {
            line.to.feed(FromHost::StdinClosed).await?;
        }
        Ok(())
    }

    fn hear(&mut self, frame: FromOperator) -> Result<(), WireError> {
        match frame {
            FromOperator::Stdin(bytes) if !self.typed_all && bytes.len() <= self.window => {
                self.window -= bytes.len();
                self.in_line = bytes.last() != Some(&b'\n');
                if self.stdin.is_some() {
                    self.typed.extend_from_slice(&bytes);
                }
            }
            FromOperator::StdinEnd if !self.typed_all => {
                self.typed_all = true;
                if self.terminal.is_some() {
                    // In a line it only ends that.
                    let keys = if self.in_line { &[END_OF_FILE; 2][..] } else { &[END_OF_FILE] };
                    self.typed.extend_from_slice(keys);
                } else if self.typed.is_empty() {
                    self.stdin = None;
                }
            }
            FromOperator::Resize(size) => {
                if let Some(terminal) = &self.terminal {
                    let _dyno_is_gone = terminal.resize(size);
                }
            }
            FromOperator::Attach | FromOperator::Stdin(_) | FromOperator::StdinEnd => {
                return Err(out_of_turn());
            }
        }
        Ok(())
    }

    async fn say<S: AsyncRead + AsyncWrite>(
        &mut self,
        line: &mut Line<S>,
        which: usize,
        count: usize,
    ) -> Result<(), WireError> {
        let (Some(output), Some(buffer)) = (self.outputs.get_mut(which), self.buffers.get(which)) else {
            return Ok(());
        };
        if count == 0 {
            *output = None;
            return Ok(());
        }
        let bytes = Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default());
        line.to.feed(if which == 0 { FromHost::Stdout(bytes) } else { FromHost::Stderr(bytes) }).await
    }

    fn take(&mut self, took: std::io::Result<usize>) {
        match took {
            Ok(count) => {
                self.typed.advance(count.min(self.typed.len()));
                self.taken += count;
                if self.typed.is_empty() && self.typed_all && self.terminal.is_none() {
                    self.stdin = None;
                }
            }
            Err(_closed) => {
                self.stdin = None;
                self.typed.clear();
                self.closed = true;
            }
        }
    }
}
