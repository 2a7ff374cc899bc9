//! A response's way from a worker to whoever asked, perhaps on another thread: bounded, and each side learns at once
//! that the other has gone.
//!
//! - [`pair`]: both ends. [`Reply`]: the worker's.
//! - [`ResponseFuture`]: until the head is there. [`ResponseBody`]: then.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};

use crate::route::{
    Fault, RequestIds,
    page::{self, Format},
};

/// So many bytes of a response may wait for whoever reads it; a worker that has more waits.
pub(crate) const HELD: usize = 128 * 1024;
/// What a piece costs besides its bytes.
const PIECE: usize = 64;

#[derive(Default)]
struct State {
    head: Option<Response<()>>,
    pieces: VecDeque<Frame<Bytes>>,
    /// What the pieces cost.
    held: usize,
    end: Option<End>,
    /// The reader has all bytes that were announced, and need not wait for the end.
    satisfied: bool,
    reader_gone: bool,
    writer: Option<Waker>,
    reader: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Cut(Fault),
}

/// Held for a few instructions by either side.
#[derive(Clone)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Changes something that the reader waits for.
    fn tell_reader<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let done = change(&mut state);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        done
    }
    fn is_empty(&self) -> bool {
        let state = self.lock();
        state.end == Some(End::Whole) && state.pieces.is_empty()
    }
}

fn wake_later(waker: &mut Option<Waker>, cx: &Context<'_>) {
    if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *waker = Some(cx.waker().clone());
    }
}

/// A response's way: its beginning and its end.
pub(crate) fn pair() -> (Reply, ResponseFuture) {
    let shared = Shared(Arc::default());
    (Reply { shared: shared.clone() }, ResponseFuture(Some(Reader(shared))))
}

/// The worker's end. Dropped before [`Reply::finish`], the response is cut.
pub(crate) struct Reply {
    shared: Shared,
}

impl Reply {
    /// Ready when nobody waits for the response any more.
    pub(crate) fn poll_gone(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.shared.lock();
        if state.reader_gone {
            return Poll::Ready(());
        }
        wake_later(&mut state.writer, cx);
        Poll::Pending
    }

    /// How many bytes may follow.
    ///
    /// # Errors
    /// Nobody waits for them any more.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<io::Result<usize>> {
        let mut state = self.shared.lock();
        match HELD.saturating_sub(state.held + PIECE) {
            _ if state.reader_gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            0 => {
                wake_later(&mut state.writer, cx);
                Poll::Pending
            }
            room => Poll::Ready(Ok(room)),
        }
    }

    /// The head; `empty` says that there will be no body.
    pub(crate) fn head(&self, head: Response<()>, empty: bool) {
        self.shared.tell_reader(|state| {
            state.head = Some(head);
            state.end = state.end.or(empty.then_some(End::Whole));
        });
    }

    /// A piece of the body.
    pub(crate) fn data(&self, piece: &[u8]) {
        let piece = Bytes::copy_from_slice(piece);
        self.shared.tell_reader(|state| {
            state.held += piece.len() + PIECE;
            state.pieces.push_back(Frame::data(piece));
        });
    }

    /// What follows the body.
    pub(crate) fn trailers(&self, trailers: HeaderMap) {
        self.shared.tell_reader(|state| state.pieces.push_back(Frame::trailers(trailers)));
    }

    /// The response is whole.
    pub(crate) fn finish(self) {
        self.end(End::Whole);
    }

    /// It is not, and nothing more comes. The fault is told if not even its head had come.
    pub(crate) fn cut(self, fault: Fault) {
        self.end(End::Cut(fault));
    }

    fn end(&self, end: End) {
        self.shared.tell_reader(|state| state.end = state.end.or(Some(end)));
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let bug = std::thread::panicking();
        self.end(End::Cut(if bug { Fault::PlatformError } else { Fault::ForcedClose }));
    }
}

/// The reading end. Dropped, the worker knows.
struct Reader(Shared);

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.reader_gone = !state.satisfied && state.end != Some(End::Whole);
        let (pieces, writer) = (mem::take(&mut state.pieces), state.writer.take());
        drop(state);
        drop(pieces);
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}

/// A response to come. It always comes: what goes wrong is a response, too.
///
/// # Cancel safety
/// Dropped, the client is taken to have gone (H27); the dyno's connection is closed.
pub struct ResponseFuture(Option<Reader>);

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(reader) = self.0.take() else { return Poll::Ready(Ok(page(Fault::PlatformError))) };
        let mut state = reader.0.lock();
        let (head, end) = (state.head.take(), state.end);
        if head.is_none() && end.is_none() {
            wake_later(&mut state.reader, cx);
            drop(state);
            self.0 = Some(reader);
            return Poll::Pending;
        }
        drop(state);
        let fault = match end {
            Some(End::Cut(fault)) => fault,
            Some(End::Whole) | None => Fault::PlatformError,
        };
        Poll::Ready(Ok(head.map_or_else(|| page(fault), |head| with_body(head, reader))))
    }
}

fn with_body(head: Response<()>, reader: Reader) -> Response<ResponseBody> {
    let length = head.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let left = if reader.0.is_empty() { Some(0) } else { length.and_then(|length| length.parse().ok()) };
    head.map(|()| ResponseBody { reader, left })
}

/// A response that is there already: the page of a fault.
pub(crate) fn answered(fault: Fault) -> ResponseFuture {
    let (reply, response) = pair();
    reply.cut(fault);
    response
}

