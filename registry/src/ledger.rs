//! The state of a registry: apps, domains, leases and what happened lately. Pure: time is an argument, nothing is awaited.
//!
//! - [`Ledger`]: the state. Each method is one call of [`Registry`](crate::Registry), given `now`.
//! - [`Step`]: the answer to a call, and the events that it made.
//! - [`Bounds`]: how much is kept, and for how long.
//!
//! Rules: a domain belongs to one app; one app catches all. Of one dyno name at most one is up: a newer registration
//! fences it off, while a draining one stays until it ends. An address belongs to one live lease; a newer dyno of the
//! same app fences the older one off (its port was reused), a dyno of another app is refused.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, SocketAddr, SocketAddrV6},
    sync::Arc,
    time::Duration,
};

use crate::{
    Address, AppName, AppRecord, Bound, Change, Domain, DynoName, DynoRecord, DynoState, Event, Generation,
    Lease, LeaseId, Millis, Refusal, Registration, Revision, Snapshot, WebFormation,
};

mod bounds;
mod history;
mod leases;

pub use bounds::Bounds;
use history::History;
use leases::{Held, Leases};

/// The answer to a call, and the events that it made: those of leases that ran out meanwhile, then its own.
#[derive(Debug)]
#[must_use]
pub struct Step<T> {
    /// What the caller is told.
    pub answer: Result<T, Refusal>,
    /// What watchers are told, in order of revision.
    pub events: Vec<Arc<Event>>,
}

/// The state of a registry.
///
/// `now` is the time since the ledger began; a `now` before the latest one counts as the latest one.
#[derive(Debug)]
pub struct Ledger {
    bounds: Bounds,
    now: Duration,
    generation: Generation,
    apps: BTreeMap<AppName, App>,
    domains: HashMap<Domain, AppName>,
    catch_all: Option<AppName>,
    leases: Leases,
    history: History,
    /// The events of the call that runs.
    made: Vec<Arc<Event>>,
}

#[derive(Debug)]
struct App {
    record: AppRecord,
    /// When it last changed.
    revision: Revision,
}

impl Ledger {
    /// An empty ledger. Every revision and generation it gives out is larger than `origin`: whoever begins again
    /// with an empty ledger passes an origin beyond everything that the earlier one gave out.
    pub fn new(bounds: Bounds, origin: u64) -> Self {
        Self {
            bounds,
            now: Duration::ZERO,
            generation: Generation(origin),
            apps: BTreeMap::new(),
            domains: HashMap::new(),
            catch_all: None,
            leases: Leases::default(),
            history: History::new(bounds.history, Revision(origin)),
            made: Vec::new(),
        }
    }

    /// See [`crate::Registry::put_app`].
    pub fn put_app(
        &mut self,
        now: Duration,
        app: AppRecord,
        if_revision: Option<Revision>,
    ) -> Step<Revision> {
        self.step(now, |ledger| {
            ledger.check_unchanged(&app.name, if_revision)?;
            ledger.check_claims(&app)?;
            ledger.store(app);
            Ok(ledger.revision())
        })
    }

    /// See [`crate::Registry::remove_app`].
    pub fn remove_app(&mut self, now: Duration, app: &AppName) -> Step<Revision> {
        self.step(now, |ledger| {
            if let Some(removed) = ledger.apps.remove(app) {
                ledger.release_claims(&removed.record);
                for generation in ledger.leases.of_app(app).collect::<Vec<_>>() {
                    ledger.leases.remove(generation);
                }
                ledger.emit(Change::AppRemoved { app: app.clone() });
            }
            Ok(ledger.revision())
        })
    }

    /// See [`crate::Registry::report_web`].
    pub fn report_web(&mut self, now: Duration, app: &AppName, web: WebFormation) -> Step<Revision> {
        self.step(now, |ledger| {
            let known = ledger.apps.get(app).ok_or_else(|| Refusal::UnknownApp { app: app.clone() })?;
            ledger.store(AppRecord { web, ..known.record.clone() });
            Ok(ledger.revision())
        })
    }

    /// See [`crate::Registry::register`]. The new lease gets the id `id`, which was never given to another.
    pub fn register(&mut self, now: Duration, asked: Registration, id: LeaseId) -> Step<Lease> {
        self.step(now, |ledger| ledger.admit(asked, id, None))
    }

    /// See [`crate::Registry::register_again`].
    pub fn register_again(
        &mut self,
        now: Duration,
        asked: Registration,
        id: LeaseId,
        after: Generation,
    ) -> Step<Lease> {
        self.step(now, |ledger| ledger.admit(asked, id, Some(after)))
    }

