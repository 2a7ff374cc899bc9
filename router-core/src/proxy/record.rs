//! What is remembered of a request: one log line, some counters.

use std::{net::IpAddr, time::Duration};

use super::{Request, Sender, head::values};
use crate::{
    h1::{field::Kind, request::Version},
    route::{
        Fault, LogLine, Moment, RequestId,
        dyno::Dyno,
        forward,
        logline::{Protocol, Tls},
    },
    worker::Worker,
};

/// Tells a dyno how many ms its request waited in the router's queue.
const QUEUE_TIME: &[u8] = b"X-Queue-Time";

/// What is remembered of one request.
pub(super) struct Record {
    pub(super) request_id: RequestId,
    /// The number of the web dyno; whoever held the dyno itself would keep it from being drained.
    pub(super) dyno: Option<u32>,
    /// How long it waited for a dyno so far; `None` as long as nobody wants to know.
    pub(super) queued: Option<Duration>,
    /// How long the connection to the dyno took; zero for a kept one.
    pub(super) connect: Option<Duration>,
    /// When the dyno was reached.
    pub(super) connected: Option<Moment>,
    /// The status the client was sent.
    pub(super) status: Option<u16>,
    pub(super) fault: Option<Fault>,
}

impl Record {
    /// Opens the record of a request, and makes its id and its list of forwarders.
    pub(super) fn open(worker: &Worker, request: &Request<'_>, forwarded_for: &mut Vec<u8>) -> Self {
        forwarded_for.clear();
        forward::forwarded_for(forwarded_for, values(request, Kind::XForwardedFor), request.arrival.peer);
        let sent = values(request, Kind::XRequestId).next();
        Self::new(worker.request_ids.borrow_mut().accept(sent))
    }

    /// Opens the record of what could not be read as a request.
    pub(super) fn unread(worker: &Worker) -> Self {
        Self::new(worker.request_ids.borrow_mut().make())
    }

    const fn new(request_id: RequestId) -> Self {
        Self {
            request_id,
            dyno: None,
            queued: None,
            connect: None,
            connected: None,
            status: None,
            fault: None,
        }
    }

    /// It has waited so much longer.
    pub(super) fn waited(&mut self, span: Duration) {
        *self.queued.get_or_insert_default() += span;
    }

    /// Ends the head that the dyno gets, `end` bytes of it so far, with how long the request waited, if that is of interest.
    pub(super) fn tell_queue_time(&self, to_dyno: &mut Vec<u8>, end: usize) {
        let Some(queued) = self.queued else { return };
        // The empty line that ended it comes after this one; what an earlier try has added goes.
        to_dyno.truncate(end.saturating_sub(2));
        forward::line(to_dyno, QUEUE_TIME, itoa::Buffer::new().format(queued.as_millis()).as_bytes());
        to_dyno.extend_from_slice(b"\r\n");
    }

    /// The request goes to this dyno, which was reached in so long a time.
    pub(super) fn reached(&mut self, dyno: &Dyno, connect: Duration, now: Moment) {
        self.dyno = Some(dyno.name.index);
        self.connect = Some(connect);
        self.connected = Some(now);
    }

    /// The request is over.
    pub(super) fn close(self, worker: &Worker, request: &Request<'_>, forwarded_for: &[u8], bytes: u64) {
        let text = request.bytes;
        self.write(
            worker,
            bytes,
            &Origin {
                method: request.head.method.of_buffer(text),
                path: request.head.target.of_buffer(text),
                host: request.head.host_field.of_buffer(text),
                forwarded_for,
                client: request.arrival.client,
                proxies: request.arrival.proxies,
                protocol: match request.head.version {
                    Version::Http10 => Protocol::Http10,
                    Version::Http11 => Protocol::Http11,
                    Version::Http2 => Protocol::Http2,
                    Version::Http3 => Protocol::Http3,
                },
                tls: request.arrival.tls,
            },
        );
    }

    /// What could not be read is over; `first_line` is what it began with.
    pub(super) fn close_unread(self, worker: &Worker, from: Sender, first_line: &[u8], bytes: u64) {
        let mut parts = first_line.split(|b| *b == b' ');
        let (method, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        self.write(
            worker,
            bytes,
            &Origin {
                method,
                path,
                host: b"",
                forwarded_for: b"",
                client: from.client,
                proxies: 0,
                protocol: from.protocol,
                tls: from.tls,
            },
        );
    }

    fn write(self, worker: &Worker, bytes: u64, origin: &Origin<'_>) {
        let counters = &worker.counters;
        counters.requests.add(1);
        counters.bytes_sent.add(bytes);
        let status = self.status.or_else(|| self.fault.map(|fault| fault.facts().status));
        counters.status(status.unwrap_or_default());
        if let Some(fault) = self.fault {
            counters.fault(fault);
        }
        // The list ends with the client, which has a place of its own in the line, and the proxies it came through.
        let mut received = origin.forwarded_for;
        for _ in 0..origin.client.map_or(0, |_| u32::from(origin.proxies) + 1) {
            let end = memchr::memrchr(b',', received).unwrap_or_default();
            received = received.get(..end).unwrap_or_default();
        }
        let mut label = WebDyno::default();
        let dropped = worker.log.add(&LogLine {
            fault: self.fault,
            method: origin.method,
            path: origin.path,
            host: origin.host,
            request_id: self.request_id.as_bytes(),
            forwarded_for: received,
            client: origin.client,
            dyno: self.dyno.map_or("", |number| label.of(number)),
            queue: self.queued,
            connect: self.connect,
            service: self.connected.map(|connected| worker.now().since(connected)),
            status,
            bytes: Some(bytes),
            protocol: origin.protocol,
            tls: origin.tls,
        });
        if dropped > 0 {
            counters.log_lines_dropped.add(dropped);
        }
    }
}

/// Room for `web.1`: only web dynos get requests.
#[derive(Default)]
struct WebDyno([u8; "web.4294967295".len()]);

impl WebDyno {
    fn of(&mut self, number: u32) -> &str {
        let (mut digits, web) = (itoa::Buffer::new(), b"web.");
        let all = web.iter().chain(digits.format(number).as_bytes());
        let length = all.zip(&mut self.0).map(|(from, to)| *to = *from).count();
        self.0.get(..length).and_then(|text| str::from_utf8(text).ok()).unwrap_or_default()
    }
}

struct Origin<'a> {
    method: &'a [u8],
    path: &'a [u8],
    host: &'a [u8],
    forwarded_for: &'a [u8],
    client: Option<IpAddr>,
    proxies: u16,
    protocol: Protocol,
    tls: Tls,
}
