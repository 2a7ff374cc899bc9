//! Many experiments: a study.
//!
//! - [`Study`]: which values each quality takes; [`Study::groups`] crosses them.
//! - [`Group`]: experiments that differ in policy and routers only, so that they can be compared line by line.

use serde::{Deserialize, Serialize};

use super::{Outcome, Policy, Service, Setup, Trouble, run, world::SetupError};

/// Which values each quality takes.
#[derive(Debug, Clone)]
pub struct Study {
    /// How requests are routed.
    pub policies: Vec<Policy>,
    /// How many routers there are.
    pub routers: Vec<u32>,
    /// Where everything is crossed with everything.
    pub grids: Vec<Grid>,
    /// How many requests each experiment has; `None`: [`enough`] for its dynos.
    pub requests: Option<u64>,
    /// Where chance comes from.
    pub seed: u64,
}

/// Everything is crossed with everything.
#[derive(Debug, Clone)]
pub struct Grid {
    /// How many dynos.
    pub dynos: Vec<u32>,
    /// How long requests take.
    pub services: Vec<Service>,
    /// Share of what the dynos can serve.
    pub loads: Vec<f64>,
    /// What goes wrong.
    pub troubles: Vec<Trouble>,
}

/// Experiments on the same dynos with the same requests.
#[derive(Debug, Clone)]
pub struct Group(Vec<Setup>);

/// What a study writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The version of this format.
    pub format: u32,
    /// One for each experiment, in the order of the study.
    pub outcomes: Vec<Outcome>,
}

impl Results {
    /// Of a whole study.
    #[must_use]
    pub const fn new(outcomes: Vec<Outcome>) -> Self {
        Self { format: 1, outcomes }
    }
}

impl Study {
    /// All of it: minutes.
    #[must_use]
    pub fn full(seed: u64) -> Self {
        let healthy = Grid {
            dynos: vec![10, 100, 1000],
            services: Service::ALL.into(),
            loads: vec![0.5, 0.7, 0.9],
            troubles: vec![Trouble::None],
        };
        let troubled = Grid {
            dynos: vec![10, 100],
            services: Service::ALL.into(),
            loads: vec![0.7],
            troubles: vec![Trouble::Slow(5), Trouble::Slow(20), Trouble::Crash],
        };
        Self {
            policies: Policy::ALL.into(),
            routers: vec![1, 8],
            grids: vec![healthy, troubled],
            requests: None,
            seed,
        }
    }

    /// The published load on ten dynos, with few requests: seconds, and rough figures.
    #[must_use]
    pub fn quick(seed: u64) -> Self {
        let grid = Grid {
            dynos: vec![10],
            services: vec![Service::RapGenius],
            loads: vec![0.5, 0.7, 0.9],
            troubles: vec![Trouble::None],
        };
        let troubled = Grid {
            loads: vec![0.7],
            troubles: vec![Trouble::Slow(5), Trouble::Slow(20), Trouble::Crash],
            ..grid.clone()
        };
        Self { grids: vec![grid, troubled], requests: Some(20_000), ..Self::full(seed) }
    }

    /// Its experiments, in order.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        let mut groups = Vec::new();
        for grid in &self.grids {
            for &trouble in &grid.troubles {
                for &service in &grid.services {
                    for &dynos in &grid.dynos {
                        groups
                            .extend(grid.loads.iter().map(|&load| self.group(dynos, service, load, trouble)));
                    }
                }
            }
        }
        groups
    }

    fn group(&self, dynos: u32, service: Service, load: f64, trouble: Trouble) -> Group {
        let (requests, seed) = (self.requests.unwrap_or_else(|| enough(dynos)), self.seed);
        let with = |routers, policy| Setup { policy, routers, dynos, service, load, trouble, requests, seed };
        let rows =
            self.routers.iter().flat_map(|&k| self.policies.iter().map(move |&policy| with(k, policy)));
        Group(rows.collect())
    }
}

impl Group {
    /// Runs all of them.
    ///
    /// # Errors
    /// [`SetupError`]
    pub fn run(&self) -> Result<Vec<Outcome>, SetupError> {
        self.0.iter().map(run).collect()
    }
}

/// How many requests make figures of so many dynos worth reading: the more dynos, the longer until each of them is as busy as it
/// will be.
#[must_use]
pub fn enough(dynos: u32) -> u64 {
    600_000.max(1_000 * u64::from(dynos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_study_crosses_everything_with_everything_once() {
        let study = Study::full(1);
        let setups: Vec<Setup> = study.groups().into_iter().flat_map(|group| group.0).collect();
        // 3 sizes × 3 services × 3 loads, and 2 × 3 × 3 troubles; 6 policies × 2 numbers of routers.
        assert_eq!(setups.len(), (27 + 18) * 12);
        for (at, setup) in setups.iter().enumerate() {
            assert!(!setups[..at].contains(setup), "{setup:?} twice");
        }
    }

    #[test]
    fn results_can_be_read_again() {
        let setup = Setup { requests: 500, ..Study::quick(1).groups()[0].0[0] };
        let results = Results::new(vec![run(&setup).unwrap()]);
        let text = serde_json::to_string(&results).unwrap();
        assert_eq!(serde_json::from_str::<Results>(&text).unwrap(), results);
    }
}