    /// See [`crate::Registry::renew`].
    pub fn renew(&mut self, now: Duration, id: &LeaseId) -> Step<Lease> {
        self.step(now, |ledger| {
            let generation = ledger.find(id)?;
            ledger.leases.renew(generation, ledger.now);
            ledger.lease(id)
        })
    }

    /// See [`crate::Registry::drain`].
    pub fn drain(&mut self, now: Duration, id: &LeaseId) -> Step<Revision> {
        self.step(now, |ledger| {
            let generation = ledger.find(id)?;
            if let Some(dyno) = ledger.leases.drain(generation) {
                ledger.emit(Change::DynoPut { dyno });
            }
            Ok(ledger.revision())
        })
    }

    /// See [`crate::Registry::deregister`].
    pub fn deregister(&mut self, now: Duration, id: &LeaseId) -> Step<Revision> {
        self.step(now, |ledger| {
            if let Ok(generation) = ledger.find(id) {
                ledger.end(generation);
            }
            Ok(ledger.revision())
        })
    }

    /// Everything at `now`.
    pub fn snapshot(&mut self, now: Duration) -> Step<Snapshot> {
        self.step(now, |ledger| {
            Ok(Snapshot {
                revision: ledger.revision(),
                apps: ledger.apps.values().map(|app| app.record.clone()).collect(),
                dynos: ledger.leases.records().cloned().collect(),
            })
        })
    }

    /// Ends the leases that have run out. A lease has run out at its deadline, not only after it.
    pub fn expire(&mut self, now: Duration) -> Vec<Arc<Event>> {
        self.step(now, |_| Ok(())).events
    }

