//! What is shown to clients that speak TLS, read again when its files change. Open connections never notice.

use std::{
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use router_core::tls::{
    Certificate, CertificateError, CertificateStore, Certificates, Terminator, Tickets, TlsPolicy,
};

use crate::{config::CertificateFiles, failure::Failure, out};

/// How often the files are looked at.
pub(super) const LOOK: Duration = Duration::from_secs(2);
/// From so many days before its end on a certificate is warned of, once a day.
const WARN_DAYS: u64 = 30;
const DAY: Duration = Duration::from_secs(86_400);

/// What is shown.
pub(super) struct Shown {
    store: Arc<CertificateStore>,
    tickets: Tickets,
    files: Vec<CertificateFiles>,
    /// What the files were like when they were read last, well or not.
    seen: Vec<Stamp>,
    warned: Option<Instant>,
}

/// Certificates that were read and are good, but are not shown yet.
pub(super) struct Fresh {
    certificates: Certificates,
    files: Vec<CertificateFiles>,
    seen: Vec<Stamp>,
}

/// What a file is like; another one in its place is not like it.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

fn stamp(file: &Path) -> Stamp {
    let data = std::fs::metadata(file).ok()?;
    Some((data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
}

fn stamps(files: &[CertificateFiles]) -> Vec<Stamp> {
    files.iter().flat_map(|files| [stamp(&files.chain), stamp(&files.key)]).collect()
}

/// All of them, or none.
fn load(files: &[CertificateFiles]) -> Result<Certificates, CertificateError> {
    let (mut all, now) = (Certificates::default(), SystemTime::now());
    for files in files {
        all.add(Certificate::load(&files.chain, &files.key, now)?, files.default);
    }
    Ok(all)
}

impl Shown {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Failure::Certificate`], [`Failure::Tls`].
    pub(super) fn start(files: &[CertificateFiles]) -> Result<Self, Failure> {
        let seen = stamps(files);
        let store = CertificateStore::new(load(files)?);
        let mut shown = Self { store, tickets: Tickets::new()?, files: files.to_vec(), seen, warned: None };
        shown.warn();
        Ok(shown)
    }

    /// What a listener speaks.
    ///
    /// # Errors
    /// [`Failure::Tls`].
    pub(super) fn terminator(&self, policy: TlsPolicy) -> Result<Terminator, Failure> {
        Ok(Terminator::new(policy, Arc::clone(&self.store), &self.tickets)?)
    }

    /// Those in force.
    pub(super) fn store(&self) -> Arc<CertificateStore> {
        Arc::clone(&self.store)
    }

    /// Reads these files. Nothing else is shown until [`Shown::show`].
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(super) fn read(&mut self, files: &[CertificateFiles]) -> Result<Fresh, CertificateError> {
        let seen = stamps(files);
        let loaded = load(files);
        if loaded.is_err() && files == self.files {
            self.seen.clone_from(&seen);
        }
        Ok(Fresh { certificates: loaded?, files: files.to_vec(), seen })
    }

    /// Shows these from now on.
    pub(super) fn show(&mut self, fresh: Fresh) {
        self.store.publish(fresh.certificates);
        (self.files, self.seen) = (fresh.files, fresh.seen);
        self.warned = None;
        self.warn();
    }

    /// Reads the files again if they have changed. What is wrong with them is said once.
    pub(super) fn look(&mut self) {
        self.warn();
        if stamps(&self.files) == self.seen {
            return;
        }
        match self.read(&self.files.clone()) {
            Ok(fresh) => {
                self.show(fresh);
                out::note("certificates read again: their files have changed");
            }
            Err(error) => out::note(format_args!("the old certificates stay in force: {error}")),
        }
    }

    fn warn(&mut self) {
        if self.warned.is_some_and(|warned| warned.elapsed() < DAY) {
            return;
        }
        self.warned = Some(Instant::now());
        let now = SystemTime::now();
        for certificate in self.store.current().all() {
            let names = certificate.names().join(", ");
            if let Some(file) = certificate.key_open_to_others() {
                let file = file.display();
                tracing::warn!("every user of this machine can read the private key {file}; chmod 600 it");
            }
            let left =
                certificate.expires().duration_since(now).unwrap_or_default().as_secs() / DAY.as_secs();
            if left < WARN_DAYS {
                tracing::warn!("the certificate for {names} expires in {left} days; renew it");
            }
        }
    }
}
