//! `--limits memory=512MiB,cpu=1024,cpus=1.5,pids=256,disk=20MiB`

use std::str::FromStr;

use dyno_runtime::Limits;

use crate::config::units::scaled;

/// What each dyno may use, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DynoLimits(pub(crate) Limits);

/// Not spelled as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no limit; write memory=512MiB (from 1MiB; KiB, MiB or GiB), cpu=1024 (a share, 2 to 262144), cpus=1.5 \
     (CPUs at most, from 0.01), pids=256 (from 1) or disk=20MiB (per second, from 1KiB), each at most once"
)]
pub(crate) struct NoLimit(String);

impl FromStr for DynoLimits {
    type Err = NoLimit;
    fn from_str(text: &str) -> Result<Self, NoLimit> {
        let mut limits = Limits::default();
        for part in text.split(',') {
            read(part.trim(), &mut limits).ok_or_else(|| NoLimit(part.to_owned()))?;
        }
        Ok(Self(limits))
    }
}

/// Reads one limit; `None` when it is none, or there already.
fn read(part: &str, limits: &mut Limits) -> Option<()> {
    let (what, value) = part.split_once('=')?;
    let number = || value.parse::<u32>().ok();
    let written_before = match what {
        "memory" => limits.memory.replace(memory(value)?).is_some(),
        "cpu" => limits.cpu_shares.replace(number().filter(|n| (2..=262_144).contains(n))?).is_some(),
        "cpus" => limits.cpu_millis.replace(millis(value)?).is_some(),
        "disk" => limits.disk_rate.replace(bytes(value).filter(|rate| *rate >= 1 << 10)?).is_some(),
        "pids" => limits.pids.replace(number().filter(|n| *n > 0)?).is_some(),
        _ => return None,
    };
    (!written_before).then_some(())
}

fn memory(value: &str) -> Option<u64> {
    bytes(value).filter(|bytes| *bytes >= 1 << 20)
}

fn bytes(value: &str) -> Option<u64> {
    scaled(value, &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)])
}

/// `1.5` as 1500, with at most three digits behind the point.
fn millis(value: &str) -> Option<u32> {
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || part.len() > 3 || !digits(whole) || !digits(part) || value.ends_with('.') {
        return None;
    }
    let whole: u32 = whole.parse().ok()?;
    let part: u32 = format!("{part:0<3}").parse().ok()?;
    whole.checked_mul(1000)?.checked_add(part).filter(|millis| (10..=1_000_000).contains(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_in_any_order_and_each_once() {
        let all = Limits {
            memory: Some(512 << 20),
            cpu_shares: Some(100),
            cpu_millis: Some(1500),
            pids: Some(64),
            disk_rate: Some(20 << 20),
        };
        assert_eq!("pids=64,memory=512MiB,cpu=100,disk=20MiB,cpus=1.5".parse(), Ok(DynoLimits(all)));
        let memory = Limits { memory: Some(2 << 30), ..Limits::default() };
        assert_eq!("memory=2GiB".parse(), Ok(DynoLimits(memory)));
        let wrong = [
            "",
            "memory",
            "memory=1",
            "memory=1KiB",
            "disk=1",
            "cpus=0",
            "cpus=1.",
            "cpus=1.0001",
            "cpus=.5",
            "cpu=1",
            "pids=0",
            "pids=1,pids=2",
            "pids=1,",
        ];
        for text in wrong {
            assert!(text.parse::<DynoLimits>().is_err(), "{text}");
        }
    }
}
