//! How long requests take at a dyno: the three distributions of the study.

use std::{f64::consts::TAU, fmt, str::FromStr, time::Duration};

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::origin::Latency;

/// Median and mean of the published load.
const RAP_GENIUS_MS: (f64, f64) = (46.0, 306.0);
/// [`Latency`] draws nothing longer.
const LONGEST_US: f64 = 30e6;
/// Steps in which a mean is integrated: its error is far below a µs.
const STEPS: u32 = 20_000;

/// A distribution of service times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Lognormal with a median of 46 ms and a mean of 306 ms, cut off at 30 s: the load Rap Genius published in 2013.
    RapGenius,
    /// Exponential with a mean of 100 ms.
    Exponential,
    /// 50 ms, and 1 s for one request in twenty.
    Bimodal,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::RapGenius, Self::Exponential, Self::Bimodal];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RapGenius => "rap-genius",
            Self::Exponential => "exponential",
            Self::Bimodal => "bimodal",
        }
    }

    /// What it is.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::RapGenius => "lognormal, median 46 ms, mean 306 ms, at most 30 s (Rap Genius, 2013)",
            Self::Exponential => "exponential, mean 100 ms",
            Self::Bimodal => "50 ms, and 1 s for 5 % of the requests",
        }
    }

    /// One service time, in whole µs.
    pub(super) fn draw(self, rng: &mut Rng) -> Duration {
        let drawn = self.latency().draw(rng);
        Duration::from_micros((drawn.as_secs_f64() * 1e6).round() as u64)
    }

    /// The same for the origin.
    fn latency(self) -> Latency {
        let millis = Duration::from_millis;
        match self {
            Self::RapGenius => Latency::Lognormal(millis(RAP_GENIUS_MS.0 as u64), sigma()),
            Self::Exponential => Latency::Exponential(millis(100)),
            Self::Bimodal => Latency::Bimodal(millis(50), millis(1000), 0.05),
        }
    }

    /// The mean in µs, of the times as they are cut off.
    #[must_use]
    pub fn mean_us(self) -> f64 {
        match self {
            Self::RapGenius => {
                let width = 16.0 / f64::from(STEPS);
                let slice = |step| {
                    let normal = -8.0 + (f64::from(step) + 0.5) * width;
                    let us = 1e3 * RAP_GENIUS_MS.0 * (sigma() * normal).exp();
                    us.min(LONGEST_US) * (-normal * normal / 2.0).exp()
                };
                (0..STEPS).map(slice).sum::<f64>() * width / TAU.sqrt()
            }
            Self::Exponential | Self::Bimodal => self.latency().mean().as_secs_f64() * 1e6,
        }
    }
}

/// Of the logarithm of the published times: their mean is e^(σ²/2) times their median.
fn sigma() -> f64 {
    let (median, mean) = RAP_GENIUS_MS;
    (2.0 * (mean / median).ln()).sqrt()
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|service| service.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            format!("`{text}` is no distribution of service times; there are {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_has_the_mean_that_is_told() {
        for service in Service::ALL {
            let mut rng = Rng::with_seed(1);
            let times: Vec<f64> = (0..400_000).map(|_| service.draw(&mut rng).as_secs_f64() * 1e6).collect();
            let mean = times.iter().sum::<f64>() / times.len() as f64;
            let told = service.mean_us();
            assert!((mean / told - 1.0).abs() < 0.02, "{service}: {mean} drawn, {told} told");
            assert!(times.iter().all(|us| (0.0..=LONGEST_US).contains(us)));
        }
    }

    #[test]
    fn half_of_the_published_requests_take_no_longer_than_46_ms() {
        let mut rng = Rng::with_seed(2);
        let short = (0..100_000).filter(|_| Service::RapGenius.draw(&mut rng).as_millis() < 46).count();
        assert!((49_000..51_000).contains(&short), "{short}");
        // The cut costs less than a twentieth of the published mean.
        assert!((290e3..306e3).contains(&Service::RapGenius.mean_us()), "{}", Service::RapGenius.mean_us());
    }
}
