//! What is known of one request, how it is read, and the heads that are sent on.

use std::{net::IpAddr, sync::Arc, time::Duration};

use ::pingora::{
    Result,
    http::{RequestHeader, ResponseHeader},
    proxy::Session,
};
use busbar_registry::Routing;

use super::PingoraRouter;
use crate::{
    edge::{
        h1::{self, Peer},
        translate::head::{self, Length},
    },
    h1::{
        field::{Field, Kind, list},
        policy::Underscores,
        request::{self, RequestHead, Version},
    },
    route::{
        Fault, Moment, RequestClock, RequestId,
        admit::{Admission, admit},
        affinity::{SetCookie, Ticket},
        app::App,
        dyno::Dyno,
        fault::RequestFlaw,
        forward::{self, Arrival},
        load::Slot,
        retry::Attempts,
    },
};

/// What is known of one request. pingora keeps it from the request's head to its access line; dropped, its places are
/// given back.
pub struct Context {
    pub(super) id: RequestId,
    received: Moment,
    /// The head as text, and the places in it.
    pub(super) text: Vec<u8>,
    fields: Vec<Field>,
    pub(super) head: Option<RequestHead>,
    pub(super) arrival: Arrival,
    pub(super) forwarded_for: Vec<u8>,
    pub(super) entered: Option<Entered>,
    pub(super) clock: RequestClock,
    pub(super) attempts: Attempts,
    pub(super) slot: Option<Slot>,
    pub(super) dyno: Option<Arc<Dyno>>,
    pub(super) queued: Option<Duration>,
    pub(super) picked: Moment,
    pub(super) connect: Option<Duration>,
    pub(super) connected_at: Option<Moment>,
    /// The dyno's response has begun.
    pub(super) has_answered: bool,
    /// What the client was sent.
    pub(super) status: Option<u16>,
    pub(super) fault: Option<Fault>,
}

/// A request that was let in.
pub(super) struct Entered {
    pub(super) app: Arc<App>,
    pub(super) routing: Arc<Routing>,
    pub(super) ticket: Option<Ticket>,
    _admission: Admission,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("id", &self.id).field("fault", &self.fault).finish_non_exhaustive()
    }
}

impl Context {
    pub(super) fn new(id: RequestId, received: Moment) -> Self {
        Self {
            id,
            received,
            text: Vec::new(),
            fields: Vec::new(),
            head: None,
            arrival: Arrival::direct(None::<IpAddr>, false, None),
            forwarded_for: Vec::new(),
            entered: None,
            clock: RequestClock::new(&Routing::default(), received),
            attempts: Attempts::default(),
            slot: None,
            dyno: None,
            queued: None,
            picked: received,
            connect: None,
            connected_at: None,
            has_answered: false,
            status: None,
            fault: None,
        }
    }

    /// The fault that has ended this request, if one has: for your own logging.
    pub const fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// The dyno it went to last, as in `web.1`.
    pub fn dyno(&self) -> Option<&str> {
        self.dyno.as_deref().map(|dyno| &*dyno.label)
    }

    /// The values of all headers of a kind.
    pub(super) fn values(&self, kind: Kind) -> impl Iterator<Item = &[u8]> {
        let of_kind = self.fields.iter().filter(move |field| field.kind == kind);
        of_kind.map(|field| field.value.of_buffer(&self.text))
    }

    /// Reads the request as strictly as one from a socket, and asks whether it may come in.
    pub(super) fn admit(&mut self, router: &PingoraRouter, session: &mut Session) -> Result<(), Fault> {
        let peer = Peer {
            client: session.client_addr().and_then(|from| from.as_inet()).map(|from| from.ip()),
            tls: session.digest().is_some_and(|digest| digest.ssl_digest.is_some()).into(),
        };
        self.arrival = Arrival::direct(peer.client, peer.tls, None);
        self.read(router, session)?;
        let Some(head) = &self.head else { return Err(RequestFlaw::BadHeader.into()) };
        let trusted = &router.options.trusted_proxies;
        self.arrival = h1::head::arrival(trusted, &peer, head, &self.fields, &self.text);
        let mut list = Vec::new();
        forward::forwarded_for(&mut list, self.values(Kind::XForwardedFor), self.arrival.peer);
        self.forwarded_for = list;
        let id = router.request_id(self.values(Kind::XRequestId).next());
        self.id = id;
        self.enter(router)
    }

    fn read(&mut self, router: &PingoraRouter, session: &mut Session) -> Result<(), Fault> {
        let length =
            if session.as_downstream_mut().is_body_empty() { Length::Known(0) } else { Length::Unknown };
        let asked = session.req_header();
        head::write(asked, length, &mut self.text);
        let (limits, policy) = (&router.options.request_limits, router.options.request_policy);
        let head = request::parse(&self.text, limits, policy, &mut self.fields)?;
        let mut head = head.filter(|head| head.length == self.text.len()).ok_or(RequestFlaw::BadHeader)?;
        if asked.version == ::http::Version::HTTP_2 {
            head.version = Version::Http2;
        }
        self.head = Some(head);
        Ok(())
    }

