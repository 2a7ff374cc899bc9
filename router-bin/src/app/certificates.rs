//! What is shown to clients that speak TLS, read again when its files change. Open connections never notice.
//!
//! - [`Shown`]: the certificates. [`beside`]: ticket keys, and who signs the certificates of clients.

mod beside;
mod stamp;

use std::{
    collections::BTreeSet,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use router_core::tls::{
    Certificate, CertificateError, CertificateStore, Certificates, Challenges, Terminator, TlsPolicy,
};

use self::{
    beside::{Asking, TicketFile},
    stamp::{Stamp, stamps},
};
use crate::{
    config::{CertificateFiles, ClientFiles},
    failure::Failure,
    out,
    uploads::{UploadError, Uploads},
};

/// How often the files are looked at.
pub(super) const LOOK: Duration = Duration::from_secs(2);
/// From so many days before its end on a certificate is warned of, once a day.
const WARN_DAYS: u64 = 30;
const DAY: Duration = Duration::from_secs(86_400);

/// What is shown.
pub(super) struct Shown {
    store: Arc<CertificateStore>,
    tickets: TicketFile,
    asking: Vec<Asking>,
    /// Files that the configuration names, then those that came over the admin API.
    files: Vec<CertificateFiles>,
    uploads: Option<Uploads>,
    /// The latter could not be listed when they were last looked for.
    is_unreadable: bool,
    /// What was in them, in their order.
    loaded: Vec<Certificate>,
    /// Which files were read last, well or not, and what they were like.
    seen_files: Vec<CertificateFiles>,
    seen: Vec<Stamp>,
    warned: Option<Instant>,
    /// Those that were requested from a certificate authority.
    requested: Vec<Certificate>,
    /// Answers to that authority.
    challenges: Option<Arc<Challenges>>,
}

/// Certificates that were read and are good, but are not shown yet.
pub(super) struct Fresh {
    loaded: Vec<Certificate>,
    files: Vec<CertificateFiles>,
    seen: Vec<Stamp>,
}

fn all(files: &[CertificateFiles]) -> impl Iterator<Item = &Path> {
    files.iter().flat_map(CertificateFiles::files)
}

/// All of them, or none.
fn load(files: &[CertificateFiles]) -> Result<Vec<Certificate>, CertificateError> {
    let now = SystemTime::now();
    let one = |files: &CertificateFiles| {
        let (certificate, stale) = files.load(now)?;
        if let Some(stale) = stale {
            tracing::error!("{stale}; the certificate for {} is shown without one", certificate.is_for());
        }
        Ok(certificate)
    };
    files.iter().map(one).collect()
}

/// Those that came over the admin API stand behind those that the configuration names.
fn with_uploads(
    files: &[CertificateFiles],
    uploads: Option<&Uploads>,
) -> Result<Vec<CertificateFiles>, UploadError> {
    let uploaded = uploads.map(Uploads::files).transpose()?.unwrap_or_default();
    Ok(files.iter().cloned().chain(uploaded).collect())
}

/// Certificates in files win for their names.
fn snapshot(files: &[CertificateFiles], loaded: &[Certificate], requested: &[Certificate]) -> Certificates {
    let mut all = Certificates::default();
    for (files, certificate) in files.iter().zip(loaded) {
        all.add(certificate.clone(), files.default);
    }
    let in_files = |name| loaded.iter().any(|certificate| certificate.names().contains(name));
    for certificate in requested.iter().filter(|certificate| !certificate.names().iter().any(in_files)) {
        all.add(certificate.clone(), false);
    }
    all
}

impl Shown {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Failure::Certificate`], [`Failure::Uploads`], [`Failure::TicketKeys`], [`Failure::Tls`].
    pub(super) fn start(
        files: &[CertificateFiles],
        uploads: Option<&Uploads>,
        ticket_keys: Option<&Path>,
        challenges: Option<Arc<Challenges>>,
    ) -> Result<Self, Failure> {
        let files = &with_uploads(files, uploads)?[..];
        let seen = stamps(all(files));
        let loaded = load(files)?;
        let store = CertificateStore::new(snapshot(files, &loaded, &[]));
        let (tickets, files) = (TicketFile::start(ticket_keys)?, files.to_vec());
        let mut shown = Self {
            store,
            tickets,
            asking: Vec::new(),
            uploads: uploads.cloned(),
            is_unreadable: false,
            seen_files: files.clone(),
            files,
            loaded,
            seen,
            warned: None,
            requested: Vec::new(),
            challenges,
        };
        shown.warn();
        Ok(shown)
    }

    /// What a listener speaks, and what it wants of its clients.
    ///
    /// # Errors
    /// [`Failure::Certificate`], [`Failure::Tls`].
    pub(super) fn terminator(
        &mut self,
        policy: TlsPolicy,
        http2: bool,
        clients: Option<&ClientFiles>,
    ) -> Result<Terminator, Failure> {
        let terminator = Terminator::new(policy, Arc::clone(&self.store), &self.tickets.tickets)?;
        let mut terminator = if http2 { terminator } else { terminator.without_http2()? };
        if let Some(challenges) = &self.challenges {
            terminator = terminator.with_challenges(Arc::clone(challenges));
        }
        if let Some(files) = clients {
            self.asking.push(Asking::start(terminator.clone(), files)?);
        }
        Ok(terminator)
    }

    /// Certificates that are not from files are shown from now on.
    pub(super) fn show_made(&self, certificate: Certificate) {
        let mut all = Certificates::default();
        all.add(certificate, true);
        self.store.publish(all);
    }

    /// Those in force.
    pub(super) fn store(&self) -> Arc<CertificateStore> {
        Arc::clone(&self.store)
    }

    /// Reads these files. Nothing else is shown until [`Shown::show`]. One that is over does not take the place of a good
    /// one; it is shown where there is no other.
    ///
    /// # Errors
    /// What is wrong with one of them, or that the uploaded ones cannot be listed.
    pub(super) fn read(&mut self, files: &[CertificateFiles]) -> Result<Fresh, UploadError> {
        let are_the_same = files == self.named();
        let files = &with_uploads(files, self.uploads.as_ref())?[..];
        let seen = stamps(all(files));
        let loaded = load(files).and_then(|loaded| self.better_than_before(files, loaded));
        if loaded.is_err() && are_the_same {
            self.seen.clone_from(&seen);
            self.seen_files = files.to_vec();
        }
        Ok(Fresh { loaded: loaded?, files: files.to_vec(), seen })
    }

    /// Those of the files that the configuration names.
    fn named(&self) -> Vec<CertificateFiles> {
        let came =
            |files: &&CertificateFiles| self.uploads.as_ref().is_some_and(|uploads| uploads.has(files));
        self.files.iter().filter(|files| !came(files)).cloned().collect()
    }

    fn better_than_before(
        &self,
        files: &[CertificateFiles],
        loaded: Vec<Certificate>,
    ) -> Result<Vec<Certificate>, CertificateError> {
        let now = SystemTime::now();
        for (files, certificate) in files.iter().zip(&loaded) {
            let before = self.files.iter().zip(&self.loaded).find(|(before, _)| before.chain == files.chain);
            if before.is_some_and(|(_, before)| before.good_at(now).is_ok()) {
                certificate.good_at(now)?;
            }
        }
        Ok(loaded)
    }

    /// Shows these from now on.
    pub(super) fn show(&mut self, fresh: Fresh) {
        self.seen_files.clone_from(&fresh.files);
        (self.files, self.loaded, self.seen) = (fresh.files, fresh.loaded, fresh.seen);
        self.publish();
        self.warned = None;
        self.warn();
    }

    /// Shows these requested ones from now on, beside those of the files.
    pub(super) fn show_requested(&mut self, requested: Vec<Certificate>) {
        self.requested = requested;
        self.publish();
    }

    /// The names that the files have certificates for.
    pub(super) fn in_files(&self) -> BTreeSet<String> {
        self.loaded.iter().flat_map(Certificate::names).cloned().collect()
    }

    fn publish(&self) {
        self.store.publish(snapshot(&self.files, &self.loaded, &self.requested));
    }

    /// Reads the files again if they have changed; whether others are shown now. What is wrong with them is said once.
    pub(super) fn look(&mut self) -> bool {
        self.warn();
        self.drop_stale(SystemTime::now());
        self.tickets.look();
        self.asking.iter_mut().for_each(Asking::look);
        let named = self.named();
        let changed = with_uploads(&named, self.uploads.as_ref())
            .map(|files| files != self.seen_files || stamps(all(&files)) != self.seen);
        let was_unreadable = std::mem::replace(&mut self.is_unreadable, changed.is_err());
        let fresh = match changed {
            Ok(false) => return false,
            Ok(true) => self.read(&named),
            Err(_) if was_unreadable => return false,
            Err(error) => Err(error),
        };
        match fresh {
            Ok(fresh) => {
                self.show(fresh);
                out::note("certificates read again: their files have changed");
                true
            }
            Err(error) => {
                out::note(format_args!("the old certificates stay in force: {error}"));
                false
            }
        }
    }

    /// An OCSP response that is out of date does harm: clients refuse it.
    fn drop_stale(&mut self, now: SystemTime) {
        let is_stale = |certificate: &Certificate| certificate.staple_ends().is_some_and(|end| end <= now);
        if !self.loaded.iter().any(is_stale) {
            return;
        }
        for certificate in self.loaded.iter_mut().filter(|certificate| is_stale(certificate)) {
            let names = certificate.is_for();
            tracing::error!(
                "the OCSP response of the certificate for {names} is out of date and shown no more; fetch a new one"
            );
            *certificate = certificate.clone().without_staple();
        }
        self.publish();
    }

    fn warn(&mut self) {
        if self.warned.is_some_and(|warned| warned.elapsed() < DAY) {
            return;
        }
        self.warned = Some(Instant::now());
        let now = SystemTime::now();
        self.asking.iter().for_each(|listener| listener.warn(now));
        // Requested ones are renewed when they should be, and what is wrong with that is said elsewhere.
        for certificate in &self.loaded {
            if let Some(file) = certificate.key_open_to_others() {
                let file = file.display();
                tracing::warn!("every user of this machine can read the private key {file}; chmod 600 it");
            }
            let names = certificate.is_for();
            if certificate.must_staple() && certificate.staple_ends().is_none() {
                tracing::warn!(
                    "the certificate for {names} must have an OCSP response beside it (must-staple), or some clients \
                     refuse it; write ocsp = \"FILE\""
                );
            }
            match age(certificate, now) {
                Age::Good => {}
                Age::Wrong(error) => {
                    tracing::error!("{error}; it is shown for {names} all the same, and clients refuse it");
                }
                Age::Ends { days } => {
                    tracing::warn!("the certificate for {names} expires in {days} days; renew it");
                }
            }
        }
    }
}

/// What there is to say about a certificate's time.
#[derive(Debug)]
enum Age {
    Good,
    /// It is over, or not good yet.
    Wrong(CertificateError),
    /// It is over soon.
    Ends {
        days: u64,
    },
}

fn age(certificate: &Certificate, now: SystemTime) -> Age {
    if let Err(error) = certificate.good_at(now) {
        return Age::Wrong(error);
    }
    let days = certificate.expires().duration_since(now).unwrap_or_default().as_secs() / DAY.as_secs();
    if days < WARN_DAYS { Age::Ends { days } } else { Age::Good }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn a_certificate_is_warned_of_from_30_days_before_its_end_and_called_wrong_after_it() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2024, 1, 1);
        params.not_after = rcgen::date_time_ymd(2024, 12, 31);
        let chain = params.self_signed(&key).unwrap().pem();
        let read = Certificate::from_pem("a.pem", chain.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        let before_the_end = |days: u32| read.expires() - DAY * days;
        assert!(matches!(age(&read, before_the_end(30)), Age::Good));
        let second = Duration::from_secs(1);
        assert!(matches!(age(&read, before_the_end(30) + second), Age::Ends { days: 29 }));
        assert!(matches!(age(&read, before_the_end(0) - second), Age::Ends { days: 0 }));
        assert!(matches!(age(&read, before_the_end(0)), Age::Wrong(CertificateError::Expired { .. })));
        let early = age(&read, before_the_end(366));
        assert!(matches!(early, Age::Wrong(CertificateError::TooEarly { .. })), "{early:?}");
    }
}
