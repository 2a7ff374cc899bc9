//! One thread of the generator: its connections, from the first handshake to the last answer.

use std::{
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::AtomicU64,
        mpsc::{SyncSender, TrySendError},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{sync::oneshot, task::LocalSet};

use super::{
    Plan, Stop,
    client::Client,
    desk::Desk,
    http1::Http1,
    http2::{self, Http2},
    line::Dialer,
    plan::Protocol,
    tally::{Mishap, Tally},
    turns::Turns,
    websocket::WebSocket,
};
use crate::{alarm::Alarm, wire::Scratch};

/// After being interrupted, what is under way has so long to be answered.
const LAST_CALL: Duration = Duration::from_secs(1);
/// Connections that are being made at once while preparing.
const DIALING: usize = 128;

/// What a thread reports.
pub(super) enum Report {
    /// Its connections are made, or what became of one that was not; how many are.
    Ready { connected: usize, failed: Option<Mishap> },
    /// What it counted since the last time.
    Tally(Box<Tally>),
    /// The same, for the last time.
    Done(Box<Tally>),
}

/// What a thread is given.
pub(super) struct Orders {
    pub(super) plan: Arc<Plan>,
    pub(super) index: usize,
    pub(super) left: Option<Arc<AtomicU64>>,
    pub(super) interval: Duration,
    pub(super) start: oneshot::Receiver<Instant>,
    pub(super) stop: Stop,
    pub(super) reports: SyncSender<Report>,
}

/// Runs in a thread of its own.
pub(super) fn run(orders: Orders) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let plan = Arc::clone(&orders.plan);
        let dialer = Dialer::new(&plan)?;
        let (scratch, alarm) = (Scratch::new(), Alarm::start()?);
        let mine = (orders.index..plan.connections).step_by(plan.threads).len();
        match plan.protocol {
            Protocol::Http1 | Protocol::Http1PerConnection => {
                let client = || Http1::new(&plan, dialer.clone(), scratch.clone(), alarm.clone());
                drive(orders, (0..mine).map(|_| client()).collect(), alarm, dialer.clone()).await;
            }
            Protocol::Http2 { streams } => {
                let connections = (0..mine).map(|_| http2::Shared::new(dialer.clone()));
                let clients = connections
                    .flat_map(|shared| std::iter::repeat_n(shared, streams))
                    .map(|shared| Http2::new(&plan, shared))
                    .collect::<Result<_, _>>()
                    .map_err(io::Error::other)?;
                drive(orders, clients, alarm, dialer).await;
            }
            Protocol::WebSocket => {
                let client = || WebSocket::new(&plan, dialer.clone());
                drive(orders, (0..mine).map(|_| client()).collect(), alarm, dialer.clone()).await;
            }
        }
        Ok(())
    })
}

async fn drive<C: Client>(orders: Orders, mut clients: Vec<C>, alarm: Alarm, dialer: Dialer) {
    let Orders { plan, index, left, interval, start, stop, reports } = orders;
    let (connected, failed) = prepare(&mut clients, plan.timeout).await;
    let _gone = reports.send(Report::Ready { connected, failed });
    let Ok(start) = start.await else { return };

    let turns = Turns::new(&plan, index, left);
    let desk = Rc::new(Desk::new(&plan, clients.len(), turns, start, alarm.clone(), dialer));
    let slots = clients.into_iter().enumerate().map(|(slot, client)| {
        let desk = Rc::clone(&desk);
        tokio::task::spawn_local(async move { desk.work(slot, client).await })
    });
    let slots: Vec<_> = slots.collect();
    let reporting = report(&desk, &alarm, start + plan.warmup, interval, &reports);
    let end = start + plan.warmup + plan.bound.time + plan.grace;
    tokio::select! {
        _ = join_all(slots) => {}
        () = stop.pulled() => desk.close(LAST_CALL).await,
        () = alarm.until(end) => {}
        () = reporting => {}
    }
    desk.abandon();
    let _gone = reports.send(Report::Done(Box::new(desk.take())));
}

/// Connects everybody; says how many succeeded, and what became of one that did not.
async fn prepare<C: Client>(clients: &mut [C], timeout: Duration) -> (usize, Option<Mishap>) {
    let (mut connected, mut failed) = (0, None);
    for batch in clients.chunks_mut(DIALING) {
        let dialing = batch.iter_mut().map(|client| tokio::time::timeout(timeout, client.prepare()));
        for done in join_all(dialing).await {
            match done.unwrap_or(Err(Mishap::TimedOut)) {
                Ok(()) => connected += 1,
                Err(mishap) => failed = Some(mishap),
            }
        }
    }
    (connected, failed)
}

/// Reports every `interval`; a report that finds no room is part of the next one.
async fn report(
    desk: &Desk,
    alarm: &Alarm,
    mut at: Instant,
    interval: Duration,
    reports: &SyncSender<Report>,
) {
    let mut kept: Option<Box<Tally>> = None;
    loop {
        at += interval;
        alarm.until(at).await;
        let mut tally = Box::new(desk.take());
        if let Some(kept) = kept.take() {
            tally.add(&kept);
        }
        match reports.try_send(Report::Tally(tally)) {
            Ok(()) => {}
            Err(TrySendError::Full(Report::Tally(tally))) => kept = Some(tally),
            Err(_) => return, // nobody is interested any more
        }
    }
}
