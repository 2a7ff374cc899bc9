//! A worker's connections to dynos that speak HTTP/2, and who gets a stream of which.
//!
//! - [`Hub`]: a stream to a dyno: of a connection that has room, or of a new one. Who comes while one is being made waits for
//!   it, so that a burst makes a few connections and not one for each.
//!
//! There are never more connections to a dyno than requests at it, and idle ones end as those of HTTP/1.1 do.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
};

use busbar_registry::{DynoProtocol, DynoTls, Routing};
use foldhash::fast::FixedState;
use http::uri::Scheme;
use rustls::ClientConfig;
use tokio::sync::Notify;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

use super::{
    STREAMS,
    connection::{Connection, Place},
    preface,
    stream::Stream,
};
use crate::{
    io::{Socket, stream::Stream as Bytes},
    route::{
        Moment,
        dyno::{Dyno, DynoKey},
        retry::ConnectFailure,
    },
    tls::outward,
    upstream::dial::{dial, within},
    worker::{Worker, sweep::Timer},
};

/// A worker's connections to dynos that speak HTTP/2.
#[derive(Default)]
pub(crate) struct Hub {
    dynos: RefCell<HashMap<DynoKey, Ways, FixedState>>,
}

/// The ways to one dyno.
struct Ways {
    /// What they were made by; with another one, others are made.
    routing: Arc<Routing>,
    /// How they are encrypted; made when the first is.
    tls: Option<Arc<ClientConfig>>,
    /// In the order in which they were made.
    connections: Vec<Rc<Connection>>,
    dials: Vec<Rc<Dial>>,
    /// How many streams the last connection had room for: as many requests wait for one that is being made.
    room: usize,
}

/// A connection that is being made.
struct Dial {
    /// How many wait for it, whoever makes it among them.
    waiting: Cell<usize>,
    failed: Cell<Option<ConnectFailure>>,
    over: Notify,
}

impl Ways {
    fn new(routing: &Arc<Routing>) -> Self {
        Self {
            routing: Arc::clone(routing),
            tls: None,
            connections: Vec::new(),
            dials: Vec::new(),
            room: STREAMS,
        }
    }

    /// A place on the first connection that has one; what is used least ends up idle and is closed.
    fn place(&self) -> Option<Place> {
        self.connections.iter().find_map(Connection::place)
    }

    /// A connection under way that will have room.
    fn dial(&self) -> Option<Rc<Dial>> {
        let dial = self.dials.iter().find(|dial| dial.waiting.get() < self.room)?;
        dial.waiting.set(dial.waiting.get() + 1);
        Some(Rc::clone(dial))
    }

    fn tls(&mut self) -> Result<Arc<ClientConfig>, ConnectFailure> {
        if let Some(config) = &self.tls {
            return Ok(Arc::clone(config));
        }
        let config = outward::config(&tls(&self.routing), &[b"h2"]).map_err(|error| {
            tracing::error!(%error, "the certificates that an app expects of its dynos cannot be used");
            ConnectFailure::Tls
        })?;
        Ok(Arc::clone(self.tls.insert(config)))
    }
}

/// What a request finds.
enum Found {
    Place(Place),
    /// Somebody makes a connection.
    Dial(Rc<Dial>),
    /// Nobody does.
    Nothing,
}

impl Hub {
    /// A stream to the dyno, within the time allowed.
    ///
    /// # Errors
    /// Why there is no connection.
    ///
    /// # Cancel safety
    /// Dropped, a connection that was being made for several is made by another one of them.
    pub(crate) async fn stream(
        &self,
        worker: &Worker,
        timer: &Timer,
        dyno: &Dyno,
        routing: &Arc<Routing>,
        deadline: Moment,
    ) -> Result<Box<Stream>, ConnectFailure> {
        loop {
            match self.look(dyno.key, routing) {
                Found::Place(place) => return Ok(Stream::new(place, scheme(routing))),
                Found::Nothing => {
                    let place = self.connect(worker, timer, dyno, routing, deadline).await?;
                    return Ok(Stream::new(place, scheme(routing)));
                }
                Found::Dial(dial) => {
                    let over = async {
                        dial.over.notified().await;
                        Ok(())
                    };
                    let waited = within(worker, timer, deadline, over).await;
                    dial.waiting.set(dial.waiting.get() - 1);
                    waited.map_err(|_| ConnectFailure::TimedOut)?;
                    if let Some(how) = dial.failed.get() {
                        return Err(how);
                    }
                }
            }
        }
    }

    /// A stream that is there without waiting.
    pub(crate) fn stream_now(&self, dyno: DynoKey, routing: &Arc<Routing>) -> Option<Box<Stream>> {
        let mut dynos = self.dynos.borrow_mut();
        let ways = dynos.get_mut(&dyno)?;
        if !is_same(&ways.routing, routing) {
            return None;
        }
        ways.place().map(|place| Stream::new(place, scheme(routing)))
    }

    fn look(&self, dyno: DynoKey, routing: &Arc<Routing>) -> Found {
        let mut dynos = self.dynos.borrow_mut();
        let ways = dynos.entry(dyno).or_insert_with(|| Ways::new(routing));
        if !is_same(&ways.routing, routing) {
            // The streams of the old ones end as they would have; nothing new is begun on them.
            *ways = Ways::new(routing);
        }
        match ways.place() {
            Some(place) => Found::Place(place),
            None => ways.dial().map_or(Found::Nothing, Found::Dial),
        }
    }

