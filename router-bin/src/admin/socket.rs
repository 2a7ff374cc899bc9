//! Where the admin API is served: a socket file that only its owner may open, or a loopback address.
//!
//! - [`usual_path`]: where `busbar` serves and looks when nobody says.
//! - [`AdminSocket::bind`]: takes it; the file of a process that is gone is replaced, that of a live one is not.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use axum::Router;
use dyno_runtime::private_directory;
use router_core::server::listen::socket_file::{self, SocketFile};
use tokio::net::{TcpListener, UnixListener};

use crate::{config::address::Endpoint, failure::reason};

/// Why a socket file cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// Somebody answers there.
    #[error("{path} belongs to another busbar that is running; stop it, or use --admin unix:/another/path")]
    Live {
        /// The file.
        path: String,
    },
    /// It is something else.
    #[error("{path} is not a socket, so it was left alone; remove it, or use --admin unix:/another/path")]
    NotASocket {
        /// The file.
        path: String,
    },
    /// The system says no.
    #[error("the socket file {path} cannot be made: {}; check its directory, or use --admin unix:/another/path", reason(.source))]
    Refused {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The system says no.
    #[error("cannot serve the admin API on {address}: {}; use --admin unix:/path", reason(.source))]
    Address {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// `/run/busbar/admin.sock` for root, else `$XDG_RUNTIME_DIR/busbar/admin.sock`, else `/tmp/busbar-UID/admin.sock`.
pub(crate) fn usual_path() -> PathBuf {
    let uid = rustix::process::geteuid();
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let dir = match runtime_dir {
        _ if uid.is_root() => PathBuf::from("/run/busbar"),
        Some(dir) => dir.join("busbar"),
        None => PathBuf::from(format!("/tmp/busbar-{}", uid.as_raw())),
    };
    dir.join("admin.sock")
}

/// Where the admin API is served. Its file goes with it.
pub(crate) struct AdminSocket {
    listener: Listener,
    endpoint: Endpoint,
}

enum Listener {
    Unix(UnixListener, SocketFile),
    Tcp(TcpListener),
}

/// Listens at `path`, where only we may connect. The file of a process that is gone is replaced.
///
/// # Errors
/// [`SocketError`].
pub(crate) fn listen(path: &Path) -> Result<(UnixListener, SocketFile), SocketError> {
    let told = || path.display().to_string();
    let refused = |source| SocketError::Refused { path: told(), source };
    let (listener, file) = socket_file::listen(path, 0o600).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => SocketError::NotASocket { path: told() },
        io::ErrorKind::AddrInUse => SocketError::Live { path: told() },
        _ => refused(error),
    })?;
    Ok((UnixListener::from_std(listener).map_err(refused)?, file))
}

impl AdminSocket {
    /// Takes `endpoint`; without one, the usual place, whose directory is made when it is not there.
    ///
    /// # Errors
    /// [`SocketError`].
    pub(crate) async fn bind(endpoint: Option<&Endpoint>) -> Result<Self, SocketError> {
        let endpoint = endpoint.cloned().unwrap_or_else(|| Endpoint::Unix(usual_path()));
        let listener = match &endpoint {
            Endpoint::Tcp(address) => Listener::Tcp(bind_tcp(*address).await?),
            Endpoint::Unix(path) => {
                let refused = |source| SocketError::Refused { path: path.display().to_string(), source };
                if *path == usual_path() {
                    private_directory(path.parent().unwrap_or(Path::new("/"))).map_err(refused)?;
                }
                let (listener, file) = listen(path)?;
                Listener::Unix(listener, file)
            }
        };
        Ok(Self { listener, endpoint })
    }

    /// Where it is.
    pub(crate) fn endpoint(&self) -> Endpoint {
        match &self.listener {
            Listener::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| self.endpoint.clone(), Endpoint::Tcp)
            }
            Listener::Unix(..) => self.endpoint.clone(),
        }
    }

    /// Answers until `stop` comes, then finishes.
    pub(super) async fn serve(self, router: Router, stop: impl Future<Output = ()> + Send + 'static) {
        let served = match self.listener {
            Listener::Tcp(listener) => axum::serve(listener, router).with_graceful_shutdown(stop).await,
            Listener::Unix(listener, file) => {
                let served = axum::serve(listener, router).with_graceful_shutdown(stop).await;
                drop(file);
                served
            }
        };
        if let Err(error) = served {
            tracing::error!("the admin API on {} ended: {error}; restart busbar", self.endpoint);
        }
    }
}

async fn bind_tcp(address: SocketAddr) -> Result<TcpListener, SocketError> {
    TcpListener::bind(address).await.map_err(|source| SocketError::Address { address, source })
}
