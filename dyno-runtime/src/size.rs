//! Dyno sizes: how much one dyno of a process type gets. Pure.
//!
//! | size | memory quota | CPU shares | processes and threads |
//! |---|---|---|---|
//! | `eco`, `basic`, `standard-1x` | 512 MB | 1024 | 256 |
//! | `standard-2x` | 1 GB | 2048 | 512 |
//! | `private-s` | 1 GB | 12288 | 512 |
//! | `performance-m` | 2.5 GB | 12288 | 16384 |
//! | `performance-l` | 14 GB | 51200 | 32768 |
//! | `performance-l-ram` | 30 GB | 24576 | 24576 |
//! | `performance-xl` | 62 GB | 51200 | 32768 |
//! | `performance-2xl` | 126 GB | 102400 | 65536 |
//! | `custom-1GiB`, `custom-1GiB-2048`, `custom-1GiB-2048-512` | as written | 1024 if not written | 256 if not written |
//!
//! Names, quotas and counts are Heroku's (MB and GB as there: 1024 × 1024 and so on). Heroku's CPU is given as a
//! multiple of one ordinary share: so it is here. Nobody has a machine to itself.

use std::{fmt, str::FromStr};

use crate::cgroup::Limits;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// How much a dyno gets.
///
/// ```
/// use dyno_runtime::Size;
/// let size: Size = "standard-2x".parse().unwrap();
/// assert_eq!((size.to_string().as_str(), size.limits().memory), ("Standard-2X", Some(1 << 30)));
/// assert_eq!("custom-768MiB-512".parse::<Size>().unwrap().limits().cpu_shares, Some(512));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Listed(&'static Listed),
    Custom(Share),
}

#[derive(Debug, PartialEq, Eq)]
struct Listed {
    name: &'static str,
    share: Share,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    memory: u64,
    cpu_shares: u32,
    pids: u32,
}

const fn listed(name: &'static str, memory: u64, cpu_shares: u32, pids: u32) -> Listed {
    Listed { name, share: Share { memory, cpu_shares, pids } }
}

static TABLE: [Listed; 10] = [
    listed("Eco", 512 * MIB, 1024, 256),
    listed("Basic", 512 * MIB, 1024, 256),
    listed("Standard-1X", 512 * MIB, 1024, 256),
    listed("Standard-2X", GIB, 2048, 512),
    listed("Private-S", GIB, 12_288, 512),
    listed("Performance-M", 2560 * MIB, 12_288, 16_384),
    listed("Performance-L", 14 * GIB, 51_200, 32_768),
    listed("Performance-L-RAM", 30 * GIB, 24_576, 24_576),
    listed("Performance-XL", 62 * GIB, 51_200, 32_768),
    listed("Performance-2XL", 126 * GIB, 102_400, 65_536),
];

/// Names that sizes had before; `app.json` files still use them.
const FORMER: [(&str, &str); 4] =
    [("free", "eco"), ("hobby", "basic"), ("1x", "standard-1x"), ("2x", "standard-2x")];

/// No such size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no dyno size; there are {all} and custom-MEMORY-CPU-PROCESSES, like custom-1GiB-2048-512", all = names())]
pub struct NoSize(String);

fn names() -> String {
    TABLE.iter().map(|listed| listed.name.to_lowercase()).collect::<Vec<_>>().join(", ")
}

impl Size {
    /// All sizes that have a name, smallest first.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|listed| Self(Kind::Listed(listed)))
    }

    /// What a dyno of this size may use.
    pub fn limits(self) -> Limits {
        let Share { memory, cpu_shares, pids } = match self.0 {
            Kind::Listed(listed) => listed.share,
            Kind::Custom(share) => share,
        };
        Limits { memory: Some(memory), cpu_shares: Some(cpu_shares), pids: Some(pids), ..Limits::default() }
    }

    /// As it is written: `standard-2x`.
    pub fn to_word(self) -> String {
        match self.0 {
            Kind::Listed(listed) => listed.name.to_lowercase(),
            Kind::Custom(_) => self.to_string().to_lowercase(),
        }
    }
}

