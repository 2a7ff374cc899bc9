//! One request from head to last byte, written once for all edges.
//!
//! In the order of a request's life:
//! - [`select`]: host → app → may it come in?
//! - [`connect`]: a dyno, chosen, and a connection to it, kept or new.
//! - [`head`]: the head the dyno gets, and the head the client gets.
//! - [`exchange`]: the request out, the response in, both at once: [`uplink`], [`downlink`].
//! - [`tunnel`]: what becomes of an upgraded connection.
//! - [`answer`]: what the client gets when there is no response: a page for the [`Fault`].
//! - [`record`]: what is remembered of it: one log line, some counters.
//!
//! [`Client`] is what an edge must be able to do.

mod answer;
mod client;
mod connect;
mod downlink;
mod exchange;
pub(crate) mod head;
mod held;
mod record;
mod select;
mod tunnel;
mod uplink;

use std::{
    future::poll_fn,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::Poll,
};

pub(crate) use self::client::Client;
use self::{
    connect::Freshness,
    exchange::{Exchange, Trouble},
    record::Record,
    uplink::Replay,
};
use crate::{
    h1::{field::Field, request::RequestHead},
    route::{
        Fault, Moment, RequestClock,
        forward::Arrival,
        logline::{Protocol, Tls},
    },
    worker::{Worker, sweep::Timer},
};

/// A request as an edge has read it: text and the places in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) fields: &'a [Field],
    pub(crate) head: &'a RequestHead,
    pub(crate) arrival: Arrival,
    /// When its head had been read.
    pub(crate) received: Moment,
    /// Its host is not served over its connection (H31).
    pub(crate) misdirected: bool,
    /// Header lines about its client, if that was asked for a certificate.
    pub(crate) identity: Option<&'a [u8]>,
}

/// What one request writes on.
pub(crate) struct Papers<'a> {
    pub(crate) to_dyno: &'a mut Vec<u8>,
    pub(crate) forwarded_for: &'a mut Vec<u8>,
    pub(crate) via: &'a mut Vec<u8>,
    pub(crate) response_fields: &'a mut Vec<Field>,
}

/// One request, and all that serving it needs.
pub(crate) struct Call<'a, C> {
    pub(crate) worker: &'a Worker,
    pub(crate) timer: &'a Timer,
    pub(crate) request: Request<'a>,
    pub(crate) client: &'a mut C,
    pub(crate) papers: Papers<'a>,
}

/// What becomes of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request may come.
    KeepAlive,
    /// It is closed, in order.
    Close,
    /// It is cut: the client must not take what it has for a whole response.
    Cut,
}

/// Serves one request.
///
/// # Cancel safety
/// Dropped, both connections are cut; the places at the app and at the dyno are given back.
pub(crate) async fn serve<C: Client>(mut call: Call<'_, C>) -> After {
    let mut record = Record::open(call.worker, &call.request, call.papers.forwarded_for);
    let carried = {
        let deed = pin!(carry(&mut call, &mut record));
        unless_it_panics(deed).await
    };
    let after = match carried {
        Ok(Ok(after)) => after,
        Ok(Err(Unserved::Fault(fault))) => answer::fault(&mut call, &mut record, fault).await,
        Ok(Err(Unserved::Challenge)) => {
            // Rare, so it takes no room in other requests.
            Box::pin(answer::challenge(&mut call, &mut record)).await
        }
        Ok(Err(Unserved::Redirect)) => answer::to_https(&mut call, &mut record).await,
        Err(Panicked) => {
            call.worker.counters.panics.add(1);
            tracing::error!(
                request_id = record.request_id.as_str(),
                "a bug: serving a request panicked (H99)"
            );
            record.status = record.status.filter(|_| !call.client.forget_head());
            answer::fault(&mut call, &mut record, Fault::PlatformError).await
        }
    };
    record.close(call.worker, &call.request, call.papers.forwarded_for, call.client.bytes_sent());
    after
}

/// Why a request gets no response of a dyno.
enum Unserved {
    Fault(Fault),
    /// It came over plain HTTP, and its app wants TLS.
    Redirect,
    /// An ACME server asks for something that it gets.
    Challenge,
}

