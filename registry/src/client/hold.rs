//! [`Holder`]: keeps one dyno registered.
//!
//! It registers, then reads the hold that the server renews the lease for. When that breaks, it takes the lease up
//! again on a new connection; when the lease is gone, it registers again, unless a newer dyno took its place.

use std::time::Duration;

use tokio::{sync::watch, task::JoinHandle, time::sleep};

use super::Client;
use crate::{
    Generation, Lease, Refusal, Registration, Registry,
    wire::{Line, hold_interval},
};

/// How often releasing is tried; after that the lease is left to run out.
const RELEASE_TRIES: u32 = 3;

/// Keeps a dyno registered. Dropping it lets the lease run out; [`Holder::release`] ends it at once.
#[derive(Debug)]
pub struct Holder {
    wish: watch::Sender<Wish>,
    holding: watch::Receiver<Holding>,
    task: JoinHandle<Result<(), Refusal>>,
}

/// How the dyno's registration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holding {
    /// It is not registered; that is being tried again and again.
    Trying {
        /// Why it did not succeed the last time.
        last: Option<Refusal>,
    },
    /// It is registered and gets requests.
    Up {
        /// The fencing number of its lease.
        generation: Generation,
    },
    /// It is registered and gets no new requests.
    Draining,
    /// A newer dyno has its name or address; this one is not registered any more, and will not be.
    Replaced {
        /// The newer one's fencing number.
        by: Generation,
    },
    /// It was released, or its lease ended while it drained.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    Up,
    Draining,
    Released,
}

impl Holder {
    pub(super) fn start(client: Client, registration: Registration) -> Self {
        let (wish, wished) = watch::channel(Wish::Up);
        let (told, holding) = watch::channel(Holding::Trying { last: None });
        let pause = Backoff::default();
        let keeper = Keeper { client, registration, wished, told, pause, lease: None, after: None };
        Self { wish, holding, task: tokio::spawn(keeper.run()) }
    }

    /// How the registration stands, now and whenever it changes.
    pub fn holding(&self) -> watch::Receiver<Holding> {
        self.holding.clone()
    }

    /// The dyno gets no new requests. Returns when the registry knows, or when the lease has ended.
    ///
    /// Cancel safe: the wish stays.
    pub async fn drain(&self) {
        self.wish.send_if_modified(|wish| std::mem::replace(wish, Wish::Draining) != Wish::Draining);
        let mut holding = self.holding();
        let settled = |now: &Holding| !matches!(now, Holding::Trying { .. } | Holding::Up { .. });
        // An error means that the task is gone, and so is the lease soon.
        let _ = holding.wait_for(settled).await;
    }

