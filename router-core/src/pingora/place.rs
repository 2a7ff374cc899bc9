//! A dyno for a request: chosen, or waited for.

use std::{future::poll_fn, sync::Arc};

use ::pingora::{prelude::HttpPeer, protocols::ALPN, upstreams::peer::PeerOptions};
use busbar_registry::{Address, DynoProtocol, Routing};

use super::{Context, PingoraRouter, longer};
use crate::route::{
    Fault, Moment,
    admit::Waiting,
    dyno::Dyno,
    fault::Mismatch,
    retry::ConnectFailure,
    seek::{self, Found, Seek, Wait},
};

/// Requests that share a connection to a dyno that speaks HTTP/2.
const STREAMS: usize = 100;

/// Takes a place at a dyno; it is given back when the request is over, or goes elsewhere.
///
/// # Cancel safety
/// Dropped, the request leaves the queue.
pub(super) async fn take(router: &PingoraRouter, request: &mut Context) -> Result<HttpPeer, Fault> {
    request.slot = None;
    let entered = request.entered.as_ref().ok_or(Fault::PlatformError)?;
    let mut waiting = None;
    let slot = loop {
        let (set, now) = (entered.app.set(), router.now());
        let seek = Seek {
            app: &entered.app,
            ticket: entered.ticket,
            client: request.arrival.client,
            attempts: &request.attempts,
            waits: waiting.is_some(),
        };
        match seek.look(&set, now, &mut fastrand::Rng::new())? {
            Found::Place(slot) => {
                if let Some(place) = waiting {
                    Waiting::served(place, slot.dyno().key, &set, now);
                }
                break slot;
            }
            Found::Wait(wait) => {
                let place = wait.join(&seek, &set, waiting.take(), now)?;
                drop(set);
                request.clock.held(wait.hold);
                let waited = wait_on(router, request.clock.deadline(), &wait, place).await;
                *request.queued.get_or_insert_default() += router.now().since(now);
                match request.clock.expired(router.now()) {
                    Some(fault) => return Err(fault),
                    None => waiting = Some(waited),
                }
            }
        }
    };
    let peer = peer(slot.dyno(), &entered.routing)?;
    request.dyno = Some(Arc::clone(slot.dyno()));
    request.picked = router.now();
    request.slot = Some(slot);
    Ok(peer)
}

/// Waits for a call, for the deadline, or until looking is worthwhile anyway.
async fn wait_on(router: &PingoraRouter, deadline: Moment, wait: &Wait, mut place: Waiting) -> Waiting {
    let until = deadline.min(wait.look_again(&place));
    let turn = poll_fn(|cx| place.poll_turn(cx));
    // Called or not: the caller looks again.
    drop(tokio::time::timeout(until.since(router.now()), turn).await);
    place
}

/// Kept connections are kept for this dyno alone: whoever has its port later is another one.
fn peer(dyno: &Dyno, routing: &Routing) -> Result<HttpPeer, Fault> {
    let mut peer = match &dyno.address {
        Address::Tcp(address) => HttpPeer::new(address, false, String::new()),
        Address::Unix(path) => {
            let path = path.to_str().ok_or(Fault::ConnectRefused)?;
            HttpPeer::new_uds(path, false, String::new()).map_err(|_| Fault::ConnectRefused)?
        }
    };
    peer.group_key = dyno.key.0;
    let mut options = PeerOptions::new();
    let connect = routing.connect_timeout_ms.duration();
    options.connection_timeout = Some(connect);
    options.total_connection_timeout = Some(connect);
    options.read_timeout =
        longer(routing.first_byte_timeout_ms.duration(), routing.idle_timeout_ms.duration());
    options.write_timeout = Some(routing.first_byte_timeout_ms.duration());
    options.idle_timeout = Some(routing.dyno_keepalive_ms.duration());
    match routing.dyno_protocol {
        DynoProtocol::Http1 => {}
        DynoProtocol::H2c => {
            options.alpn = ALPN::H2;
            options.max_h2_streams = STREAMS;
        }
        // Whom the app trusts is not among what a peer of pingora's can be told.
        DynoProtocol::H2 => return Err(Fault::DynoMismatch(Mismatch::Tls)),
    }
    peer.options = options;
    Ok(peer)
}

impl Context {
    /// There is a connection to the dyno.
    pub(super) fn connected(&mut self, reused: bool, now: Moment) {
        if let Some(slot) = &self.slot
            && !reused
        {
            slot.dyno().load.reached();
        }
        self.connect = Some(if reused { std::time::Duration::ZERO } else { now.since(self.picked) });
        self.connected_at = Some(now);
    }

    /// The dyno accepted no connection. Whether another one is to be tried.
    pub(super) fn failed_to_connect(&mut self, how: ConnectFailure, now: Moment) -> Result<(), Fault> {
        let (Some(slot), Some(entered)) = (self.slot.take(), &self.entered) else {
            return Err(Fault::PlatformError);
        };
        self.connect = Some(now.since(self.picked));
        self.connected_at = Some(now);
        seek::failed(&entered.app.set(), slot.dyno(), how, &mut self.attempts, now)
    }
}
