//! Which certificate a name gets.
//!
//! - [`Certificates`]: a snapshot that never changes: exact names, wildcards, the default.
//! - [`CertificateStore`]: the snapshot in force; a new one is published in one swap, and open connections keep theirs.

use std::{
    cell::{Cell, RefCell},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::SystemTime,
};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::Certificate;

/// All certificates at one time. An exact name wins over a wildcard (which stands for one label), then comes the
/// default. A client that names nobody gets the certificate for the address that it came to, then the default. Of several
/// certificates for one name a client gets one it can verify and that is good now, those with elliptic keys first.
#[derive(Default, Clone)]
pub struct Certificates {
    all: Vec<Certificate>,
    /// Places in `all`; a wildcard stands here as `*.rest`.
    by_name: HashMap<Box<str>, Vec<usize>, foldhash::fast::RandomState>,
    by_address: HashMap<IpAddr, Vec<usize>, foldhash::fast::RandomState>,
    default: Vec<usize>,
}

impl Certificates {
    /// Adds one for all its names; with `default` also for names that no certificate has, and for clients that name
    /// nobody.
    pub fn add(&mut self, certificate: Certificate, default: bool) {
        let place = self.all.len();
        self.all.push(certificate);
        let Self { all, by_name, by_address, default: defaults } = self;
        let Some(added) = all.last() else { return };
        for name in added.names() {
            put(by_name.entry(name.as_str().into()).or_default(), place, all);
        }
        for address in added.addresses() {
            put(by_address.entry(address.to_canonical()).or_default(), place, all);
        }
        if default {
            put(defaults, place, all);
        }
    }

    /// All of them, in the order in which they were added.
    pub fn all(&self) -> &[Certificate] {
        &self.all
    }

    /// When the first of them expires.
    pub fn first_expiry(&self) -> Option<SystemTime> {
        self.all.iter().map(Certificate::expires).min()
    }

    fn named(&self, name: &str) -> Option<&Vec<usize>> {
        self.by_name.get(name).or_else(|| {
            let (_, rest) = name.split_once('.')?;
            self.by_name.get(["*.", rest].concat().as_str())
        })
    }

    /// Whether one certificate is for both names, so that a client may use one connection for both.
    fn cover_both(&self, one: &str, other: &str) -> bool {
        let Some(others) = self.named(other) else { return false };
        let ones = self.named(one).unwrap_or(&self.default);
        ones.iter().any(|place| others.contains(place))
    }

    fn choose(
        &self,
        name: Option<&str>,
        here: Option<IpAddr>,
        verifies: impl Fn(&CertifiedKey) -> bool,
        now: SystemTime,
    ) -> Option<Arc<CertifiedKey>> {
        let places = match name {
            Some(name) => self.named(name),
            None => here.and_then(|address| self.by_address.get(&address.to_canonical())),
        };
        let places = places.unwrap_or(&self.default);
        let candidates = || places.iter().filter_map(|place| self.all.get(*place));
        let verifiable = || candidates().filter(|found| verifies(&found.key));
        // Without one that it can verify, any of them gives the precise error.
        let good = verifiable().find(|found| found.good_at(now).is_ok());
        let found = good.or_else(|| verifiable().next()).or_else(|| candidates().next());
        found.map(|found| Arc::clone(&found.key))
    }
}

/// Those with elliptic keys first, else in the order in which they were added.
fn put(places: &mut Vec<usize>, place: usize, all: &[Certificate]) {
    if places.contains(&place) {
        return;
    }
    let elliptic = |place: usize| all.get(place).is_some_and(Certificate::is_elliptic);
    let behind = places.iter().take_while(|earlier| elliptic(**earlier)).count();
    places.insert(if elliptic(place) { behind } else { places.len() }, place);
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificates").field(&self.all).finish()
    }
}

/// The certificates in force. Handshakes take one load of it; whoever is connected already is not touched by a swap.
#[derive(Debug, Default)]
pub struct CertificateStore(ArcSwap<Certificates>);

impl CertificateStore {
    /// A store with these.
    pub fn new(certificates: Certificates) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(certificates)))
    }

    /// From now on handshakes get these.
    pub fn publish(&self, certificates: Certificates) {
        self.0.store(Arc::new(certificates));
    }

    /// Those in force.
    pub fn current(&self) -> Arc<Certificates> {
        self.0.load_full()
    }

    /// Whether any of them is for this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.load().named(name).is_some()
    }

    /// Whether any of them is for an address.
    pub(super) fn has_addresses(&self) -> bool {
        !self.0.load().by_address.is_empty()
    }

    /// Which one a client that came to the address `here` gets.
    fn answer(&self, hello: &ClientHello<'_>, here: Option<IpAddr>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let verifies = |key: &CertifiedKey| key.key.choose_scheme(schemes).is_some();
        self.0.load().choose(hello.server_name(), here, verifies, SystemTime::now())
    }

    /// Whether a request for `host` may come over a connection that was made for `name`.
    pub(crate) fn cover_both(&self, name: &str, host: &str) -> bool {
        self.0.load().cover_both(name, host)
    }
}

thread_local! {
    /// The name in the last hello on this thread: rustls tells it to the resolver only.
    static ASKED_FOR: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
    /// The address that it came to, if that is of interest: rustls does not tell the resolver.
    static CAME_TO: Cell<Option<IpAddr>> = const { Cell::new(None) };
}

/// The hello which is read next on this thread came to this address.
pub(super) fn set_came_to(address: Option<IpAddr>) {
    CAME_TO.set(address);
}

/// The name that the hello which was just read on this thread asked for. To be taken right after reading it.
pub(super) fn take_asked_for() -> Option<Box<str>> {
    ASKED_FOR.take()
}

/// The same for whoever learns in another way which name was asked for.
#[cfg(feature = "h3")]
#[derive(Debug)]
pub(super) struct Quiet(pub(super) Arc<CertificateStore>);

#[cfg(feature = "h3")]
impl ResolvesServerCert for Quiet {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.answer(&hello, None)
    }
}

impl ResolvesServerCert for CertificateStore {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        ASKED_FOR.set(hello.server_name().map(Box::from));
        self.answer(&hello, CAME_TO.get())
    }
}

#[cfg(test)]
mod tests;
