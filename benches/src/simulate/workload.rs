//! Who comes when, to which router, and for how long: the same for every policy and any number of routers.

use std::time::Duration;

use fastrand::Rng;

use super::{Service, Setup};

/// One request before it has come.
pub(super) struct Arrival {
    /// After the one before it.
    pub(super) gap: Duration,
    /// How long a dyno in good health will need for it.
    pub(super) service: Duration,
    /// Which router it comes to.
    pub(super) router: usize,
}

/// All requests of a run, in their order. Each quality has chance of its own, so that one does not shift another.
pub(super) struct Workload {
    left: u64,
    mean_gap_us: f64,
    service: Service,
    routers: u32,
    gaps: Rng,
    services: Rng,
    ways: Rng,
}

impl Workload {
    pub(super) fn of(setup: &Setup) -> Self {
        let mut seeds = Rng::with_seed(setup.seed);
        Self {
            left: setup.requests,
            mean_gap_us: setup.mean_gap_us(),
            service: setup.service,
            routers: setup.routers,
            gaps: seeds.fork(),
            services: seeds.fork(),
            ways: seeds.fork(),
        }
    }
}

impl Iterator for Workload {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        self.left = self.left.checked_sub(1)?;
        let gap = -self.mean_gap_us * (1.0 - self.gaps.f64()).ln();
        Some(Arrival {
            gap: Duration::from_micros(gap.round() as u64),
            service: self.service.draw(&mut self.services),
            router: self.ways.u32(..self.routers) as usize,
        })
    }
}
