//! How long an origin takes to answer: a distribution, drawn from with a seed.
//!
//! Written `none`, `fixed:20ms`, `exp:20ms` (mean), `lognormal:46ms:1.9` (median, sigma), `bimodal:50ms:1s:0.05`
//! (usual, slow, share of the slow ones).

use std::{fmt, str::FromStr, time::Duration};

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::units;

/// Longest service time that is drawn: as the router gives up on a dyno after 30 s.
const LONGEST: Duration = Duration::from_secs(30);

/// A distribution of service times.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Latency {
    /// Answers at once.
    #[default]
    None,
    /// Always the same.
    Fixed(Duration),
    /// Exponential, by its mean.
    Exponential(Duration),
    /// Lognormal, by its median and the standard deviation of the logarithm.
    Lognormal(Duration, f64),
    /// Mostly the first, and with this probability the second.
    Bimodal(Duration, Duration, f64),
}

impl Latency {
    /// One service time, at most 30 s.
    pub fn draw(&self, rng: &mut Rng) -> Duration {
        let drawn = match *self {
            Self::None => Duration::ZERO,
            Self::Fixed(time) => time,
            Self::Exponential(mean) => times(mean, -(1.0 - rng.f64()).ln()),
            Self::Lognormal(median, sigma) => times(median, (sigma * normal(rng)).exp()),
            Self::Bimodal(usual, slow, share) => {
                if rng.f64() < share {
                    slow
                } else {
                    usual
                }
            }
        };
        drawn.min(LONGEST)
    }

    /// The mean, as if nothing were cut off at 30 s.
    #[must_use]
    pub fn mean(&self) -> Duration {
        match *self {
            Self::None => Duration::ZERO,
            Self::Fixed(time) | Self::Exponential(time) => time,
            Self::Lognormal(median, sigma) => times(median, (sigma * sigma / 2.0).exp()),
            Self::Bimodal(usual, slow, share) => times(usual, 1.0 - share) + times(slow, share),
        }
    }

    /// The same distribution, every time multiplied.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        match self {
            Self::None => Self::None,
            Self::Fixed(time) => Self::Fixed(times(time, factor)),
            Self::Exponential(mean) => Self::Exponential(times(mean, factor)),
            Self::Lognormal(median, sigma) => Self::Lognormal(times(median, factor), sigma),
            Self::Bimodal(usual, slow, share) => {
                Self::Bimodal(times(usual, factor), times(slow, factor), share)
            }
        }
    }
}

fn times(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(LONGEST)
}

/// Standard normal, by Box and Muller.
fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

impl FromStr for Latency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        match *parts.as_slice() {
            ["none"] => Ok(Self::None),
            ["fixed", time] => Ok(Self::Fixed(units::duration(time)?)),
            ["exp", mean] => Ok(Self::Exponential(units::duration(mean)?)),
            ["lognormal", median, sigma] => {
                Ok(Self::Lognormal(units::duration(median)?, number(sigma, 10.0)?))
            }
            ["bimodal", usual, slow, share] => {
                Ok(Self::Bimodal(units::duration(usual)?, units::duration(slow)?, number(share, 1.0)?))
            }
            _ => Err(format!(
                "`{text}` is no distribution; write none, fixed:20ms, exp:20ms, lognormal:46ms:1.9 or bimodal:50ms:1s:0.05"
            )),
        }
    }
}

fn number(text: &str, most: f64) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=most).contains(number));
    number.ok_or_else(|| format!("`{text}` is not a number from 0 to {most}"))
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |time: &Duration| format!("{}us", time.as_nanos() as f64 / 1e3);
        match self {
            Self::None => f.write_str("none"),
            Self::Fixed(time) => write!(f, "fixed:{}", us(time)),
            Self::Exponential(mean) => write!(f, "exp:{}", us(mean)),
            Self::Lognormal(median, sigma) => write!(f, "lognormal:{}:{sigma}", us(median)),
            Self::Bimodal(usual, slow, share) => write!(f, "bimodal:{}:{}:{share}", us(usual), us(slow)),
        }
    }
}

impl TryFrom<String> for Latency {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Latency> for String {
    fn from(latency: Latency) -> Self {
        latency.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: [&str; 5] =
        ["none", "fixed:20000us", "exp:20000us", "lognormal:46000us:1.9", "bimodal:50000us:1000000us:0.05"];

    #[test]
    fn what_is_written_is_what_is_shown() {
        for text in WRITTEN {
            assert_eq!(text.parse::<Latency>().map(|latency| latency.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "fixed", "fixed:20", "exp:1s:2", "bimodal:1s:2s:1.5", "lognormal:1s:-1"] {
            assert!(text.parse::<Latency>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_mean_of_many_is_the_mean() {
        for latency in WRITTEN.map(|text| text.parse::<Latency>().unwrap()) {
            let latency = latency.times(0.01); // far from the limit of 30 s
            let mut rng = Rng::with_seed(7);
            let sum: f64 = (0..400_000).map(|_| latency.draw(&mut rng).as_secs_f64()).sum();
            let (drawn, expected) = (sum / 400_000.0, latency.mean().as_secs_f64());
            assert!((drawn - expected).abs() <= expected * 0.05, "{latency}: {drawn} instead of {expected}");
        }
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let latency: Latency = "exp:20ms".parse().unwrap();
        let draw = |seed| {
            let mut rng = Rng::with_seed(seed);
            [(); 9].map(|()| latency.draw(&mut rng))
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
