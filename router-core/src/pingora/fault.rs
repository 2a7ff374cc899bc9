//! What pingora's errors mean, and the page a client gets.

use ::pingora::{Error, ErrorSource, ErrorType, Result, http::ResponseHeader, proxy::Session};
use bytes::Bytes;

use super::Context;
use crate::{
    h1::field::Kind,
    route::{
        Fault,
        fault::RequestError,
        page::{self, Format},
    },
};

/// The fault that an error of pingora's is. `answered`: the response had begun.
pub(super) fn of(error: &Error, answered: bool) -> Fault {
    match (error.esource(), error.etype()) {
        (ErrorSource::Downstream, ErrorType::ReadTimedout | ErrorType::WriteTimedout) => Fault::ClientIdle,
        (ErrorSource::Downstream, ErrorType::InvalidHTTPHeader) => RequestError::BadHeader.into(),
        (ErrorSource::Downstream, _) => Fault::ClientInterrupted,
        (_, ErrorType::ConnectTimedout) => Fault::ConnectTimeout,
        (_, ErrorType::ConnectRefused | ErrorType::ConnectNoRoute | ErrorType::ConnectError) => {
            Fault::ConnectRefused
        }
        (ErrorSource::Upstream, ErrorType::ReadTimedout) if answered => Fault::IdleConnection,
        (ErrorSource::Upstream, ErrorType::ReadTimedout | ErrorType::WriteTimedout) => Fault::RequestTimeout,
        (ErrorSource::Upstream, ErrorType::InvalidHTTPHeader | ErrorType::H1Error) => {
            Fault::PoorlyFormattedResponse
        }
        (ErrorSource::Upstream, _) if answered => Fault::ServerRequestInterrupted,
        (ErrorSource::Upstream, _) => Fault::ClosedWithoutResponse,
        (ErrorSource::Internal | ErrorSource::Unset, _) => Fault::PlatformError,
    }
}

impl Context {
    /// Sends the page of a fault, unless a response has begun or nobody is there to read it.
    pub(super) async fn answer(&mut self, session: &mut Session, fault: Fault) -> Result<()> {
        if self.status.is_some() || !fault.is_answered() {
            return Ok(());
        }
        let facts = fault.facts();
        let format = Format::preferred(self.values(Kind::Accept));
        let url = self.entered.as_ref().and_then(|entered| page::custom(fault, &entered.routing));
        let mut body = Vec::new();
        page::render(fault, format, &self.id, url, &mut body);
        let mut head = ResponseHeader::build(facts.status, Some(6))?;
        head.insert_header("Content-Type", format.content_type())?;
        head.insert_header("Content-Length", body.len())?;
        head.insert_header("Cache-Control", page::CACHE_CONTROL)?;
        head.insert_header("X-Request-Id", self.id.as_str())?;
        head.insert_header("Via", "1.1 busbar")?;
        self.status = Some(facts.status);
        if self.head.as_ref().is_some_and(|head| head.is_head) {
            body.clear();
        }
        session.as_downstream_mut().write_error_response(head, Bytes::from(body)).await
    }
}