    /// Ends the lease. Takes a few call timeouts at most.
    ///
    /// # Errors
    /// When the registry could not be told; the lease runs out by itself then.
    pub async fn release(mut self) -> Result<(), Refusal> {
        self.wish.send_replace(Wish::Released);
        (&mut self.task).await.unwrap_or(Ok(()))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task of a holder.
struct Keeper {
    client: Client,
    registration: Registration,
    wished: watch::Receiver<Wish>,
    told: watch::Sender<Holding>,
    pause: Backoff,
    lease: Option<Lease>,
    /// The generation of the lease that was lost.
    after: Option<Generation>,
}

impl Keeper {
    async fn run(mut self) -> Result<(), Refusal> {
        loop {
            let wish = *self.wished.borrow_and_update();
            let outcome = match (wish, self.lease.clone()) {
                (Wish::Up, None) => self.register().await,
                (Wish::Up, Some(lease)) => self.follow(&lease).await,
                (Wish::Draining, Some(lease)) => self.drain(&lease).await,
                (Wish::Released, Some(lease)) => {
                    let released = self.deregister(&lease).await;
                    self.told.send_replace(Holding::Ended);
                    return released;
                }
                (Wish::Draining | Wish::Released, None) => {
                    self.told.send_replace(Holding::Ended);
                    return Ok(());
                }
            };
            match outcome {
                Ok(()) => {}
                Err(Refusal::Replaced { by, .. }) => {
                    self.told.send_replace(Holding::Replaced { by });
                    return Ok(());
                }
                Err(Refusal::LeaseGone) => self.lost(),
                Err(refusal) => self.rest(refusal).await,
            }
        }
    }

    /// Not cut short by a wish: a registration that nobody knows of would get requests until it runs out.
    async fn register(&mut self) -> Result<(), Refusal> {
        let registration = self.registration.clone();
        let lease = match self.after {
            None => self.client.register(registration).await?,
            Some(after) => self.client.register_again(registration, after).await?,
        };
        self.told.send_replace(Holding::Up { generation: lease.generation });
        self.lease = Some(lease);
        Ok(())
    }

    async fn drain(&mut self, lease: &Lease) -> Result<(), Refusal> {
        if *self.told.borrow() != Holding::Draining {
            self.client.drain(&lease.id).await?;
            self.told.send_replace(Holding::Draining);
        }
        self.follow(lease).await
    }

    /// Reads the hold until it breaks or another wish comes.
    async fn follow(&mut self, lease: &Lease) -> Result<(), Refusal> {
        let (client, interval) = (self.client.clone(), hold_interval(lease.ttl_ms));
        let client = Client { timeout: client.timeout.min(interval), ..client };
        let pause = &mut self.pause;
        let reading = async {
            let mut lines = match client.attach(&lease.id).await {
                Ok(lines) => lines,
                Err(Refusal::Full { .. }) => {
                    client.renew(&lease.id).await?;
                    sleep(interval).await;
                    return Ok(());
                }
                Err(refusal) => return Err(refusal),
            };
            loop {
                match lines.next(2 * interval).await? {
                    Line::Lease(_) | Line::Heartbeat {} => pause.reset(),
                    other @ (Line::Event(_) | Line::Refused(_)) => return Err(lines.unexpected(&other)),
                }
            }
        };
        tokio::select! {
            broken = reading => broken,
            _ = self.wished.changed() => Ok(()),
        }
    }

    async fn deregister(&mut self, lease: &Lease) -> Result<(), Refusal> {
        let mut tries = 1;
        loop {
            match self.client.deregister(&lease.id).await {
                Ok(_) => return Ok(()),
                Err(refusal) if tries == RELEASE_TRIES => return Err(refusal),
                Err(_) => sleep(self.pause.next(fastrand::f64())).await,
            }
            tries += 1;
        }
    }

    fn lost(&mut self) {
        let generation = self.lease.take().map(|lease| lease.generation);
        tracing::info!(app = %self.registration.app, dyno = %self.registration.dyno, "the dyno's lease is gone");
        self.after = generation.or(self.after);
        if *self.wished.borrow() == Wish::Up {
            self.told.send_replace(Holding::Trying { last: Some(Refusal::LeaseGone) });
        }
    }

    /// Waits before the next try, or until another wish comes.
    async fn rest(&mut self, refusal: Refusal) {
        let wait = self.pause.next(fastrand::f64());
        let (app, dyno) = (&self.registration.app, &self.registration.dyno);
        tracing::warn!(%app, %dyno, %refusal, ?wait, "the dyno's registration is not kept");
        if self.lease.is_none() {
            self.told.send_replace(Holding::Trying { last: Some(refusal) });
        }
        tokio::select! {
            () = sleep(wait) => {}
            _ = self.wished.changed() => {}
        }
    }
}

/// The pause before the next try: twice as long each time, and never the same for two holders.
#[derive(Debug)]
struct Backoff {
    longest: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    const LAST: Duration = Duration::from_secs(5);

    /// `random` from 0 to 1 chooses from the upper half of the pause.
    fn next(&mut self, random: f64) -> Duration {
        let longest = self.longest;
        self.longest = (longest * 2).min(Self::LAST);
        longest.mul_f64(0.5 + random / 2.0)
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { longest: Self::FIRST }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew_after_success() {
        let mut pause = Backoff::default();
        let ms: Vec<_> = (0..9).map(|_| pause.next(1.0).as_millis()).collect();
        assert_eq!(ms, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        pause.reset();
        assert_eq!(pause.next(0.0), Duration::from_millis(25));
    }
}