    fn enter(&mut self, router: &PingoraRouter) -> Result<(), Fault> {
        let host = self.head.as_ref().map_or("", |head| head.host.as_str());
        let app = router.table.find(host).ok_or(Fault::UnknownHost)?;
        let set = app.set();
        if set.maintenance {
            return Err(Fault::Maintenance);
        }
        let admission = admit(&app, &set)?;
        let cookies = self.fields.iter().filter(|field| {
            field.kind == Kind::Other && field.name.of_buffer(&self.text).eq_ignore_ascii_case(b"cookie")
        });
        let mut cookies = cookies.map(|field| field.value.of_buffer(&self.text));
        let ticket = set.routing.session_affinity.then(|| cookies.find_map(Ticket::find)).flatten();
        self.clock = RequestClock::new(&set.routing, self.received);
        if set.routing.concurrency_per_dyno.is_some() {
            self.queued = Some(Duration::ZERO);
        }
        let routing = Arc::clone(&set.routing);
        self.entered = Some(Entered { app, routing, ticket, _admission: admission });
        Ok(())
    }

    /// Whether a header that came with the request goes no further. pingora itself sees to `Connection`, `Upgrade` and
    /// to what frames the body.
    fn stops_here(&self, field: &Field, router: &PingoraRouter) -> bool {
        let options = &router.options;
        match field.kind {
            Kind::Host | Kind::ContentLength | Kind::TransferEncoding | Kind::Connection | Kind::Upgrade => {
                false
            }
            Kind::XForwardedFor
            | Kind::XForwardedPort
            | Kind::XForwardedProto
            | Kind::XRequestId
            | Kind::XRequestStart
            | Kind::ClientCertificate
            | Kind::Via
            | Kind::Proxy => true,
            Kind::Forwarded
                if options.forwarded && !forward::is_sound_list(field.value.of_buffer(&self.text)) =>
            {
                true
            }
            Kind::Underscored if options.request_policy.underscores != Underscores::Keep => true,
            kind if kind.is_hop_by_hop() => true,
            _ => self.is_named(field.name.of_buffer(&self.text)),
        }
    }

    /// Whether a Connection header names this one (RFC 9110 §7.6.1).
    fn is_named(&self, name: &[u8]) -> bool {
        self.values(Kind::Connection).flat_map(list).any(|named| named.eq_ignore_ascii_case(name))
    }

    /// Makes the head the dyno gets out of the one that pingora would send.
    pub(super) fn write_head(&self, router: &PingoraRouter, out: &mut RequestHeader) -> Result<()> {
        let Some(head) = &self.head else { return Ok(()) };
        for field in self.fields.iter().filter(|field| self.stops_here(field, router)) {
            if let Ok(name) = std::str::from_utf8(field.name.of_buffer(&self.text)) {
                out.remove_header(name);
            }
        }
        out.set_raw_path(head.target.of_buffer(&self.text))?;
        if !out.headers.contains_key("host") {
            out.insert_header("Host", head.host_field.of_buffer(&self.text))?;
        }
        let mut lines = Vec::new();
        let started = router.start_unix_ms + self.received.as_micros() / 1000;
        let mut digits = itoa::Buffer::new();
        let said = self.values(Kind::XRequestStart).next().filter(|said| forward::is_start(said));
        let started = said.filter(|_| self.arrival.trusted).unwrap_or(digits.format(started).as_bytes());
        forward::write_headers(&mut lines, &self.arrival, &self.forwarded_for, self.id.as_bytes(), started);
        if router.options.forwarded {
            forward::forwarded(&mut lines, &self.arrival, head.host_field.of_buffer(&self.text));
        }
        if let Some(queued) = self.queued {
            forward::line(
                &mut lines,
                b"X-Queue-Time",
                itoa::Buffer::new().format(queued.as_millis()).as_bytes(),
            );
        }
        let version = match head.version {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
            Version::Http2 => "2.0",
            Version::Http3 => "3.0",
        };
        let mut via = Vec::new();
        forward::via(&mut via, self.values(Kind::Via), version);
        forward::line(&mut lines, b"Via", &via);
        let lines = String::from_utf8_lossy(&lines);
        for (name, value) in lines.lines().filter_map(|line| line.split_once(": ")) {
            out.append_header(name.to_owned(), value)?;
        }
        Ok(())
    }

    /// Whether the dyno's response has begun.
    pub(super) const fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// Makes the head the client gets out of the dyno's.
    pub(super) fn answered(&mut self, head: &mut ResponseHeader) -> Result<()> {
        if head.status.is_informational() && head.status != ::http::StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        self.has_answered = true;
        self.status = Some(head.status.as_u16());
        let mut via = Vec::new();
        let received: Vec<_> = head.headers.get_all("via").iter().cloned().collect();
        forward::via(&mut via, received.iter().map(|value| value.as_bytes()), "1.1");
        head.insert_header("Via", via.as_slice())?;
        for name in ["keep-alive", "proxy-connection"] {
            head.remove_header(name);
        }
        if let (Some(entered), Some(slot)) = (&self.entered, &self.slot)
            && entered.routing.session_affinity
            && entered.ticket != Some(slot.dyno().ticket)
        {
            let mut cookie = Vec::new();
            SetCookie { ticket: slot.dyno().ticket, secure: self.arrival.tls.is_on() }.write(&mut cookie);
            head.append_header("Set-Cookie", cookie.as_slice())?;
        }
        Ok(())
    }
}
