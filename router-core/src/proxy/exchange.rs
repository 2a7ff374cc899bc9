//! The request out and the response in, both at once: a dyno may answer while the request still comes in.
//!
//! - [`Exchange`]: one request at one dyno.
//! - [`Trouble`]: how it can end otherwise than with a response.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use busbar_registry::Balance;

use super::{
    After, Call, Client,
    connect::Line,
    downlink::{Downlink, HeadOrEnd, WaitsFor},
    head::{self, Response},
    record::Record,
    select::Selected,
    tunnel,
    uplink::{Replay, Uplink},
};
use crate::{
    h1::{
        chunked::KeepFraming,
        framing::Framing,
        request::{Persistence, Version},
        response::ResponseHead,
    },
    route::{Fault, RequestClock, deadline::Party, eject},
};

/// How an exchange can end otherwise than with a response.
pub(super) enum Trouble {
    Fault(Fault),
    /// The kept connection turned out to be closed; nothing happened yet that could not be repeated, with this.
    Stale(Replay),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// One request at one dyno.
pub(super) struct Exchange<'c, 'a, C> {
    pub(super) call: &'c mut Call<'a, C>,
    pub(super) clock: &'c mut RequestClock,
    record: &'c mut Record,
    /// `None` once the dyno is done with the request.
    pub(super) line: Option<Line>,
    pub(super) up: Uplink,
    pub(super) down: Downlink,
    /// Whose turn it was last, each way, and how many bytes had moved then.
    up_seen: Option<(Party, u64)>,
    down_seen: Option<(Party, u64)>,
    continued: bool,
    /// How many 1xx responses came.
    interims: u16,
}

/// More 1xx responses than this are no way to answer a request.
const MOST_INTERIMS: u16 = 100;

impl<'c, 'a, C: Client> Exchange<'c, 'a, C> {
    pub(super) fn new(
        call: &'c mut Call<'a, C>,
        clock: &'c mut RequestClock,
        record: &'c mut Record,
        line: Line,
        replay: Replay,
    ) -> Self {
        clock.connected(call.worker.now());
        // A dyno may turn a stream away whatever is asked of it, and say that it did nothing.
        let keeps = (line.reused && call.request.head.is_idempotent) || line.stream.is_stream();
        let (up, down) = (Uplink::new(replay, keeps), Downlink::new());
        Self {
            call,
            clock,
            record,
            line: Some(line),
            up,
            down,
            up_seen: None,
            down_seen: None,
            continued: false,
            interims: 0,
        }
    }

    /// Carries the request out and the response in.
    pub(super) async fn run(&mut self, selected: &Selected) -> Result<After, Trouble> {
        let outcome = self.relay(selected).await;
        self.judge(selected, outcome.as_ref().err());
        outcome
    }

    /// What the exchange has shown about its dyno; `trouble` is what it ended with. A kept connection that was closed says
    /// nothing, and neither does what happened after a response had begun.
    fn judge(&self, selected: &Selected, trouble: Option<&Trouble>) {
        let Some(line) = self.line.as_ref().filter(|_| selected.routing.eject_after.is_some()) else {
            return;
        };
        let dyno = line.slot.dyno();
        let no_response = matches!(
            trouble,
            Some(Trouble::Fault(
                Fault::RequestTimeout | Fault::ClosedWithoutResponse | Fault::ServerRequestInterrupted
            ))
        );
        if self.record.status.is_some() {
            dyno.load.answered_well();
        } else if no_response {
            eject::failed(&selected.app.set(), dyno, self.call.worker.now());
        }
    }

    async fn relay(&mut self, selected: &Selected) -> Result<After, Trouble> {
        let head = loop {
            let head = poll_fn(|cx| self.poll_head(cx)).await?;
            match head.status {
                101 => return self.switch(&head).await,
                100..200 => self.interim(&head, selected)?,
                _ => break head,
            }
        };
        let framing = head.body(self.call.request.head.is_head);
        if selected.routing.balance == Balance::PeakEwma {
            self.measure();
        }
        let persistence = self.begin(&head, framing, selected.routing.hsts_seconds);
        let wanted = selected.routing.response_buffer_bytes as usize;
        let wanted = match framing {
            Framing::Length(length) => wanted.min(usize::try_from(length).unwrap_or(usize::MAX)),
            _ => wanted,
        };
        self.down.held.limit = self.call.client.may_hold(wanted);
        poll_fn(|cx| self.poll_relay(cx)).await?;
        self.part_with_dyno(&head, framing, selected);
        poll_fn(|cx| self.poll_relay(cx)).await?;
        Ok(After::from(persistence))
    }

