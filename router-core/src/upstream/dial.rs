//! A new connection to a dyno, within the time allowed.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    task::Poll,
};

use tokio::net::TcpStream;

use crate::{
    route::{Moment, retry::ConnectFailure},
    worker::{Worker, sweep::Timer},
};

/// Connects, or says how it failed.
///
/// # Cancel safety
/// Dropped, the attempt is given up.
pub(crate) async fn dial(
    worker: &Worker,
    timer: &Timer,
    address: SocketAddr,
    deadline: Moment,
) -> Result<TcpStream, ConnectFailure> {
    let mut connecting = pin!(TcpStream::connect(address));
    let connected = poll_fn(|cx| {
        if let Poll::Ready(connected) = connecting.as_mut().poll(cx) {
            return Poll::Ready(connected);
        }
        if worker.now() >= deadline {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        timer.set(cx, deadline);
        Poll::Pending
    });
    match connected.await {
        // A dead dyno's port on this machine may be the very one the system chose for our end: nobody is there.
        Ok(stream) if is_ourselves(&stream) => Err(ConnectFailure::Refused),
        Ok(stream) => {
            // Only a hint; a connection without it is merely slower.
            drop(stream.set_nodelay(true));
            Ok(stream)
        }
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(ConnectFailure::TimedOut),
        Err(_) => Err(ConnectFailure::Refused),
    }
}

fn is_ourselves(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(here), Ok(there)) if here == there)
}
