//! The HTTP/1.1 client: the request is ready to be sent, and of the answer only its end is looked for.

use std::{io, time::Duration};

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;

use super::{
    Plan,
    client::Client,
    line::{Dialer, Line},
    plan::{Protocol, Request, Slow},
    tally::{Answered, Mishap},
};
use crate::{
    alarm::Alarm,
    wire::{NotHttp, Reader, Scratch, head::Answer, read_with},
};

/// A slow client moves its bytes this often.
const STEP: Duration = Duration::from_millis(50);

pub(super) struct Http1 {
    dialer: Dialer,
    scratch: Scratch,
    alarm: Alarm,
    request: Bytes,
    slow: Slow,
    one_each: bool,
    line: Option<Line>,
}

impl Http1 {
    pub(super) fn new(plan: &Plan, dialer: Dialer, scratch: Scratch, alarm: Alarm) -> Self {
        let one_each = plan.protocol == Protocol::Http1PerConnection;
        let request = text(&plan.request, one_each);
        Self { dialer, scratch, alarm, request, slow: plan.slow, one_each, line: None }
    }

    /// Sends and reads over a connection; whether the connection was left usable is told by `line`.
    async fn carry(&mut self, mut line: Line) -> Result<Answered, Mishap> {
        self.send(&mut line).await.map_err(|_| Mishap::Broken)?;
        let (answer, bytes_in) = self.receive(&mut line).await?;
        if self.one_each {
            line.abort();
        } else if answer.keep_alive {
            self.line = Some(line);
        }
        Ok(Answered { status: answer.status, bytes_in, bytes_out: self.request.len() as u64 })
    }

    async fn send(&self, line: &mut Line) -> io::Result<()> {
        let Some(rate) = self.slow.send else {
            line.write_all(&self.request).await?;
            return line.flush().await;
        };
        for piece in self.request.chunks(per_step(rate)) {
            line.write_all(piece).await?;
            line.flush().await?;
            self.alarm.after(STEP).await;
        }
        Ok(())
    }

    async fn receive(&self, line: &mut Line) -> Result<(Answer, u64), Mishap> {
        let limit = self.slow.read.map_or(usize::MAX, per_step);
        let mut reader = Reader::new();
        let mut bytes_in = 0;
        loop {
            let read = read_with(line, &self.scratch, limit, |bytes| step(&mut reader, bytes)).await;
            match read {
                Ok(Ok(Read::Done(answer, bytes))) => return Ok((answer, bytes_in + bytes as u64)),
                Ok(Ok(Read::More(bytes))) => bytes_in += bytes as u64,
                Ok(Err(NotHttp(_))) => return Err(Mishap::Garbled),
                Ok(Ok(Read::Closed)) | Err(_) if bytes_in == 0 => return Err(Mishap::Broken),
                Ok(Ok(Read::Closed)) | Err(_) => return Err(Mishap::CutShort),
            }
            if self.slow.read.is_some() {
                self.alarm.after(STEP).await;
            }
        }
    }
}

impl Client for Http1 {
    async fn prepare(&mut self) -> Result<(), Mishap> {
        if !self.one_each {
            self.line = Some(self.dialer.dial().await?);
        }
        Ok(())
    }

    async fn exchange(&mut self) -> Result<Answered, Mishap> {
        if let Some(line) = self.line.take() {
            match self.carry(line).await {
                Err(Mishap::Broken) => {} // it was closed while idle, as servers may: once more, with a new one
                done => return done,
            }
        }
        let line = self.dialer.dial().await?;
        self.carry(line).await
    }

    fn hang_up(&mut self) {
        self.line = None;
    }
}

/// What reading once came to.
enum Read {
    More(usize),
    Done(Answer, usize),
    Closed,
}

fn step(reader: &mut Reader<Answer>, bytes: &[u8]) -> Result<Read, NotHttp> {
    if bytes.is_empty() {
        return Ok(reader.close().map_or(Read::Closed, |answer| Read::Done(answer, 0)));
    }
    let eaten = reader.eat(bytes)?;
    match eaten.complete {
        None => Ok(Read::More(eaten.used)),
        Some(answer) if eaten.used == bytes.len() => Ok(Read::Done(answer, eaten.used)),
        Some(_) => Err(NotHttp("there is more than was asked for")),
    }
}

fn per_step(bytes_per_second: u64) -> usize {
    let steps = u128::from(bytes_per_second) * STEP.as_millis() / 1000;
    usize::try_from(steps).unwrap_or(usize::MAX).max(1)
}

/// The request as it is sent.
fn text(request: &Request, one_each: bool) -> Bytes {
    let mut text = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.path, request.host);
    let mut field = |name: &str, value: &str| text.extend([name, ": ", value, "\r\n"]);
    for (name, value) in &request.fields {
        field(name, value);
    }
    if request.body > 0 || request.method == http::Method::POST || request.method == http::Method::PUT {
        field("Content-Length", &request.body.to_string());
    }
    if one_each {
        field("Connection", "close");
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len() + request.body, b'u');
    bytes.into()
}
