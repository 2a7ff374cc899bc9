//! One experiment, as it is asked for.
//!
//! - [`Setup`]: all of it. Two runs of equal setups have equal outcomes.
//! - [`Policy`]: how a router chooses. [`Trouble`]: what goes wrong with one dyno.

use std::{fmt, num::NonZeroU32, str::FromStr};

use busbar_registry::{Balance, Millis, Routing};
use serde::{Deserialize, Serialize};

use super::Service;

/// One experiment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// How each router chooses.
    pub policy: Policy,
    /// How many routers there are; each sees only its own requests.
    pub routers: u32,
    /// How many dynos there are.
    pub dynos: u32,
    /// How long requests take.
    pub service: Service,
    /// Share of what all dynos in good health can serve.
    pub load: f64,
    /// What goes wrong with the first dyno.
    pub trouble: Trouble,
    /// How many requests come. The first tenth counts for nothing but the state it leaves.
    pub requests: u64,
    /// Where chance comes from. Whatever the policy and the number of routers, equal seeds bring the same requests.
    pub seed: u64,
}

impl Setup {
    /// The mean time between two requests, in µs.
    #[must_use]
    pub fn mean_gap_us(&self) -> f64 {
        self.service.mean_us() / (self.load * f64::from(self.dynos))
    }

    /// Whether the policy, blind to how busy a dyno is, sends the slow one more than it can serve. Its waits then grow for as
    /// long as the run lasts.
    #[must_use]
    pub fn grows(&self) -> bool {
        let blind = matches!(self.policy, Policy::Random | Policy::RoundRobin);
        blind && matches!(self.trouble, Trouble::Slow(times) if self.load * f64::from(times) >= 1.0)
    }
}

/// How a router chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Any dyno: Heroku's.
    Random,
    /// One after the other.
    RoundRobin,
    /// The less busy one of two.
    P2c,
    /// Of two, the one with the smaller expected wait.
    PeakEwma,
    /// The least busy one.
    Least,
    /// At most one request at a dyno at a time (`concurrency_per_dyno = 1`), the rest waits in the router.
    CentralQueue,
}

impl Policy {
    /// All of them, as a rule from the longest waits to the shortest.
    pub const ALL: [Self; 6] =
        [Self::Random, Self::RoundRobin, Self::PeakEwma, Self::P2c, Self::Least, Self::CentralQueue];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::RoundRobin => "round_robin",
            Self::P2c => "p2c",
            Self::PeakEwma => "peak_ewma",
            Self::Least => "least",
            Self::CentralQueue => "central_queue",
        }
    }

    /// The settings of an app routed like this. Nothing is refused for being too much, so that what is compared is waiting.
    #[must_use]
    pub fn routing(self) -> Routing {
        let balance = match self {
            Self::Random => Balance::Random,
            Self::RoundRobin => Balance::RoundRobin,
            Self::P2c => Balance::P2c,
            Self::PeakEwma => Balance::PeakEwma,
            Self::Least | Self::CentralQueue => Balance::Least,
        };
        Routing {
            balance,
            concurrency_per_dyno: (self == Self::CentralQueue).then_some(NonZeroU32::MIN),
            queue_limit: u32::MAX,
            in_flight_per_dyno: u32::MAX,
            hold_timeout_ms: Millis(u64::MAX),
            ..Routing::default()
        }
    }
}

/// What goes wrong with the first dyno.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Nothing.
    None,
    /// It takes so many times as long for everything.
    Slow(u32),
    /// In the middle of the run it crashes, and for a tenth of the run connections to it are refused. What it had is lost.
    Crash,
}

impl Trouble {
    /// The moments at which it crashes and is back, as shares of the run.
    pub(super) const DOWN: [f64; 2] = [0.45, 0.55];
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            format!("`{text}` is no policy; there are {names}")
        })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Slow(times) => write!(f, "slow:{times}"),
            Self::Crash => f.write_str("crash"),
        }
    }
}

impl FromStr for Trouble {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "none" => Ok(Self::None),
            None if text == "crash" => Ok(Self::Crash),
            Some(("slow", times)) => {
                let times = times.parse().ok().filter(|times| *times > 0);
                times.map(Self::Slow).ok_or_else(|| format!("`{text}` does not say how slow; write slow:5"))
            }
            _ => Err(format!("`{text}` is no trouble; there are none, slow:5 (any number of times), crash")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_read_again() {
        for policy in Policy::ALL {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        for trouble in [Trouble::None, Trouble::Slow(20), Trouble::Crash] {
            assert_eq!(trouble.to_string().parse(), Ok(trouble));
        }
        for nonsense in ["slow", "slow:0", "slow:x", "gone"] {
            assert!(nonsense.parse::<Trouble>().is_err(), "{nonsense}");
        }
    }

    #[test]
    fn only_a_blind_policy_can_drown_a_slow_dyno() {
        let setup = |policy, times| Setup {
            policy,
            routers: 1,
            dynos: 10,
            service: Service::Exponential,
            load: 0.5,
            trouble: Trouble::Slow(times),
            requests: 1,
            seed: 1,
        };
        assert!(setup(Policy::Random, 2).grows());
        assert!(!setup(Policy::Random, 1).grows());
        assert!(!setup(Policy::Least, 20).grows());
    }
}
