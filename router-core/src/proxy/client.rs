//! What an edge must be able to do for the proxy: the client's side of one request.

use std::{
    io,
    task::{Context, Poll},
};

use crate::{h1::request::Persistence, route::Fault, worker::buffers::Buffer};

/// The client of one request. All calls are cancel safe: `Pending` means that nothing was lost.
pub(crate) trait Client {
    /// The next piece of the request's body, in the form the dyno gets it (chunks, if it is chunked). Empty only when
    /// the body is done. No buffer is held while there is nothing to take.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Fault>>;

    /// Whether the whole body was handed out.
    fn is_body_done(&self) -> bool;

    /// The dyno has all that was handed out, and the body is done.
    fn body_is_sent(&mut self) {}

    /// Ready when the client has gone. Only asked once the body is done.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Before the body is waited for, the client must be told to go on (`100 Continue`).
    fn answer_continue(&mut self);

    /// Whether a chunked response is passed on chunk by chunk; else only its data is.
    fn keeps_chunks(&self) -> bool;

    /// Whether 1xx responses may be sent to it.
    fn takes_interim_responses(&self) -> bool;

    /// Begins a response's head. Nothing is sent before [`Client::poll_send`].
    fn begin_head(&mut self, status: u16, reason: &[u8]);

    /// Adds a header to it.
    fn field(&mut self, name: &[u8], value: &[u8]);

    /// Ends it; says what becomes of the connection, except in a 1xx.
    fn end_head(&mut self, persistence: Option<Persistence>);

    /// Sends whatever is held back, then some of `body`; how much of `body` it took, which it may hold back in turn.
    /// With an empty `body`: ready when nothing is held back any more.
    fn poll_send(&mut self, cx: &mut Context<'_>, body: &[u8]) -> Poll<io::Result<usize>>;

    /// How much of a response may be held for it while it takes nothing, if the app allows `wanted` bytes.
    fn may_hold(&mut self, wanted: usize) -> usize {
        wanted
    }

    /// Forgets a head that was begun; false when some of it was sent already.
    fn forget_head(&mut self) -> bool;

    /// From now on both directions carry plain bytes until they are closed. Called between the head that says so and
    /// the first [`Client::poll_send`].
    ///
    /// # Errors
    /// The head is no answer to what the client asked for.
    fn upgrade(&mut self) -> Result<(), Fault>;

    /// Tells an upgraded client that nothing more comes.
    fn poll_close_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Bytes sent to it so far, heads included.
    fn bytes_sent(&self) -> u64;
}