    /// Makes a connection, for everybody who wants one meanwhile.
    async fn connect(
        &self,
        worker: &Worker,
        timer: &Timer,
        dyno: &Dyno,
        routing: &Arc<Routing>,
        deadline: Moment,
    ) -> Result<Place, ConnectFailure> {
        let dialing = Dialing::begin(self, dyno.key);
        worker.counters.dials.add(1);
        let made = make(self, worker, timer, dyno, routing, deadline).await;
        let placed = made.and_then(|connection| {
            let place = connection.place().ok_or(ConnectFailure::Refused)?;
            if let Some(ways) = self.dynos.borrow_mut().get_mut(&dyno.key)
                && is_same(&ways.routing, routing)
            {
                ways.room = connection.allows();
                ways.connections.push(connection);
            }
            Ok(place)
        });
        dialing.dial.failed.set(placed.as_ref().err().copied());
        placed
    }

    /// Closes what has been idle for long enough, and forgets what has ended.
    pub(crate) fn tidy(&self, now: Moment) {
        let mut dynos = self.dynos.borrow_mut();
        if dynos.is_empty() {
            return;
        }
        dynos.retain(|_, ways| {
            ways.connections.retain(|connection| connection.is_kept(now));
            !ways.connections.is_empty() || !ways.dials.is_empty()
        });
    }

    /// How many connections are idle.
    pub(crate) fn idle(&self) -> usize {
        let dynos = self.dynos.borrow();
        dynos.values().flat_map(|ways| &ways.connections).filter(|connection| connection.is_idle()).count()
    }

    /// Closes all that are idle; how many there were.
    pub(crate) fn shed(&self) -> usize {
        let idle = self.idle();
        for ways in self.dynos.borrow_mut().values_mut() {
            ways.connections.retain(|connection| !connection.is_idle());
        }
        idle
    }

    /// Forgets all. Streams end as they would have.
    pub(crate) fn clear(&self) {
        self.dynos.borrow_mut().clear();
    }

    fn tls(&self, dyno: DynoKey) -> Result<Arc<ClientConfig>, ConnectFailure> {
        self.dynos.borrow_mut().get_mut(&dyno).ok_or(ConnectFailure::Refused)?.tls()
    }
}

/// Whether connections made by one may be used by the other.
fn is_same(one: &Arc<Routing>, other: &Arc<Routing>) -> bool {
    let keys = |routing: &Routing| (routing.dyno_protocol, routing.dyno_keepalive_ms);
    Arc::ptr_eq(one, other) || (keys(one) == keys(other) && one.dyno_tls == other.dyno_tls)
}

/// How the dynos show who they are.
fn tls(routing: &Routing) -> Cow<'_, DynoTls> {
    routing.dyno_tls.as_deref().map_or_else(|| Cow::Owned(DynoTls::default()), Cow::Borrowed)
}

fn scheme(routing: &Routing) -> Scheme {
    if routing.dyno_protocol.is_tls() { Scheme::HTTPS } else { Scheme::HTTP }
}

type Clear = Bytes<Box<Socket>>;

async fn make(
    hub: &Hub,
    worker: &Worker,
    timer: &Timer,
    dyno: &Dyno,
    routing: &Arc<Routing>,
    deadline: Moment,
) -> Result<Rc<Connection>, ConnectFailure> {
    let socket = Bytes(dial(worker, timer, &dyno.address, deadline).await?);
    let spoken = async {
        let io: Either<Clear, Box<TlsStream<Clear>>> = match routing.dyno_protocol {
            DynoProtocol::H2 => Either::Right(Box::new(encrypt(hub, dyno, routing, socket).await?)),
            DynoProtocol::H2c | DynoProtocol::Http1 => Either::Left(socket),
        };
        preface::exchange(io, &worker.options.response_limits).await
    };
    let spoken = within(worker, timer, deadline, async { Ok(spoken.await) }).await;
    let (requests, wire) = spoken.unwrap_or(Err(ConnectFailure::TimedOut))?;
    Ok(Connection::drive(requests, wire, routing.dyno_keepalive_ms.duration()))
}

async fn encrypt(
    hub: &Hub,
    dyno: &Dyno,
    routing: &Routing,
    socket: Clear,
) -> Result<TlsStream<Clear>, ConnectFailure> {
    let connector = TlsConnector::from(hub.tls(dyno.key)?);
    let name = outward::name(&tls(routing), &dyno.address).ok_or(ConnectFailure::Tls)?;
    let stream = connector.connect(name, socket).await.map_err(|error| {
        tracing::warn!(%error, dyno = %dyno.label, address = %dyno.address, "a TLS handshake with a dyno failed");
        ConnectFailure::Tls
    })?;
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") { Ok(stream) } else { Err(ConnectFailure::NoHttp2) }
}

/// A connection that is being made; dropped, it is not any more, and everybody who waits for it looks again.
struct Dialing<'a> {
    hub: &'a Hub,
    dyno: DynoKey,
    dial: Rc<Dial>,
}

impl<'a> Dialing<'a> {
    fn begin(hub: &'a Hub, dyno: DynoKey) -> Self {
        let dial = Rc::new(Dial { waiting: Cell::new(1), failed: Cell::new(None), over: Notify::new() });
        if let Some(ways) = hub.dynos.borrow_mut().get_mut(&dyno) {
            ways.dials.push(Rc::clone(&dial));
        }
        Self { hub, dyno, dial }
    }
}

impl Drop for Dialing<'_> {
    fn drop(&mut self) {
        if let Some(ways) = self.hub.dynos.borrow_mut().get_mut(&self.dyno) {
            ways.dials.retain(|dial| !Rc::ptr_eq(dial, &self.dial));
        }
        self.dial.over.notify_waiters();
    }
}
