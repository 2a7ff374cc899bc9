//! A new connection to a dyno, within the time allowed, which a drain that takes too long ends.

use std::{
    future::{Future, poll_fn},
    io,
    path::Path,
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use busbar_registry::Address;
use tokio::net::{TcpStream, UnixStream};

use crate::{
    io::Socket,
    route::{Moment, retry::ConnectFailure},
    worker::{Worker, sweep::Timer},
};

/// How long a connect that needs patience is left alone before it is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// How many kept connections are closed to make room for a new one when the system has no descriptor left.
const SHED: usize = 16;

/// Connects, or says how it failed. What is not the dyno's fault (its queue of connections is full for a moment, this
/// process has no descriptor left) is tried again until `deadline`.
///
/// # Cancel safety
/// Dropped, the attempt is given up.
pub(crate) async fn dial(
    worker: &Worker,
    timer: &Timer,
    address: &Address,
    deadline: Moment,
) -> Result<Box<Socket>, ConnectFailure> {
    loop {
        let connected = match address {
            Address::Tcp(address) => {
                let connecting = TcpStream::connect(*address);
                within(worker, timer, deadline, connecting).await.and_then(tcp)
            }
            Address::Unix(path) => {
                let connecting = UnixStream::connect::<&Path>(path);
                within(worker, timer, deadline, connecting).await.map(Socket::Unix)
            }
        };
        match connected {
            Ok(socket) => return Ok(Box::new(socket)),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(ConnectFailure::TimedOut),
            Err(error) if is_exhaustion(&error) => {
                worker.counters.dials_without_descriptor.add(1);
                if worker.pool.shed(SHED) + worker.hub.shed() == 0 {
                    pause(worker, timer, deadline).await?;
                }
            }
            // Its queue is full, or all local ports towards it are in use.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::AddrNotAvailable) =>
            {
                pause(worker, timer, deadline).await?;
            }
            Err(_) => return Err(ConnectFailure::Refused),
        }
    }
}

/// Whether the system or this process has no descriptor or memory left for another connection.
fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

fn tcp(stream: TcpStream) -> io::Result<Socket> {
    // A dead dyno's port on this machine may be the very one the system chose for our end: nobody is there.
    if is_ourselves(&stream) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    // Only a hint; a connection without it is merely slower.
    drop(stream.set_nodelay(true));
    Ok(Socket::Tcp(stream))
}

fn is_ourselves(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(here), Ok(there)) if here == there)
}

/// Waits for `connecting`, until `deadline` or until everything is cut.
pub(super) async fn within<T>(
    worker: &Worker,
    timer: &Timer,
    deadline: Moment,
    connecting: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let mut connecting = pin!(connecting);
    poll_fn(|cx| {
        if let Poll::Ready(connected) = connecting.as_mut().poll(cx) {
            return Poll::Ready(connected);
        }
        if worker.now() >= deadline || worker.is_cut() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        timer.set(cx, deadline);
        Poll::Pending
    })
    .await
}

async fn pause(worker: &Worker, timer: &Timer, deadline: Moment) -> Result<(), ConnectFailure> {
    let until = worker.now() + PAUSE;
    poll_fn(|cx: &mut Context<'_>| {
        let now = worker.now();
        if now >= deadline || worker.is_cut() {
            return Poll::Ready(Err(ConnectFailure::TimedOut));
        }
        if now >= until {
            return Poll::Ready(Ok(()));
        }
        timer.set(cx, until.min(deadline));
        Poll::Pending
    })
    .await
}
