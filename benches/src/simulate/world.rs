//! The events of an experiment, in their order.
#![expect(clippy::indexing_slicing, reason = "routers and dynos are numbered by the loops that make them")]

use std::{cmp::Reverse, collections::BinaryHeap};

use busbar_registry::NameError;
use fastrand::Rng;
use hdrhistogram::CreationError;
use router_core::route::Moment;
use thiserror::Error;

use super::{
    Outcome, Setup, Trouble,
    dyno::{Began, Dyno},
    outcome::Tally,
    router::{Placed, Request, Router},
    workload::{Arrival, Workload},
};

/// An experiment cannot begin.
#[derive(Debug, Error)]
pub enum SetupError {
    /// There is nobody to send requests to, or nobody who sends them.
    #[error("an experiment needs at least one dyno, one router and one request, and a load above 0")]
    Empty,
    /// A name of the simulated app is not well formed: a bug.
    #[error("cannot name the simulated dynos: {0}")]
    Name(#[from] NameError),
    /// A histogram cannot be made: a bug.
    #[error("cannot make a histogram: {0}")]
    Histogram(#[from] CreationError),
}

/// Plays an experiment until every request that came is answered or failed.
///
/// # Errors
/// [`SetupError`]
pub fn run(setup: &Setup) -> Result<Outcome, SetupError> {
    let mut world = World::new(setup)?;
    while world.step() {}
    Ok(world.tally.outcome(setup))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The request that is next in the workload.
    Arrival,
    /// A dyno is done with the request it serves, if it is still the same life.
    Done {
        dyno: usize,
        life: u32,
    },
    /// A waiting request looks again.
    Look {
        router: usize,
        number: u64,
    },
    Crash {
        dyno: usize,
    },
    Back {
        dyno: usize,
    },
}

struct World {
    now: Moment,
    /// By moment, then in the order in which they were planned.
    events: BinaryHeap<Reverse<(Moment, u64, Event)>>,
    planned: u64,
    workload: Workload,
    next: Option<Arrival>,
    routers: Vec<Router>,
    dynos: Vec<Dyno>,
    tally: Tally,
}

impl World {
    fn new(setup: &Setup) -> Result<Self, SetupError> {
        let Setup { policy, routers, dynos, trouble, requests, seed, .. } = *setup;
        if routers == 0 || dynos == 0 || requests == 0 || setup.load.is_nan() || setup.load <= 0.0 {
            return Err(SetupError::Empty);
        }
        let mut seeds = Rng::with_seed(!seed);
        let mut world = Self {
            now: Moment::START,
            events: BinaryHeap::new(),
            planned: 0,
            workload: Workload::of(setup),
            next: None,
            routers: (0..routers)
                .map(|_| Router::new(policy, dynos, seeds.u64(..)))
                .collect::<Result<_, _>>()?,
            dynos: (0..dynos).map(|_| Dyno::new(1)).collect(),
            tally: Tally::new(setup)?,
        };
        match trouble {
            Trouble::None => {}
            Trouble::Slow(times) => world.dynos[0] = Dyno::new(times),
            Trouble::Crash => {
                let span = setup.mean_gap_us() * requests as f64;
                let [down, up] = Trouble::DOWN.map(|share| Moment::from_micros((span * share) as u64));
                world.plan(down, Event::Crash { dyno: 0 });
                world.plan(up, Event::Back { dyno: 0 });
            }
        }
        world.await_next();
        Ok(world)
    }

    fn plan(&mut self, at: Moment, event: Event) {
        self.events.push(Reverse((at, self.planned, event)));
        self.planned += 1;
    }

    fn await_next(&mut self) {
        self.next = self.workload.next();
        match &self.next {
            Some(arrival) => self.plan(self.now + arrival.gap, Event::Arrival),
            None => self.tally.left = self.in_system(),
        }
    }

    /// Requests at dynos and in routers' queues.
    fn in_system(&self) -> u64 {
        let at_dynos: usize = self.dynos.iter().map(Dyno::len).sum();
        let waiting: usize = self.routers.iter().map(Router::waiting).sum();
        (at_dynos + waiting) as u64
    }

    /// Lets the next event happen; false when there is none.
    fn step(&mut self) -> bool {
        let Some(Reverse((at, _, event))) = self.events.pop() else { return false };
        self.now = at;
        match event {
            Event::Arrival => self.arrive(),
            Event::Done { dyno, life } if life == self.dynos[dyno].life => self.finish(dyno),
            Event::Done { .. } => {}
            Event::Look { router, number } => {
                if let Some(request) = self.routers[router].take_waiting(number) {
                    self.place(request);
                }
            }
            Event::Crash { dyno } => self.crash(dyno),
            Event::Back { dyno } => self.dynos[dyno].recover(),
        }
        true
    }

    fn arrive(&mut self) {
        if let Some(Arrival { service, router, .. }) = self.next.take() {
            let id = (router, self.tally.arrived);
            self.tally.arrived += 1;
            match self.routers[router].admit(id, service, self.now) {
                Some(request) => self.place(request),
                None => self.tally.failed += 1,
            }
        }
        self.await_next();
    }

    /// Places a request, and those that are called because of it.
    fn place(&mut self, request: Box<Request>) {
        let router = request.router;
        let mut next = Some(request);
        while let Some(request) = next {
            let number = request.number;
            let dynos = &self.dynos;
            match self.routers[router].place(request, self.now, |dyno| dynos[dyno].accepts()) {
                Placed::At(dyno, request) => {
                    let began = self.dynos[dyno].take(request);
                    self.began(dyno, began);
                }
                Placed::Waits(Some(until)) => self.plan(until, Event::Look { router, number }),
                Placed::Waits(None) => {}
                Placed::Failed => self.tally.failed += 1,
            }
            next = self.routers[router].next_called();
        }
    }

    fn began(&mut self, dyno: usize, began: Option<Began>) {
        if let Some(Began { number, arrived, takes }) = began {
            self.tally.began(number, self.now.since(arrived));
            self.plan(self.now + takes, Event::Done { dyno, life: self.dynos[dyno].life });
        }
    }

    fn finish(&mut self, dyno: usize) {
        let (done, began) = self.dynos[dyno].finish();
        self.began(dyno, began);
        if let Some(request) = done {
            self.tally.completed(request.number, self.now.since(request.arrived));
            let router = request.router;
            request.answered(self.now);
            // Its place is free from here on, and whoever waits for one is called.
            drop(request);
            self.serve_called(router);
        }
    }

    fn crash(&mut self, dyno: usize) {
        let lost = self.dynos[dyno].crash();
        self.tally.failed += lost.len() as u64;
        drop(lost);
        for router in 0..self.routers.len() {
            self.serve_called(router);
        }
    }

    fn serve_called(&mut self, router: usize) {
        if let Some(request) = self.routers[router].next_called() {
            self.place(request);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::simulate::{Policy, Service};

    fn setup(policy: Policy) -> Setup {
        Setup {
            policy,
            routers: 1,
            dynos: 10,
            service: Service::Exponential,
            load: 0.5,
            trouble: Trouble::None,
            requests: 20_000,
            seed: 1,
        }
    }

    fn every_kind() -> impl Iterator<Item = Setup> {
        Policy::ALL.into_iter().flat_map(|policy| {
            [1, 3].into_iter().flat_map(move |routers| {
                [Trouble::None, Trouble::Slow(5), Trouble::Crash].map(|trouble| Setup {
                    routers,
                    trouble,
                    dynos: 5,
                    load: 0.8,
                    requests: 3_000,
                    service: Service::Bimodal,
                    ..setup(policy)
                })
            })
        })
    }

    #[test]
    fn the_same_seed_gives_the_same_outcome_and_another_one_another() {
        for setup in every_kind() {
            let once = run(&setup).unwrap();
            assert_eq!(once, run(&setup).unwrap());
            let other = run(&Setup { seed: 2, ..setup }).unwrap();
            assert_ne!((once.mean_wait_ms, once.p99_total_ms), (other.mean_wait_ms, other.p99_total_ms));
        }
    }

    #[test]
    fn no_request_is_lost_or_counted_twice() {
        for setup in every_kind() {
            let mut world = World::new(&setup).unwrap();
            while world.step() {
                let Tally { arrived, completed, failed, .. } = world.tally;
                assert_eq!(arrived, completed + failed + world.in_system(), "{setup:?} at {:?}", world.now);
            }
            assert_eq!((world.tally.arrived, world.in_system()), (setup.requests, 0), "{setup:?}");
            for router in &mut world.routers {
                assert_eq!(router.counted(), (0, 0), "{setup:?}");
            }
        }
    }

    #[test]
    fn a_random_split_waits_as_long_as_theory_says_of_m_m_1() {
        for load in [0.5, 0.7] {
            let outcome = run(&Setup { load, requests: 300_000, ..setup(Policy::Random) }).unwrap();
            let theory = 100.0 * load / (1.0 - load);
            let off = outcome.mean_wait_ms / theory - 1.0;
            assert!(off.abs() < 0.05, "{} ms, theory {theory} ms", outcome.mean_wait_ms);
            assert!((outcome.waited - load).abs() < 0.02, "{} waited", outcome.waited);
            // The wait is 0 with probability 1 - load, else exponential.
            let p99 = theory / load * (100.0 * load).ln();
            assert!((outcome.p99_wait_ms / p99 - 1.0).abs() < 0.1, "{} ms, {p99} ms", outcome.p99_wait_ms);
        }
    }

    #[test]
    fn the_central_queue_waits_as_long_as_erlang_says() {
        let (dynos, load) = (10u32, 0.7);
        let outcome = run(&Setup { dynos, load, requests: 300_000, ..setup(Policy::CentralQueue) }).unwrap();
        // Erlang's B by its recursion, then C: the probability of waiting with 10 servers.
        let offered = f64::from(dynos) * load;
        let b = (1..=dynos).fold(1.0, |b, n| offered * b / (f64::from(n) + offered * b));
        let c = b / (1.0 - load * (1.0 - b));
        let theory = c * 100.0 / (f64::from(dynos) * (1.0 - load));
        assert!((outcome.waited - c).abs() < 0.02, "{} waited, theory {c}", outcome.waited);
        assert!((outcome.mean_wait_ms / theory - 1.0).abs() < 0.08, "{} ms, {theory}", outcome.mean_wait_ms);
    }

    #[test]
    fn the_central_queue_never_waits_longer_than_least_and_least_never_longer_than_random() {
        for service in Service::ALL {
            for load in [0.5, 0.7, 0.9] {
                let p99 = |policy| run(&Setup { service, load, ..setup(policy) }).unwrap().p99_wait_ms;
                let [central, least, random] = [Policy::CentralQueue, Policy::Least, Policy::Random].map(p99);
                assert!(central <= least, "{service} {load}: {central} ms, least {least} ms");
                assert!(least <= random, "{service} {load}: {least} ms, random {random} ms");
            }
        }
    }

    #[test]
    fn only_what_a_dyno_had_is_lost_when_it_crashes() {
        for policy in Policy::ALL {
            let mut world =
                World::new(&Setup { trouble: Trouble::Crash, load: 0.7, ..setup(policy) }).unwrap();
            let mut had = 0;
            while world.dynos[0].life == 0 {
                had = world.dynos[0].len() as u64;
                assert!(world.step(), "{policy}: no crash");
            }
            while world.step() {}
            // Other dynos took what the crashed one refused.
            assert_eq!(world.tally.failed, had, "{policy}");
        }
    }

    #[test]
    fn when_the_only_dyno_is_down_requests_wait_for_the_end_of_its_quarantine() {
        let alone = Setup { trouble: Trouble::Crash, dynos: 1, ..setup(Policy::Least) };
        let outcome = run(&alone).unwrap();
        // One request after each quarantine of 5 s finds it still down; the others wait.
        let span = Duration::from_secs_f64(20_000.0 * alone.mean_gap_us() / 1e6 / 10.0);
        let looks = span.as_secs() / 5;
        assert!(outcome.failed >= looks / 2, "{} failed in {looks} looks", outcome.failed);
        assert!(outcome.p999_wait_ms >= 1000.0, "{outcome:?}");
    }

    #[test]
    fn nothing_to_simulate_is_refused() {
        let good = setup(Policy::Least);
        for bad in [
            Setup { dynos: 0, ..good },
            Setup { routers: 0, ..good },
            Setup { requests: 0, ..good },
            Setup { load: 0.0, ..good },
            Setup { load: f64::NAN, ..good },
        ] {
            assert!(matches!(run(&bad), Err(SetupError::Empty)), "{bad:?}");
        }
    }
}