impl fmt::Display for Size {
    /// As Heroku shows it: `Standard-2X`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Listed(listed) => f.write_str(listed.name),
            Kind::Custom(Share { memory, cpu_shares, pids }) => {
                write!(f, "custom-{}MiB-{cpu_shares}-{pids}", memory / MIB)
            }
        }
    }
}

impl FromStr for Size {
    type Err = NoSize;
    /// In any case.
    fn from_str(text: &str) -> Result<Self, NoSize> {
        let word = text.to_ascii_lowercase();
        let word = FORMER.iter().find(|(former, _)| *former == word).map_or(word.as_str(), |(_, now)| now);
        let listed = TABLE.iter().find(|listed| listed.name.eq_ignore_ascii_case(word));
        let size = listed.map(Kind::Listed).or_else(|| custom(word).map(Kind::Custom));
        size.map(Self).ok_or_else(|| NoSize(text.to_owned()))
    }
}

/// `custom-1gib-2048-512`; the last two may be missing.
fn custom(word: &str) -> Option<Share> {
    let mut parts = word.strip_prefix("custom-")?.split('-');
    let memory = memory(parts.next()?)?;
    let mut number = |usual: u32, least: u32, most: u32| match parts.next() {
        None => Some(usual),
        Some(part) => part.parse().ok().filter(|n| (least..=most).contains(n)),
    };
    let (cpu_shares, pids) = (number(1024, 2, 262_144)?, number(256, 1, 4_194_304)?);
    parts.next().is_none().then_some(Share { memory, cpu_shares, pids })
}

/// Whole mebibytes from 4 MiB to 1024 GiB: less holds no program.
fn memory(text: &str) -> Option<u64> {
    let units = [("mib", MIB), ("gib", GIB), ("mb", MIB), ("gb", GIB)];
    let (number, unit) = units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let bytes = number.parse::<u64>().ok().filter(|_| digits)?.checked_mul(*unit)?;
    (4 * MIB..=1024 * GIB).contains(&bytes).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_herokus() {
        for (name, memory, pids) in [
            ("eco", 536_870_912, 256),
            ("Standard-2X", 1_073_741_824, 512),
            ("PERFORMANCE-M", 2_684_354_560, 16_384),
            ("performance-l", 15_032_385_536, 32_768),
            ("hobby", 536_870_912, 256),
        ] {
            let limits = name.parse::<Size>().unwrap().limits();
            assert_eq!((limits.memory, limits.pids), (Some(memory), Some(pids)), "{name}");
        }
    }

    #[test]
    fn every_size_reads_back_what_it_writes() {
        for size in Size::all() {
            assert_eq!([size.to_string().parse(), size.to_word().parse()], [Ok(size), Ok(size)]);
        }
    }

    #[test]
    fn what_is_no_size_is_told_which_there_are() {
        for bad in [
            "",
            "standard",
            "custom",
            "custom-",
            "custom-1",
            "custom-1KiB",
            "custom-1MiB",
            "custom-1GiB-1",
            "custom-1GiB-9-9-9",
            "custom-+1GiB",
        ] {
            assert!(bad.parse::<Size>().is_err(), "{bad:?}");
        }
        let told = "huge".parse::<Size>().unwrap_err().to_string();
        assert!(told.contains("eco, basic, standard-1x") && told.contains("custom-1GiB-2048-512"), "{told}");
    }

    proptest! {
        #[test]
        fn a_custom_size_reads_back_what_it_writes(mib in 4u64..1_048_576, cpu in 2u32..=262_144, pids in 1u32..4_194_304) {
            let size: Size = format!("custom-{mib}MiB-{cpu}-{pids}").parse().unwrap();
            prop_assert_eq!(size.to_string().parse(), Ok(size));
            prop_assert_eq!(size.limits().memory, Some(mib << 20));
        }
    }
}
