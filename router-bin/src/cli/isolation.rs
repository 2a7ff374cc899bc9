//! `--isolation full --network outbound --disk 1GiB`

use std::str::FromStr;

use dyno_runtime::{Isolation, Network, RuntimeOptions};

use crate::config::units::scaled;

/// How dynos are kept apart.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct DynoIsolation {
    /// How dynos are kept apart: full (needs root), user (needs user namespaces) or plain; what cannot be had here is
    /// refused, see busbar doctor [default: plain]
    #[arg(long, env = "BUSBAR_ISOLATION", value_name = "LEVEL")]
    pub(crate) isolation: Option<Isolation>,
    /// Whom fully isolated dynos can reach: outbound (the world, by NAT), inbound (nobody) or host (all that the machine
    /// can) [default: outbound]
    #[arg(long, env = "BUSBAR_NETWORK", value_name = "NETWORK")]
    pub(crate) network: Option<Network>,
    /// How much a fully isolated dyno may write to /app and /tmp, like 1GiB (from 8MiB) [default: as much as the disk has]
    #[arg(long, env = "BUSBAR_DISK", value_name = "SIZE")]
    pub(crate) disk: Option<DiskSize>,
}

/// The size of a dyno's disk in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DiskSize(u64);

/// Not spelled as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no size of a disk; write 1GiB (KiB, MiB or GiB; from 8MiB to 16384GiB)")]
pub(crate) struct NoDiskSize(String);

impl FromStr for DiskSize {
    type Err = NoDiskSize;
    fn from_str(text: &str) -> Result<Self, NoDiskSize> {
        let bytes = scaled(text, &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)]);
        let fits = bytes.filter(|bytes| (8 << 20..=16 << 40).contains(bytes));
        fits.map(Self).ok_or_else(|| NoDiskSize(text.to_owned()))
    }
}

impl DynoIsolation {
    /// Has dynos kept apart so.
    pub(crate) fn apply(self, options: &mut RuntimeOptions) {
        options.isolation = self.isolation.unwrap_or_default();
        options.sandbox.network = self.network.unwrap_or_default();
        options.sandbox.disk = self.disk.map(|DiskSize(bytes)| bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_a_size_with_a_unit_and_is_not_too_small_for_a_file_system() {
        assert_eq!("1GiB".parse(), Ok(DiskSize(1 << 30)));
        assert_eq!("8192KiB".parse(), Ok(DiskSize(8 << 20)));
        for wrong in ["", "1", "1G", "7MiB", "-1GiB", "1.5GiB", "16385GiB", "99999999999999999999GiB"] {
            assert!(wrong.parse::<DiskSize>().is_err(), "{wrong:?}");
        }
    }
}
