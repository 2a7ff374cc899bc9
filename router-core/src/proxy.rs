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
mod head;
mod record;
mod select;
mod tunnel;
mod uplink;

use std::net::IpAddr;

pub(crate) use self::client::Client;
use self::{
    connect::Freshness,
    exchange::{Exchange, Trouble},
    record::Record,
};
use crate::{
    h1::{field::Field, request::RequestHead},
    route::{Fault, Moment, RequestClock, forward::Arrival},
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
    let after = match carry(&mut call, &mut record).await {
        Ok(after) => after,
        Err(fault) => answer::fault(&mut call, &mut record, fault).await,
    };
    record.close(call.worker, &call.request, call.papers.forwarded_for, call.client.bytes_sent());
    after
}

async fn carry<C: Client>(call: &mut Call<'_, C>, record: &mut Record) -> Result<After, Fault> {
    let selected = select::app(call.worker, &call.request)?;
    head::to_dyno(call.worker, &call.request, &selected.routing, &record.request_id, &mut call.papers);
    if call.request.head.expects_continue && selected.routing.answer_continue {
        call.client.answer_continue();
    }
    let mut clock = RequestClock::new(&selected.routing, call.request.received);
    let mut freshness = Freshness::Any;
    loop {
        let line = connect::connect(call, &selected, &mut clock, record, freshness).await?;
        match Exchange::new(call, &mut clock, record, line).run(&selected).await {
            Ok(after) => return Ok(after),
            Err(Trouble::Fault(fault)) => return Err(fault),
            Err(Trouble::Stale) => {
                call.worker.counters.retries.add(1);
                freshness = Freshness::New;
            }
        }
    }
}

/// Answers what could not be read as a request; `first_line` is what it began with.
pub(crate) async fn refuse<C: Client>(
    worker: &Worker,
    timer: &Timer,
    client: &mut C,
    from: IpAddr,
    first_line: &[u8],
    fault: Fault,
) -> After {
    let mut record = Record::unread(worker);
    let after = answer::unread(worker, timer, client, &mut record, fault).await;
    record.close_unread(worker, from, first_line, client.bytes_sent());
    after
}
