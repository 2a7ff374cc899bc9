//! A request's body as it comes over a stream. Its window is opened as the dyno takes it, so no more than a window
//! waits here.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use h3::{error::Code, server::RequestStream};
use http::{Request, header};
use http_body::{Body, Frame, SizeHint};

type Stream = RequestStream<h3_quinn::RecvStream, Bytes>;

/// A request's body. Dropped before its end, the client is told that the rest is of no use (RFC 9114 §4.1).
pub(super) struct StreamBody {
    stream: Stream,
    /// It came while the head was read.
    first: Option<Bytes>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Data,
    Trailers,
    Done,
}

/// The stream broke off.
#[derive(Debug)]
pub(super) struct Broken;

impl StreamBody {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, first: None, state: State::Data }
    }

    /// Finds out whether there is a body, where the head does not say it: a head alone and its end come together.
    pub(super) async fn begin(mut self, head: &Request<()>) -> Self {
        let announced = head.headers().contains_key(header::CONTENT_LENGTH);
        let usual = matches!(*head.method(), http::Method::POST | http::Method::PUT | http::Method::PATCH);
        if announced || usual {
            return self;
        }
        match std::future::poll_fn(|cx| self.poll_data(cx)).await {
            Ok(Some(data)) => self.first = Some(data),
            // Trailers alone are no body; an error comes again.
            Ok(None) => self.state = State::Done,
            Err(Broken) => {}
        }
        self
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        let data = ready!(self.stream.poll_recv_data(cx)).map_err(|_| Broken)?;
        Poll::Ready(Ok(data.map(|mut data| data.copy_to_bytes(data.remaining()))))
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if self.state == State::Data {
            match ready!(self.poll_data(cx)) {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(None) => self.state = State::Trailers,
                Err(Broken) => return Poll::Ready(Some(Err(Broken))),
            }
        }
        if self.state == State::Trailers {
            let trailers = ready!(self.stream.poll_recv_trailers(cx));
            self.state = State::Done;
            return match trailers {
                Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(None) => Poll::Ready(None),
                Err(_) => Poll::Ready(Some(Err(Broken))),
            };
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Done && self.first.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        if self.state != State::Done {
            self.stream.stop_sending(Code::H3_NO_ERROR);
        }
    }
}
