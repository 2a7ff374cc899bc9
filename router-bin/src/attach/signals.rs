//! What the machine wants of whoever is attached.

use std::io;

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// Those that end us.
const ENDING: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];
/// Those that are about our terminal, which is raw.
const ABOUT_TERMINAL: [Signal; 3] = [Signal::WINCH, Signal::TSTP, Signal::CONT];

/// The signals to come. They do nothing by themselves any more.
pub(super) struct Signals(Vec<(Signal, Stream)>);

impl Signals {
    /// From now on; those about a terminal, too, if ours is `raw`.
    ///
    /// # Errors
    /// The system lets nobody listen.
    pub(super) fn listen(raw: bool) -> io::Result<Self> {
        let about_terminal = ABOUT_TERMINAL.into_iter().filter(|_| raw);
        let listen = |one: Signal| Ok((one, signal(SignalKind::from_raw(one.as_raw()))?));
        ENDING.into_iter().chain(about_terminal).map(listen).collect::<io::Result<_>>().map(Self)
    }

    /// The next one. Cancel safe.
    pub(super) async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            let mut each = self.0.iter_mut();
            let come = each.find_map(|(one, stream)| stream.poll_recv(context).is_ready().then_some(*one));
            come.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
        })
        .await
    }
}