    /// Tells the dyno's load how long it took to answer.
    fn measure(&self) {
        let now = self.call.worker.now();
        let began = self.record.connected.unwrap_or(now);
        if let Some(line) = &self.line {
            line.slot.dyno().load.answered(now.since(began), now);
        }
    }

    /// The next response head, the request being sent meanwhile.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Trouble>> {
        // A 1xx that still waits to be sent holds back what comes behind it, so that few of them are ever kept.
        let sent = self.call.client.poll_send(cx, &[]);
        if matches!(sent, Poll::Ready(Err(_))) {
            return Poll::Ready(Err(Fault::ClientInterrupted.into()));
        }
        self.poll_up(cx)?;
        let Self { call: Call { worker, papers, .. }, line: Some(line), down, .. } = self else {
            return Poll::Ready(Err(self.ended_early()));
        };
        let limits = &worker.options.response_limits;
        let head = match sent {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => down.poll_head(cx, worker, limits, papers.response_fields, &mut line.stream)?,
        };
        match head {
            Poll::Ready(HeadOrEnd::Head(head)) => return Poll::Ready(Ok(head)),
            Poll::Ready(HeadOrEnd::End) => return Poll::Ready(Err(self.ended_early())),
            Poll::Pending => {}
        }
        if self.up.is_over() && self.call.client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Fault::ClientInterrupted.into()));
        }
        self.poll_expired(cx).map(Err)
    }

    /// Sends on, and keeps the clock informed of whose turn it is.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Self { call: Call { client, papers, .. }, line: Some(line), up, .. } = self else {
            return Ok(());
        };
        if up.is_over() {
            return Ok(());
        }
        let head = papers.to_dyno.as_slice();
        match up.poll(cx, head, *client, &mut line.stream)? {
            Poll::Ready(()) => self.clock.request_sent(self.call.worker.now()),
            Poll::Pending => {
                let turn = if self.up.waits_for_client(head) { Party::Client } else { Party::Dyno };
                let seen = Some((turn, self.up.sent));
                if self.up_seen != seen {
                    self.up_seen = seen;
                    self.clock.upload_waits_for(turn, self.up.sent, self.call.worker.now());
                }
            }
        }
        Ok(())
    }

    /// The dyno closed its connection before its response began.
    fn ended_early(&mut self) -> Trouble {
        let harmless = self.call.request.head.is_idempotent || self.up.sent == 0;
        let repeatable = |line: &Line| line.stream.was_turned_away() || (line.reused && harmless);
        if self.line.as_ref().is_some_and(repeatable)
            && self.down.received == 0
            && let Some(replay) = self.up.replay()
        {
            Trouble::Stale(replay)
        } else if self.down.is_malformed() {
            Fault::PoorlyFormattedResponse.into()
        } else if self.down.received == 0 {
            Fault::ClosedWithoutResponse.into()
        } else {
            Fault::ServerRequestInterrupted.into()
        }
    }

    /// When the wait took too long, or the server is at its end: the fault.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Trouble> {
        if self.call.worker.is_cut() {
            return Poll::Ready(Fault::ForcedClose.into());
        }
        if let Some(fault) = self.clock.expired(self.call.worker.now()) {
            return Poll::Ready(fault.into());
        }
        self.call.timer.set(cx, self.clock.deadline().min(self.down.held.look_again()));
        Poll::Pending
    }

    /// A 1xx: passed on to whom it concerns.
    fn interim(&mut self, head: &ResponseHead, selected: &Selected) -> Result<(), Fault> {
        let is_continue = head.status == 100;
        self.interims += 1;
        if (is_continue && self.continued) || self.interims > MOST_INTERIMS {
            return Err(Fault::PoorlyFormattedResponse);
        }
        self.continued |= is_continue;
        let answered =
            is_continue && self.call.request.head.expects_continue && selected.routing.answer_continue;
        if self.call.client.takes_interim_responses() && !answered {
            if is_continue {
                self.call.client.begin_head(100, b"Continue");
                self.call.client.end_head(None);
            } else {
                let response = Response {
                    head,
                    fields: self.call.papers.response_fields,
                    bytes: self.down.bytes(),
                    cookie: None,
                    hsts: None,
                    alternative: None,
                };
                head::to_client(self.call.client, &response, None, self.call.papers.via);
            }
        }
        self.down.head_is_read(head.length);
        Ok(())
    }

    /// Hands the head to the client; says what becomes of its connection.
    fn begin(&mut self, head: &ResponseHead, framing: Framing, hsts: Option<u32>) -> Persistence {
        let keep = if self.call.client.keeps_chunks() { KeepFraming::Yes } else { KeepFraming::No };
        let ends_by_close =
            framing == Framing::UntilClose || (framing == Framing::Chunked && keep == KeepFraming::No);
        let persistence = if ends_by_close || !self.up.is_whole() || self.call.worker.is_draining() {
            Persistence::Close
        } else {
            self.call.request.head.persistence
        };
        self.hand_over(head, Some(persistence), hsts);
        self.down.begin_body(framing, keep, &self.call.worker.options.response_limits);
        self.up.keep_nothing();
        self.clock.first_byte(self.call.worker.now());
        persistence
    }

    fn hand_over(&mut self, head: &ResponseHead, persistence: Option<Persistence>, hsts: Option<u32>) {
        let secure = self.call.request.arrival.tls.is_on();
        let cookie = self.line.as_ref().and_then(|line| line.cookie(secure));
        let (fields, bytes) = (&*self.call.papers.response_fields, self.down.bytes());
        // Who came over QUIC is there already.
        let elsewhere = secure && self.call.request.head.version != Version::Http3;
        let alternative = self.call.worker.alternative.as_deref().filter(|_| elsewhere);
        let hsts = hsts.filter(|_| secure);
        let response = Response { head, fields, bytes, cookie, hsts, alternative };
        head::to_client(self.call.client, &response, persistence, self.call.papers.via);
        self.record.status = Some(head.status);
        self.down.head_is_read(head.length);
    }

    /// The body, until the dyno is done with it; after that, until the client has all of it.
    fn poll_relay(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Trouble>> {
        self.poll_up(cx)?;
        let mut waits_for = WaitsFor::Client;
        let Self { call, line, down, .. } = self;
        let relayed = match line {
            Some(line) => down.poll_relay(cx, call.worker, call.client, &mut line.stream, &mut waits_for)?,
            None => down.poll_flush(cx, call.client)?,
        };
        if relayed.is_ready() {
            return Poll::Ready(Ok(()));
        }
        let taken = self.call.client.bytes_sent();
        // What is taken ahead of a client is not the client's doing.
        let (turn, moved) = match waits_for {
            WaitsFor::Client => (Party::Client, taken),
            WaitsFor::Dyno => (Party::Dyno, self.down.received),
        };
        let seen = Some((turn, moved));
        if self.down_seen != seen {
            self.down_seen = seen;
            self.clock.download_waits_for(turn, taken, self.call.worker.now());
        }
        if turn == Party::Dyno && self.up.is_over() && self.call.client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Fault::ClientInterrupted.into()));
        }
        self.poll_expired(cx).map(Err)
    }

    /// The dyno is done: its place is free, and its connection is kept for the next request if there is nothing
    /// doubtful about it.
    fn part_with_dyno(&mut self, head: &ResponseHead, framing: Framing, selected: &Selected) {
        self.judge(selected, None);
        let Some(line) = self.line.take() else { return };
        let clean = self.up.is_whole() && !self.down.has_leftovers();
        let keepalive = selected.routing.dyno_keepalive_ms;
        if line.stream.is_reusable()
            && head.reusable
            && framing != Framing::UntilClose
            && clean
            && keepalive.0 > 0
        {
            let until = self.call.worker.now() + keepalive.duration();
            self.call.worker.pool.put(line.slot.dyno().key, line.stream, until);
        }
    }

    /// 101: plain bytes from now on, both ways, if the client asked for that.
    async fn switch(&mut self, head: &ResponseHead) -> Result<After, Trouble> {
        if !self.call.request.head.upgrade || !self.up.is_whole() {
            return Err(Fault::PoorlyFormattedResponse.into());
        }
        self.hand_over(head, None, None);
        if let Err(fault) = self.call.client.upgrade() {
            self.call.client.forget_head();
            self.record.status = None;
            return Err(fault.into());
        }
        self.up = Uplink::default();
        let limits = &self.call.worker.options.response_limits;
        self.down.begin_body(Framing::UntilClose, KeepFraming::Yes, limits);
        self.clock.tunnel_moved(self.call.worker.now());
        let mut tunnel = tunnel::Tunnel::default();
        poll_fn(|cx| match tunnel.poll(cx, self) {
            Poll::Ready(()) => Poll::Ready(Ok(After::Close)),
            Poll::Pending => self.poll_expired(cx).map(Err),
        })
        .await
    }
}
