//! `--limits memory=512MiB,cpu=1024,pids=256`

use std::str::FromStr;

use dyno_runtime::Limits;

use crate::config::units::scaled;

/// What each dyno may use, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DynoLimits(pub(crate) Limits);

/// Not spelled as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no limit; write memory=512MiB (from 1MiB; KiB, MiB or GiB), cpu=1024 (a share, 2 to 262144) or \
     pids=256 (from 1), each at most once"
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
        "pids" => limits.pids.replace(number().filter(|n| *n > 0)?).is_some(),
        _ => return None,
    };
    (!written_before).then_some(())
}

fn memory(value: &str) -> Option<u64> {
    scaled(value, &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)]).filter(|bytes| *bytes >= 1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_in_any_order_and_each_once() {
        let all = Limits { memory: Some(512 << 20), cpu_shares: Some(100), pids: Some(64) };
        assert_eq!("pids=64,memory=512MiB,cpu=100".parse(), Ok(DynoLimits(all)));
        let memory = Limits { memory: Some(2 << 30), ..Limits::default() };
        assert_eq!("memory=2GiB".parse(), Ok(DynoLimits(memory)));
        let wrong = [
            "",
            "memory",
            "memory=1",
            "memory=1KiB",
            "disk=1GiB",
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
