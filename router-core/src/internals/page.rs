//! A client that takes a head and nothing else.

use std::{
    io,
    task::{Context, Poll},
};

use crate::{
    h1::request::Persistence,
    proxy::Client,
    route::{Fault, forward},
    worker::buffers::Buffer,
};

/// Writes down the head it is given, as `edge/h1` does.
pub(super) struct Page {
    keeps_chunks: bool,
    text: Vec<u8>,
}

impl Page {
    pub(super) const fn new(keeps_chunks: bool) -> Self {
        Self { keeps_chunks, text: Vec::new() }
    }

    pub(super) fn text(self) -> Vec<u8> {
        self.text
    }
}

impl Client for Page {
    fn keeps_chunks(&self) -> bool {
        self.keeps_chunks
    }
    fn takes_interim_responses(&self) -> bool {
        self.keeps_chunks
    }
    fn begin_head(&mut self, status: u16, reason: &[u8]) {
        self.text.extend_from_slice(b"HTTP/1.1 ");
        self.text.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
        self.text.push(b' ');
        self.text.extend_from_slice(reason);
        self.text.extend_from_slice(b"\r\n");
    }
    fn field(&mut self, name: &[u8], value: &[u8]) {
        forward::line(&mut self.text, name, value);
    }
    fn end_head(&mut self, _: Option<Persistence>) {
        self.text.extend_from_slice(b"\r\n");
    }

    fn poll_body(&mut self, _: &mut Context<'_>) -> Poll<Result<Buffer, Fault>> {
        Poll::Pending
    }
    fn is_body_done(&self) -> bool {
        true
    }
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
    fn answer_continue(&mut self) {}
    fn poll_send(&mut self, _: &mut Context<'_>, body: &[u8]) -> Poll<io::Result<usize>> {
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
        0
    }
}