impl From<Fault> for Unserved {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

struct Panicked;

/// A panic ends one request, not its worker.
async fn unless_it_panics<T>(mut deed: Pin<&mut impl Future<Output = T>>) -> Result<T, Panicked> {
    // What the deed held is dropped unfinished and not looked at again, but for the client's connection.
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| deed.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}

/// So often a request is sent again that a dyno did nothing about.
const MOST_REPEATS: u32 = 3;

async fn carry<C: Client>(call: &mut Call<'_, C>, record: &mut Record) -> Result<After, Unserved> {
    let selected = select::app(call.worker, &call.request)?;
    head::to_dyno(call.worker, &call.request, &selected.routing, &record.request_id, &mut call.papers);
    if call.request.head.expects_continue && selected.routing.answer_continue {
        call.client.answer_continue();
    }
    let mut clock = RequestClock::new(&selected.routing, call.request.received);
    let (mut freshness, mut replay, mut again) = (Freshness::Any, Replay::default(), 0);
    let head = call.papers.to_dyno.len();
    loop {
        let line = connect::connect(call, &selected, &mut clock, record, freshness).await?;
        record.tell_queue_time(call.papers.to_dyno, head);
        match Exchange::new(call, &mut clock, record, line, replay).run(&selected).await {
            Ok(after) => return Ok(after),
            Err(Trouble::Fault(fault)) => return Err(fault.into()),
            Err(Trouble::Stale(_))
                if again == MOST_REPEATS
                    || !selected.app.load.may_retry(&selected.routing, call.worker.now()) =>
            {
                return Err(Fault::ClosedWithoutResponse.into());
            }
            Err(Trouble::Stale(taken)) => {
                call.worker.counters.retries.add(1);
                again += 1;
                replay = taken;
                freshness = Freshness::New;
            }
        }
    }
}

/// Who sent what could not be read as a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    pub(crate) client: Option<IpAddr>,
    pub(crate) tls: Tls,
    pub(crate) protocol: Protocol,
}

/// Answers what could not be read as a request; `first_line` is what it began with.
pub(crate) async fn refuse<C: Client>(
    worker: &Worker,
    timer: &Timer,
    client: &mut C,
    from: Sender,
    first_line: &[u8],
    fault: Fault,
) -> After {
    let mut record = Record::unread(worker);
    let after = answer::unread(worker, timer, client, &mut record, fault).await;
    record.close_unread(worker, from, first_line, client.bytes_sent());
    after
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
        task::Context,
    };

    use super::*;
    use crate::{
        h1::{
            limits::RequestLimits,
            policy::RequestPolicy,
            request::{self, Persistence},
        },
        observe::AccessLog,
        route::fixture,
        server::ServerOptions,
        worker::{buffers::Buffer, sweep::Timer},
    };

    #[derive(Default)]
    struct Lines(Mutex<Vec<u8>>);
    impl AccessLog for Lines {
        fn write(&self, lines: Vec<u8>) -> u64 {
            self.0.lock().unwrap().extend(lines);
            0
        }
    }

    /// A client that panics as soon as it is told to answer `Expect`, and notes what it is sent.
    #[derive(Default)]
    struct Panicking {
        status: Option<u16>,
        sent: Vec<u8>,
    }

    impl Client for Panicking {
        fn poll_body(&mut self, _: &mut Context<'_>) -> Poll<Result<Buffer, Fault>> {
            Poll::Pending
        }
        fn is_body_done(&self) -> bool {
            false
        }
        fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
        fn answer_continue(&mut self) {
            panic!("on purpose");
        }
        fn keeps_chunks(&self) -> bool {
            true
        }
        fn takes_interim_responses(&self) -> bool {
            true
        }
        fn begin_head(&mut self, status: u16, _: &[u8]) {
            self.status = Some(status);
        }
        fn field(&mut self, _: &[u8], _: &[u8]) {}
        fn end_head(&mut self, _: Option<Persistence>) {}
        fn poll_send(&mut self, _: &mut Context<'_>, body: &[u8]) -> Poll<io::Result<usize>> {
            self.sent.extend_from_slice(body);
            Poll::Ready(Ok(body.len()))
        }
        fn forget_head(&mut self) -> bool {
            true
        }
        fn upgrade(&mut self) -> Result<(), Fault> {
            Ok(())
        }
        fn poll_close_send(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn bytes_sent(&self) -> u64 {
            self.sent.len() as u64
        }
    }

    #[tokio::test]
    async fn a_panic_is_h99_and_ends_its_request_only() {
        let (table, _publisher) = fixture::published(1, |_| {});
        let lines = Arc::new(Lines::default());
        let log: Arc<dyn AccessLog> = Arc::<Lines>::clone(&lines);
        let options = ServerOptions { access_log: Some(log), ..ServerOptions::default() };
        let worker = Worker::alone(options, table.reader());
        let bytes: &[u8] =
            b"POST / HTTP/1.1\r\nHost: shop.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
        let mut fields = Vec::new();
        let limits = RequestLimits::default();
        let head = request::parse(bytes, &limits, RequestPolicy::default(), &mut fields).unwrap().unwrap();
        let mut desk = worker.buffers.desk();
        let desk = desk.get();
        let (client, timer) = (&mut Panicking::default(), &Timer::new(&worker.sweep));
        let arrival = Arrival::direct(IpAddr::from([127, 0, 0, 1]), false, None);
        let request = Request {
            bytes,
            fields: &fields,
            head: &head,
            arrival,
            received: worker.now(),
            misdirected: false,
            identity: None,
        };
        let papers = Papers {
            to_dyno: &mut desk.to_dyno,
            forwarded_for: &mut desk.forwarded_for,
            via: &mut desk.via,
            response_fields: &mut desk.response_fields,
        };
        let after = serve(Call { worker: &worker, timer, request, client, papers }).await;
        worker.log.hand_over();

        assert_eq!((after, client.status), (After::Close, Some(503)));
        assert_eq!(worker.counters.panics.get(), 1);
        let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(lines.starts_with("at=error code=H99 "), "{lines}");
    }
}
