//! What becomes of an upgraded connection: plain bytes both ways, each way until its sender closes it.

use std::task::{Context, Poll};

use super::{Client, downlink::WaitsFor, exchange::Exchange};
use crate::io::Transport;

/// How far a tunnel got.
#[derive(Debug, Default)]
pub(super) struct Tunnel {
    /// Nothing more comes from the client, and the dyno was told.
    to_dyno_closed: bool,
    /// Nothing more comes from the dyno, and the client was told.
    to_client_closed: bool,
    moved: u64,
}

impl Tunnel {
    /// Carries on; ready when both ways are closed, or one is broken.
    pub(super) fn poll<C: Client>(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange<'_, '_, C>,
    ) -> Poll<()> {
        let upward = self.poll_to_dyno(cx, exchange);
        let downward = self.poll_to_client(cx, exchange);
        let moved = exchange.up.sent + exchange.down.received + exchange.call.client.bytes_sent();
        if moved != self.moved {
            self.moved = moved;
            exchange.clock.tunnel_moved(exchange.call.worker.now());
        }
        match (upward, downward) {
            (Way::Broken, _) | (_, Way::Broken) | (Way::Closed, Way::Closed) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }

    fn poll_to_dyno<C: Client>(&mut self, cx: &mut Context<'_>, exchange: &mut Exchange<'_, '_, C>) -> Way {
        if self.to_dyno_closed {
            return Way::Closed;
        }
        let Exchange { up, line: Some(line), call, .. } = exchange else { return Way::Broken };
        match up.poll(cx, &[], call.client, &mut line.stream) {
            Poll::Pending => Way::Open,
            Poll::Ready(Ok(())) if up.is_whole() => {
                self.to_dyno_closed = line.stream.poll_close_send(cx).is_ready();
                Way::Closed
            }
            Poll::Ready(_) => Way::Broken,
        }
    }

    fn poll_to_client<C: Client>(&mut self, cx: &mut Context<'_>, exchange: &mut Exchange<'_, '_, C>) -> Way {
        if self.to_client_closed {
            return Way::Closed;
        }
        let Exchange { down, line: Some(line), call, .. } = exchange else { return Way::Broken };
        match down.poll_relay(cx, call.worker, call.client, &mut line.stream, &mut WaitsFor::Dyno) {
            Poll::Pending => Way::Open,
            Poll::Ready(Ok(())) if down.poll_flush(cx, call.client).is_pending() => Way::Open,
            Poll::Ready(Ok(())) => {
                self.to_client_closed = call.client.poll_close_send(cx).is_ready();
                Way::Closed
            }
            Poll::Ready(Err(_)) => Way::Broken,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    Closed,
    Broken,
}
