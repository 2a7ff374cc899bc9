//! `--isolation full --network outbound`

use dyno_runtime::{Isolation, Network, RuntimeOptions};

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
}

impl DynoIsolation {
    /// Has dynos kept apart so.
    pub(crate) fn apply(self, options: &mut RuntimeOptions) {
        options.isolation = self.isolation.unwrap_or_default();
        options.sandbox.network = self.network.unwrap_or_default();
    }
}
