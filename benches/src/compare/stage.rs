//! What one proxy is told: where to listen, where the dynos are, and its duties.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use super::{
    Scenario,
    peer::{Peer, Variant},
};
use crate::{load::plan::Protocol, tls};

/// The host of the app that is measured.
pub(super) const HOST: &str = "app.test";
/// The host of another app, so that routing on `Host` means something; its dynos do not exist.
pub(super) const OTHER_HOST: &str = "other.test";

/// What one proxy is told.
pub(super) struct Stage {
    pub(super) folder: PathBuf,
    pub(super) listen: SocketAddr,
    pub(super) dynos: Vec<SocketAddr>,
    pub(super) tls: Option<TlsFiles>,
    pub(super) is_websocket: bool,
    pub(super) access_log: bool,
    pub(super) queue_at: Option<NonZeroUsize>,
    /// How to balance, in busbar's words; only it is asked to.
    pub(super) balance: &'static str,
}

/// Where the certificate is.
pub(super) struct TlsFiles {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// Both in one file.
    pub(super) both: PathBuf,
}

impl Stage {
    pub(super) fn set(
        folder: &Path,
        scenario: &Scenario,
        dynos: Vec<SocketAddr>,
        peer: &Peer,
    ) -> io::Result<Self> {
        let tls = scenario.load.tls.map(|_| TlsFiles::make(folder)).transpose()?;
        Ok(Self {
            folder: folder.to_owned(),
            listen: free_address()?,
            dynos,
            tls,
            is_websocket: scenario.load.protocol == Protocol::WebSocket,
            access_log: peer.access_log,
            queue_at: match peer.variant {
                Some(Variant::Queue) => scenario.dynos.concurrency,
                _ => scenario.dynos.queue_at,
            },
            balance: match peer.variant {
                Some(Variant::Policy(policy)) => policy,
                _ => "least",
            },
        })
    }

    /// Writes a file of the proxy's and says where it is.
    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// A piece of configuration for each dyno, numbered from 1.
    pub(super) fn each_dyno(&self, piece: impl Fn(usize, SocketAddr) -> String) -> String {
        self.dynos.iter().zip(1..).map(|(dyno, number)| piece(number, *dyno)).collect()
    }

    /// A path in the folder, as text.
    pub(super) fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

impl TlsFiles {
    fn make(folder: &Path) -> io::Result<Self> {
        let pem = tls::certificate().map_err(io::Error::other)?;
        let file = |name: &str, text: &str| -> io::Result<PathBuf> {
            let path = folder.join(name);
            fs::write(&path, text)?;
            Ok(path)
        };
        Ok(Self {
            certificate: file("certificate.pem", &pem.certificate)?,
            key: file("key.pem", &pem.key)?,
            both: file("both.pem", &format!("{}{}", pem.certificate, pem.key))?,
        })
    }
}

/// An address nobody listens on just now.
pub(super) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}