    /// When [`Ledger::expire`] has something to do next.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.leases.first_to_end().map(|(deadline, _)| deadline)
    }

    /// The revision of the newest event.
    pub fn revision(&self) -> Revision {
        self.history.revision()
    }

    /// At most `most` of the events after `from`.
    ///
    /// # Errors
    /// [`Refusal::Compacted`] when they are no longer kept, or `from` lies in the future.
    pub fn since(&self, from: Revision, most: usize) -> Result<Vec<Arc<Event>>, Refusal> {
        self.history.since(from, most)
    }

    /// Brings the ledger to `now`, then runs the call.
    fn step<T>(&mut self, now: Duration, call: impl FnOnce(&mut Self) -> Result<T, Refusal>) -> Step<T> {
        self.now = self.now.max(now);
        while let Some((_, generation)) = self.leases.first_to_end().filter(|(at, _)| *at <= self.now) {
            self.end(generation);
        }
        let answer = call(self);
        Step { answer, events: std::mem::take(&mut self.made) }
    }

    fn emit(&mut self, change: Change) {
        self.made.push(self.history.push(change));
    }

    fn check_unchanged(&self, app: &AppName, if_revision: Option<Revision>) -> Result<(), Refusal> {
        let current = self.apps.get(app).map(|known| known.revision);
        let unchanged = match (if_revision, current) {
            (None, _) | (Some(Revision(0)), None) => true,
            (Some(Revision(0)), Some(_)) | (Some(_), None) => false,
            (Some(seen), Some(current)) => (current..=self.revision()).contains(&seen),
        };
        let current = current.unwrap_or_default();
        if unchanged { Ok(()) } else { Err(Refusal::Conflict { app: app.clone(), current }) }
    }

    /// Whether the app may have all it asks for.
    fn check_claims(&self, app: &AppRecord) -> Result<(), Refusal> {
        if !self.apps.contains_key(&app.name) && self.apps.len() >= self.bounds.apps {
            return Err(Refusal::Full { what: Bound::Apps, limit: self.bounds.apps });
        }
        if app.domains.len() > self.bounds.domains_per_app {
            return Err(Refusal::Full { what: Bound::DomainsPerApp, limit: self.bounds.domains_per_app });
        }
        let mut seen = HashSet::new();
        for domain in &app.domains {
            if !seen.insert(domain) {
                return Err(Refusal::Malformed(format!("domain {domain} is named twice; name it once")));
            }
            if let Some(owner) = self.domains.get(domain).filter(|owner| **owner != app.name) {
                return Err(Refusal::DomainTaken { domain: domain.clone(), owner: owner.clone() });
            }
        }
        match &self.catch_all {
            Some(owner) if app.catch_all && *owner != app.name => {
                Err(Refusal::CatchAllTaken { owner: owner.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Replaces the record; says so only when it is a different one.
    fn store(&mut self, record: AppRecord) {
        if let Some(old) = self.apps.remove(&record.name) {
            if old.record == record {
                self.apps.insert(record.name.clone(), old);
                return;
            }
            self.release_claims(&old.record);
        }
        self.domains.extend(record.domains.iter().map(|domain| (domain.clone(), record.name.clone())));
        if record.catch_all {
            self.catch_all = Some(record.name.clone());
        }
        self.emit(Change::AppPut { app: record.clone() });
        self.apps.insert(record.name.clone(), App { record, revision: self.revision() });
    }

    fn release_claims(&mut self, record: &AppRecord) {
        for domain in &record.domains {
            self.domains.remove(domain);
        }
        if record.catch_all {
            self.catch_all = None;
        }
    }

    fn admit(
        &mut self,
        asked: Registration,
        id: LeaseId,
        after: Option<Generation>,
    ) -> Result<Lease, Refusal> {
        let Registration { app, dyno, address, ttl_ms } = asked;
        let address = canonical(address)?;
        if !self.apps.contains_key(&app) {
            return Err(Refusal::UnknownApp { app });
        }
        let fenced_off = self.rivals(&app, &dyno, &address)?;
        if let Some(by) = after.and_then(|after| fenced_off.iter().copied().find(|rival| *rival > after)) {
            return Err(Refusal::Replaced { app, dyno, by });
        }
        if self.leases.count(&app).saturating_sub(fenced_off.len()) >= self.bounds.dynos_per_app {
            return Err(Refusal::Full { what: Bound::DynosPerApp, limit: self.bounds.dynos_per_app });
        }
        fenced_off.into_iter().for_each(|rival| self.end(rival));
        self.generation.0 += 1;
        let record = DynoRecord { app, dyno, address, generation: self.generation, state: DynoState::Up };
        let ttl = self.bounds.ttl(ttl_ms);
        let deadline = self.now.saturating_add(ttl);
        let generation = record.generation;
        self.leases.insert(Held { id: id.clone(), ttl, deadline, record: record.clone() });
        self.emit(Change::DynoPut { dyno: record });
        Ok(Lease { id, generation, ttl_ms: whole_millis(ttl), revision: self.revision() })
    }

    /// The app's dynos that give way to a new one of that name and address, in order of generation.
    fn rivals(&self, app: &AppName, dyno: &DynoName, address: &Address) -> Result<Vec<Generation>, Refusal> {
        let mut rivals: Vec<Generation> =
            self.leases.up(app, dyno).map(|up| up.generation).into_iter().collect();
        match self.leases.at(address) {
            Some(holder) if holder.app != *app => {
                let (app, dyno) = (holder.app.clone(), holder.dyno.clone());
                return Err(Refusal::AddressTaken { address: address.clone(), app, dyno });
            }
            Some(holder) => rivals.push(holder.generation),
            None => {}
        }
        rivals.sort_unstable();
        rivals.dedup();
        Ok(rivals)
    }

    fn end(&mut self, generation: Generation) {
        if let Some(DynoRecord { app, dyno, .. }) = self.leases.remove(generation) {
            self.emit(Change::DynoRemoved { app, dyno, generation });
        }
    }

    fn find(&self, id: &LeaseId) -> Result<Generation, Refusal> {
        self.leases.by_id(id).map(|held| held.record.generation).ok_or(Refusal::LeaseGone)
    }

    fn lease(&self, id: &LeaseId) -> Result<Lease, Refusal> {
        let held = self.leases.by_id(id).ok_or(Refusal::LeaseGone)?;
        let (generation, ttl_ms) = (held.record.generation, whole_millis(held.ttl));
        Ok(Lease { id: id.clone(), generation, ttl_ms, revision: self.revision() })
    }
}

fn whole_millis(span: Duration) -> Millis {
    Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

/// The one spelling of an address, so that no address can be taken twice under two spellings: IPv4 is never written
/// as IPv6, and only a link-local address has a scope.
fn canonical(address: Address) -> Result<Address, Refusal> {
    let Address::Tcp(address) = address else { return Ok(address) };
    let ip = address.ip().to_canonical();
    if ip.is_unspecified() || ip.is_multicast() || address.port() == 0 {
        let wanted = "name one host and its port, like 10.0.0.7:5000";
        return Err(Refusal::Malformed(format!("a dyno cannot be reached at {address}; {wanted}")));
    }
    Ok(Address::Tcp(match (ip, address) {
        (IpAddr::V6(ip), SocketAddr::V6(v6)) if ip.is_unicast_link_local() => {
            SocketAddrV6::new(ip, v6.port(), 0, v6.scope_id()).into()
        }
        _ => SocketAddr::new(ip, address.port()),
    }))
}

#[cfg(test)]
mod tests;
