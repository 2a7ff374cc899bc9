//! The end of an app: nobody commands it any more.

use super::{Actor, Live, Order};
use crate::life::{Phase, Why};

/// What becomes of its dynos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervise) enum End {
    /// They stop.
    Stop,
    /// They go on without a runtime, for the next one.
    Leave,
}

impl Actor {
    pub(super) async fn end(mut self, how: End) {
        // Who waits for a release command learns that it is too late.
        (self.release, self.staged) = (None, None);
        match how {
            End::Stop => self.stop().await,
            End::Leave => self.leave().await,
        }
        drop(self.web);
        // Each call to the registry is bounded, and there is at most one more.
        let _reported = self.reporter.await;
    }

    /// Web dynos first: what their last requests need should still be there.
    async fn stop(&mut self) {
        self.slots.clear();
        self.report();
        self.tell_all(|live| live.dyno.process_type.is_web());
        let mut others_told = false;
        while !self.lives.is_empty() {
            let serving = |live: &Live| {
                live.dyno.process_type.is_web() && (live.phase != Phase::Stopping || live.draining)
            };
            if !others_told && !self.lives.values().any(serving) {
                others_told = true;
                self.tell_all(|_| true);
            }
            let Some(event) = self.from_dynos.recv().await else { break };
            self.hear(event);
        }
    }

    /// What they are now, the next runtime finds.
    async fn leave(&mut self) {
        self.slots.clear();
        self.house.leaves.send_replace(true);
        // One that was not launched yet awaits somebody, and is not to begin.
        self.tell_all(|live| live.phase == Phase::Created);
        while !self.lives.is_empty() {
            let Some(event) = self.from_dynos.recv().await else { break };
            self.hear(event);
        }
    }

    fn tell_all(&self, which: impl Fn(&Live) -> bool) {
        for (generation, _) in self.lives.iter().filter(|(_, live)| which(live)) {
            self.tell(Some(*generation), Order::Stop(Why::Down));
        }
    }
}
