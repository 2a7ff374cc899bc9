//! The registry for runtimes elsewhere.

use std::{path::Path, sync::Arc};

use busbar_registry::{
    Capabilities, Registry,
    wire::{Limits, Listener, serve},
};
use router_core::server::listen::socket_file::SocketFile;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use super::edge::cannot_bind;
use crate::{
    admin::socket,
    config::{RegistryListen, address::Endpoint},
    failure::Failure,
    key_file,
};

/// Where runtimes will reach the registry: taken, but not answered yet.
pub(crate) struct RegistryWire {
    capabilities: Capabilities,
    listeners: Vec<(Listener, Option<SocketFile>)>,
}

impl RegistryWire {
    /// Takes the addresses and reads the key.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn bind(config: &RegistryListen) -> Result<Self, Failure> {
        let capabilities = key_file::read(Path::new(&config.key_file))?;
        let mut listeners = Vec::new();
        for endpoint in &config.listen {
            listeners.push(match endpoint {
                Endpoint::Tcp(address) => {
                    let bound = TcpListener::bind(address).await;
                    (
                        bound
                            .map_err(|source| cannot_bind((*address).into(), source, "[registry] `listen`"))?
                            .into(),
                        None,
                    )
                }
                Endpoint::Unix(path) => {
                    let (listener, file) = socket::listen(path)?;
                    (listener.into(), Some(file))
                }
            });
        }
        Ok(Self { capabilities, listeners })
    }

    /// Answers until `stop` becomes true.
    pub(crate) fn serve(self, registry: &Arc<dyn Registry>, stop: &watch::Receiver<bool>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for (listener, file) in self.listeners {
            let (registry, capabilities, mut stop) =
                (Arc::clone(registry), self.capabilities.clone(), stop.clone());
            tasks.spawn(async move {
                let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
                serve(registry, capabilities, listener, Limits::default(), stopped).await;
                drop(file);
            });
        }
        tasks
    }
}
