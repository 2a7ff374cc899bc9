//! What is measured, as a file that can be read, copied and changed.
//!
//! - [`Scenario`]: one. [`named`], [`NAMES`]: those that come with the program, from `benches/scenarios/`.

use std::{num::NonZeroUsize, time::Duration};

use serde::{Deserialize, Deserializer};

use crate::{
    load::plan::{Arrivals, Protocol, RATES, Session},
    origin::Latency,
    units,
};

/// A scenario.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// What the generator does.
    pub load: Load,
    /// What the dynos are like.
    pub dynos: Dynos,
    /// How often a route is changed while it runs.
    pub change_every: Option<Duration>,
    /// The file.
    pub text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    about: String,
    #[serde(default)]
    load: Load,
    #[serde(default)]
    dynos: Dynos,
    #[serde(default, deserialize_with = "span")]
    change_every: Option<Duration>,
}

/// What the generator does.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Load {
    /// How many connections.
    pub connections: usize,
    /// What is asked for.
    pub path: String,
    /// Bytes of body of each request.
    #[serde(deserialize_with = "size")]
    pub upload: usize,
    /// How requests are carried.
    pub protocol: Protocol,
    /// How TLS sessions begin; none is without TLS.
    pub tls: Option<Session>,
    /// Requests per second; none is a closed loop.
    pub rate: Option<Rate>,
    /// How they are spread.
    pub arrivals: Arrivals,
    /// Connections that are opened before, do one request each, and are held.
    pub idle_connections: usize,
    /// How long an answer may take.
    #[serde(deserialize_with = "some_span")]
    pub timeout: Duration,
}

/// Requests per second.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Rate {
    /// So many.
    PerSecond(f64),
    /// So much of what a proxy can do.
    Share(Share),
}

/// A share of what a proxy can do in a closed loop.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// From 0 to 1, or more.
    pub share: f64,
    /// Which proxy.
    pub of: String,
}

/// What the dynos are like.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dynos {
    /// How many.
    pub number: usize,
    /// How long an answer takes.
    pub latency: Latency,
    /// How many requests each serves at once; none is any number.
    pub concurrency: Option<NonZeroUsize>,
    /// One of them is so many times slower.
    pub slow_one: Option<f64>,
    /// The proxy gives each only so many requests at once and queues the rest, if it can.
    pub queue_at: Option<NonZeroUsize>,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            connections: 64,
            path: "/".into(),
            upload: 0,
            protocol: Protocol::Http1,
            tls: None,
            rate: None,
            arrivals: Arrivals::Constant,
            idle_connections: 0,
            timeout: Duration::from_secs(30),
        }
    }
}

impl Default for Dynos {
    fn default() -> Self {
        Self { number: 4, latency: Latency::None, concurrency: None, slow_one: None, queue_at: None }
    }
}

impl Scenario {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with the text, and where.
    pub fn read(name: &str, text: &str) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|error| format!("scenario {name}: {error}"))?;
        let Written { about, load, dynos, change_every } = written;
        let streams = if let Protocol::Http2 { streams } = load.protocol { streams } else { 1 };
        let at_once = load.connections.saturating_mul(streams);
        if !(1..=100).contains(&dynos.number) || !(1..=100_000).contains(&at_once) {
            return Err(format!(
                "scenario {name}: 1 to 100 dynos and 1 to 100000 requests at once are possible"
            ));
        }
        let rate = match &load.rate {
            None => 1.0,
            Some(Rate::PerSecond(number) | Rate::Share(Share { share: number, .. })) => *number,
        };
        if !RATES.contains(&rate) {
            return Err(format!("scenario {name}: a rate of {rate} cannot be kept"));
        }
        Ok(Self { name: name.to_owned(), about, load, dynos, change_every, text: text.to_owned() })
    }

    /// Whether clients speak plain HTTP/1.1 with it.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.load.tls.is_none()
            && matches!(self.load.protocol, Protocol::Http1 | Protocol::Http1PerConnection)
    }

    /// Whether the dynos answer at once.
    #[must_use]
    pub fn is_instant(&self) -> bool {
        self.dynos.latency == Latency::None && self.dynos.concurrency.is_none()
    }
}

macro_rules! scenarios {
    ($($name:literal)*) => {
        /// The scenarios that come with the program.
        pub const NAMES: &[&str] = &[$($name),*];

        /// The scenario of that name, if it comes with the program.
        #[must_use]
        pub fn named(name: &str) -> Option<Result<Scenario, String>> {
            match name {
                $($name => Some(Scenario::read(name, include_str!(concat!("../../scenarios/", $name, ".toml")))),)*
                _ => None,
            }
        }
    };
}

scenarios! {
    "small-64" "small-512" "small-1k" "small-1k-idle-10k" "download-1m" "upload-64k" "tls-keepalive" "tls-handshake" "tls-idle-10k"
    "h2"
    "fixed-rate-50" "websocket" "churn" "overload-3x" "slow-dyno" "slow-dyno-single" "heavy-tail" "heavy-tail-queue"
}

fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    some_span(deserializer).map(Some)
}

fn some_span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    units::duration(&text).map_err(serde::de::Error::custom)
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let text = String::deserialize(deserializer)?;
    let size = units::size(&text).map_err(serde::de::Error::custom)?;
    usize::try_from(size).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_that_comes_along_can_be_read() {
        for name in NAMES {
            let scenario = named(name).unwrap().unwrap();
            assert!(!scenario.about.is_empty(), "{name}");
        }
        assert!(named("nonsense").is_none());
    }

    #[test]
    fn every_file_of_the_folder_comes_along() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        let mut names: Vec<&str> = NAMES.to_vec();
        files.sort_unstable();
        names.sort_unstable();
        assert_eq!(files, names);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(Scenario::read("x", "about = 'y'\nlatency = 'none'").is_err());
        assert!(Scenario::read("x", "about = 'y'\n[load]\nconnection = 1").is_err());
        assert!(Scenario::read("x", "about = 'y'\n[dynos]\nnumber = 0").is_err());
        assert!(Scenario::read("x", "about = 'y'\n[load]\nrate = 0").is_err());
    }
}