/// The response of a request that no worker has answered.
fn page(fault: Fault) -> Response<ResponseBody> {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).unwrap_or_default(); // an id that can be guessed, then
    let id = RequestIds::from_seed(seed).make();
    let mut body = Vec::new();
    page::render(fault, Format::default(), &id, None, &mut body);
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::from_u16(fault.facts().status).unwrap_or(StatusCode::BAD_GATEWAY);
    let fields = head.headers_mut();
    let content_type = HeaderValue::from_static(Format::default().content_type());
    fields.insert(header::CONTENT_TYPE, content_type);
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(page::CACHE_CONTROL));
    if let Ok(id) = HeaderValue::from_bytes(id.as_bytes()) {
        fields.insert("x-request-id", id);
    }
    let pieces = VecDeque::from([Frame::data(body.into())]);
    let state = State { pieces, end: Some(End::Whole), ..State::default() };
    with_body(head, Reader(Shared(Arc::new(Mutex::new(state)))))
}

/// A response's body. At most 128 KiB of it wait to be read; a dyno that sends more is held back.
///
/// Dropped before its end, the client is taken to have gone (H27).
pub struct ResponseBody {
    reader: Reader,
    /// How many bytes are to come, if that is known.
    left: Option<u64>,
}

/// A response that broke off: its dyno failed, or the router's end came. Whoever passes it on must cut the connection
/// to its own client, or reset the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the response broke off in its body; the access line of its request says why")]
pub struct ResponseCut;

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseCut>>> {
        let mut state = self.reader.0.lock();
        let Some(piece) = state.pieces.pop_front() else {
            return match state.end {
                Some(End::Whole) => Poll::Ready(None),
                Some(End::Cut(_)) => {
                    state.end = Some(End::Whole); // said once
                    Poll::Ready(Some(Err(ResponseCut)))
                }
                None => {
                    wake_later(&mut state.reader, cx);
                    Poll::Pending
                }
            };
        };
        let length = piece.data_ref().map(Bytes::len);
        state.held = state.held.saturating_sub(length.map_or(0, |length| length + PIECE));
        let left = self.left.map(|left| left.saturating_sub(length.unwrap_or_default() as u64));
        state.satisfied = left == Some(0);
        let writer = if state.held <= HELD / 2 { state.writer.take() } else { None };
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
        self.left = left;
        Poll::Ready(Some(Ok(piece)))
    }

    fn is_end_stream(&self) -> bool {
        self.reader.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseBody").field("left", &self.left).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn body_of(future: &mut ResponseFuture, cx: &mut Context<'_>) -> ResponseBody {
        match Pin::new(future).poll(cx) {
            Poll::Ready(Ok(response)) => response.into_body(),
            Poll::Pending => unreachable!("the head is there"),
        }
    }

    #[test]
    fn a_worker_waits_while_a_reply_is_full_and_is_woken_when_half_of_it_was_read() {
        let (count, (reply, mut future)) = (Arc::new(Count::default()), pair());
        let waker = Waker::from(Arc::clone(&count));
        let cx = &mut Context::from_waker(&waker);
        reply.head(Response::new(()), false);
        let mut sent = 0;
        while let Poll::Ready(room) = reply.poll_room(cx) {
            let piece = room.unwrap().min(1000);
            reply.data(&vec![b'x'; piece]);
            sent += piece;
        }
        assert!(sent > HELD / 2 && sent <= HELD, "{sent}");
        let mut body = body_of(&mut future, cx);
        let woken = count.0.load(Ordering::Relaxed);
        let mut read = 0;
        while count.0.load(Ordering::Relaxed) == woken {
            match Pin::new(&mut body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => read += frame.data_ref().map_or(0, Bytes::len),
                other => unreachable!("{other:?} after {read} of {sent}"),
            }
        }
        assert!(read >= HELD / 3 && read < sent, "{read} of {sent}");
        assert!(reply.poll_room(cx).is_ready());
    }

    #[test]
    fn each_side_learns_that_the_other_has_gone() {
        let cx = &mut Context::from_waker(Waker::noop());
        let (reply, mut future) = pair();
        assert!(Pin::new(&mut future).poll(cx).is_pending());
        reply.cut(Fault::RequestTimeout);
        assert!(matches!(Pin::new(&mut future).poll(cx), Poll::Ready(Ok(page)) if page.status() == 503));

        let (reply, mut future) = pair();
        reply.head(Response::new(()), false);
        reply.data(b"some");
        let mut body = body_of(&mut future, cx);
        drop(reply);
        assert!(matches!(Pin::new(&mut body).poll_frame(cx), Poll::Ready(Some(Ok(_)))));
        assert!(matches!(Pin::new(&mut body).poll_frame(cx), Poll::Ready(Some(Err(ResponseCut)))));

        let (reply, mut future) = pair();
        let mut head = Response::new(());
        head.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("4"));
        reply.head(head, false);
        reply.data(b"some");
        let mut body = body_of(&mut future, cx);
        assert!(matches!(Pin::new(&mut body).poll_frame(cx), Poll::Ready(Some(Ok(_)))));
        drop(body);
        assert!(reply.poll_gone(cx).is_pending(), "it has all it was promised");

        let (reply, future) = pair();
        assert!(reply.poll_gone(cx).is_pending());
        drop(future);
        assert!(reply.poll_gone(cx).is_ready());
        assert!(matches!(reply.poll_room(cx), Poll::Ready(Err(_))));
    }
}
