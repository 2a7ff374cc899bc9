//! What the verbs share that ask a running `busbar`.

use crate::{admin_client::AdminClient, config::address::Endpoint, failure::Failure};

/// Which running `busbar` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Ask {
    /// The admin socket of the busbar to ask: unix:/path or 127.0.0.1:PORT
    #[arg(long, env = "BUSBAR_ADMIN", value_name = "WHERE")]
    admin: Option<Endpoint>,
}

impl Ask {
    /// Asks, and waits for `deed` to end.
    pub(super) fn ask<T>(
        self,
        deed: impl AsyncFnOnce(AdminClient) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let client = AdminClient::new(self.admin);
        let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = built.map_err(|source| Failure::System { deed: "starting the event loop", source })?;
        runtime.block_on(deed(client))
    }
}
