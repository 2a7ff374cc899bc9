//! What a head says to the router, in a form that can be compared.

use crate::{
    h1::{
        framing::Framing,
        request::{Persistence, RequestHead, Version},
        response::ResponseHead,
    },
    route::host::Host,
};

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// There is none.
    Empty,
    /// After so many bytes.
    Length(u64),
    /// Its chunks say.
    Chunked,
    /// With the connection.
    Close,
}

/// What a request's head says to the router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestMeaning {
    /// How long the head is.
    pub length: usize,
    /// As it was written.
    pub method: Vec<u8>,
    /// In origin-form.
    pub target: Vec<u8>,
    /// In canonical form.
    pub host: Host,
    /// Where the body ends.
    pub end: End,
    /// HTTP/1.0.
    pub is_old: bool,
    /// The client's connection may be used again.
    pub keeps_alive: bool,
    /// It waits for `100 Continue`.
    pub expects_continue: bool,
    /// It asks for another protocol.
    pub upgrade: bool,
}

impl RequestMeaning {
    pub(super) fn of(head: &RequestHead, text: &[u8]) -> Self {
        Self {
            length: head.length,
            method: head.method.of_buffer(text).to_vec(),
            target: head.target.of_buffer(text).to_vec(),
            host: head.host.clone(),
            end: head.framing.into(),
            is_old: head.version == Version::Http10,
            keeps_alive: head.persistence == Persistence::KeepAlive,
            expects_continue: head.expects_continue,
            upgrade: head.upgrade,
        }
    }
}

/// What a response's head says to the router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseMeaning {
    /// How long the head is.
    pub length: usize,
    /// From 100 to 999.
    pub status: u16,
    /// As it was written.
    pub reason: Vec<u8>,
    /// Where the body ends, when the request was no HEAD.
    pub end: End,
    /// The dyno's connection may be used again.
    pub reusable: bool,
}

impl ResponseMeaning {
    pub(super) fn of(head: &ResponseHead, text: &[u8]) -> Self {
        Self {
            length: head.length,
            status: head.status,
            reason: head.reason.of_buffer(text).to_vec(),
            end: head.body(false).into(),
            reusable: head.reusable,
        }
    }
}

impl From<Framing> for End {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::Empty => Self::Empty,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked,
            Framing::UntilClose => Self::Close,
        }
    }
}
