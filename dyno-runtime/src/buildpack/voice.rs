//! What a build says, line by line, to somebody who may not listen.

use bytes::Bytes;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

/// Says lines, and waits until they are taken; but not when the build is to stop, or its time is over: what nobody takes
/// then is not said.
pub(super) struct Voice<'b> {
    pub(super) lines: &'b mpsc::Sender<Bytes>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) until: Instant,
}

impl Voice<'_> {
    pub(super) async fn say(&self, line: impl Into<Bytes>) {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            // Nobody may hear it; what is built is built all the same.
            _ = self.lines.send(line.into()) => {}
            Ok(_) = stop.wait_for(|stop| *stop) => {}
            () = sleep_until(self.until) => {}
        }
    }
}
