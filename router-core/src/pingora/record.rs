//! The end of a request: what its dyno has shown, and the access line.

use ::pingora::proxy::Session;

use super::{Context, PingoraRouter};
use crate::{
    h1::request::Version,
    route::{Fault, LogLine, eject, logline::Protocol},
};

impl Context {
    /// The request is over: its places are given back, and its line is written.
    pub(super) fn close(&mut self, router: &PingoraRouter, session: &Session) {
        let now = router.now();
        if let (Some(dyno), Some(entered)) = (&self.dyno, &self.entered)
            && entered.routing.eject_after.is_some()
        {
            let no_response =
                [Fault::RequestTimeout, Fault::ClosedWithoutResponse, Fault::ServerRequestInterrupted];
            match self.fault {
                None => dyno.load.answered_well(),
                Some(fault) if no_response.contains(&fault) && !self.has_answered => {
                    eject::failed(&entered.app.set(), dyno, now);
                }
                Some(_) => {}
            }
        }
        let head = self.head.as_ref();
        let asked = session.req_header();
        let target = head.map_or(asked.raw_path(), |head| head.target.of_buffer(&self.text));
        // The list ends with the client, which has a place of its own in the line, and the proxies it came through.
        let mut received = self.forwarded_for.as_slice();
        for _ in 0..self.arrival.client.map_or(0, |_| u32::from(self.arrival.proxies) + 1) {
            let end = memchr::memrchr(b',', received).unwrap_or_default();
            received = received.get(..end).unwrap_or_default();
        }
        router.log(&LogLine {
            fault: self.fault,
            method: asked.method.as_str().as_bytes(),
            path: target,
            host: head.map_or(&[][..], |head| head.host_field.of_buffer(&self.text)),
            request_id: self.id.as_bytes(),
            forwarded_for: received,
            client: self.arrival.client,
            dyno: self.dyno.as_ref().map_or("", |dyno| &dyno.label),
            queue: self.queued,
            connect: self.connect,
            service: self.connected_at.map(|connected| now.since(connected)),
            status: self.status.or_else(|| self.fault.map(|fault| fault.facts().status)),
            bytes: Some(session.body_bytes_sent() as u64),
            protocol: match head.map(|head| head.version) {
                Some(Version::Http10) => Protocol::Http10,
                Some(Version::Http2) => Protocol::Http2,
                Some(Version::Http3) => Protocol::Http3,
                Some(Version::Http11) | None => Protocol::Http11,
            },
            tls: self.arrival.tls,
        });
        self.slot = None;
        self.entered = None;
    }
}
