//! A way to a dyno, whatever it speaks. The proxy speaks HTTP/1.1 to all of them.
//!
//! - [`Link`]: a connection of its own, or a stream among others.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll},
};

use super::h2::Stream;
use crate::io::{Socket, Transport};

/// A way to a dyno for one request at a time.
pub(crate) enum Link {
    /// A connection in the clear.
    Plain(Box<Socket>),
    /// A stream of a connection that speaks HTTP/2. It is good for one request.
    Stream(Box<Stream>),
}

/// The same for either kind.
macro_rules! either {
    ($link:expr, $way:ident => $deed:expr) => {
        match $link {
            Link::Plain($way) => $deed,
            Link::Stream($way) => $deed,
        }
    };
}

impl Link {
    /// Whether another request may follow over it.
    pub(crate) const fn is_reusable(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Whether it is one of many streams of a connection, which the dyno may turn away unread.
    pub(crate) const fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Whether the dyno has said that it did nothing about the request, and never will.
    pub(crate) fn was_turned_away(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Stream(stream) => stream.was_turned_away(),
        }
    }
}

impl Transport for Link {
    fn poll_recv_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, way => way.poll_recv_ready(cx))
    }
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        either!(self, way => way.poll_recv(cx, buf))
    }
    fn poll_send(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        either!(self, way => way.poll_send(cx, slices))
    }
    fn poll_close_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, way => way.poll_close_send(cx))
    }
}
