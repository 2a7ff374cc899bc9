//! The apps and dynos of the configuration file, as they are in the registry.
//!
//! [`Declared`] makes the registry say what the file says, and remembers what it put there. A dyno that is in the old
//! file and in the new one stays registered as it is, so a reload takes nothing from it: what counts is its app and
//! address, not its place in the list.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use busbar_registry::{
    Address, AppName, AppRecord, DynoName, DynoRecord, LeaseId, Millis, ProcessType, Refusal, Registration,
    Registry, Snapshot, WebFormation,
};

use crate::config::DeclaredApp;

/// How long a lease lasts; it is renewed five times within that.
const LEASE: Millis = Millis::from_secs(300);
/// How often [`Declared::renew`] wants to be called.
pub(crate) const RENEWAL: Duration = Duration::from_secs(60);

/// What the file that is in force has put into the registry.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    apps: BTreeSet<AppName>,
    leases: HashMap<(AppName, Address), LeaseId>,
}

/// Why a file cannot take the place of the one in force.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotDeclared {
    /// Others already have what it claims; each line says who. Nothing was changed.
    #[error("the registry has it otherwise; nothing was changed\n{}", .0.join("\n"))]
    Taken(Vec<String>),
    /// The registry refused what it was expected to take.
    #[error("only a part was applied: {0}")]
    Refused(#[from] Refusal),
}

impl Declared {
    /// Makes `registry` say what `apps` say, and no longer what the file before them said. Whoever watches sees the
    /// steps; a snapshot taken afterwards is the whole.
    ///
    /// # Errors
    /// [`NotDeclared`].
    pub(crate) async fn replace(
        &mut self,
        registry: &dyn Registry,
        apps: &[DeclaredApp],
    ) -> Result<(), NotDeclared> {
        let before = registry.snapshot().await?;
        let taken = self.taken_by_others(&before, apps);
        if !taken.is_empty() {
            return Err(NotDeclared::Taken(taken));
        }
        self.end_what_is_gone(registry, apps).await?;
        self.put_apps(registry, &before, apps).await?;
        self.register_missing(registry, apps).await?;
        Ok(())
    }

    /// Lets the leases last again. What lost its lease is registered anew.
    ///
    /// # Errors
    /// The last refusal; the others were tried nevertheless.
    pub(crate) async fn renew(
        &mut self,
        registry: &dyn Registry,
        apps: &[DeclaredApp],
    ) -> Result<(), Refusal> {
        let mut gone = HashSet::new();
        for (key, lease) in &self.leases {
            if registry.renew(lease).await.is_err() {
                gone.insert(key.clone());
            }
        }
        self.leases.retain(|key, _| !gone.contains(key));
        if gone.is_empty() { Ok(()) } else { self.register_missing(registry, apps).await }
    }

    /// What `apps` claim and somebody has who is not of a file: apps of the operator, dynos of runtimes.
    fn taken_by_others(&self, now: &Snapshot, apps: &[DeclaredApp]) -> Vec<String> {
        let others: Vec<&AppRecord> = now.apps.iter().filter(|app| !self.is_ours(&app.name, apps)).collect();
        let owners: HashMap<&str, &AppName> = others
            .iter()
            .flat_map(|app| app.domains.iter().map(|domain| (domain.as_str(), &app.name)))
            .collect();
        let catch_all = others.iter().find(|app| app.catch_all).map(|app| &app.name);
        let registered: HashMap<&Address, &DynoRecord> = now.dynos.iter().map(|d| (&d.address, d)).collect();
        let ours: HashSet<&Address> = self.leases.keys().map(|(_, address)| address).collect();
        let mut taken = Vec::new();
        for DeclaredApp { record, dynos } in apps {
            for domain in &record.domains {
                if let Some(owner) = owners.get(domain.as_str()) {
                    taken.push(format!(
                        "domain {domain} of app {} belongs to app {owner}; remove it there first",
                        record.name
                    ));
                }
            }
            if let Some(owner) = catch_all.filter(|_| record.catch_all) {
                taken.push(format!("app {owner} already has `catch_all`; app {} cannot", record.name));
            }
            for dyno in
                dynos.iter().filter(|address| !ours.contains(address)).filter_map(|a| registered.get(a))
            {
                let DynoRecord { app, dyno, address, .. } = dyno;
                taken.push(format!(
                    "dyno {address} of app {} is registered as {app} {dyno}; list it no more",
                    record.name
                ));
            }
        }
        taken
    }

    fn is_ours(&self, app: &AppName, apps: &[DeclaredApp]) -> bool {
        self.apps.contains(app) || apps.iter().any(|declared| declared.record.name == *app)
    }

    /// First everything goes that must go, so that it is free for others.
    async fn end_what_is_gone(
        &mut self,
        registry: &dyn Registry,
        apps: &[DeclaredApp],
    ) -> Result<(), Refusal> {
        let wanted: HashSet<(&AppName, &Address)> =
            apps.iter().flat_map(|app| app.dynos.iter().map(|address| (&app.record.name, address))).collect();
        let gone: Vec<_> =
            self.leases.keys().filter(|(app, at)| !wanted.contains(&(app, at))).cloned().collect();
        for key in gone {
            if let Some(lease) = self.leases.remove(&key) {
                registry.deregister(&lease).await?;
            }
        }
        let names: BTreeSet<AppName> = apps.iter().map(|app| app.record.name.clone()).collect();
        for app in self.apps.difference(&names) {
            registry.remove_app(app).await?;
        }
        self.apps = names;
        Ok(())
    }

    /// A domain may move from one app to another, so each app first lets go of what it loses.
    async fn put_apps(
        &self,
        registry: &dyn Registry,
        before: &Snapshot,
        apps: &[DeclaredApp],
    ) -> Result<(), Refusal> {
        let old: HashMap<&AppName, &AppRecord> = before.apps.iter().map(|app| (&app.name, app)).collect();
        let wanted = |app: &DeclaredApp| {
            let kept = old.get(&app.record.name).map_or_else(WebFormation::default, |old| old.web);
            let web = if app.dynos.is_empty() { kept } else { app.record.web };
            AppRecord { web, ..app.record.clone() }
        };
        let changed: Vec<AppRecord> =
            apps.iter().map(wanted).filter(|app| old.get(&app.name) != Some(&app)).collect();
        for app in &changed {
            let Some(old) = old.get(&app.name) else { continue };
            let kept: HashSet<_> = app.domains.iter().collect();
            let domains: Vec<_> =
                old.domains.iter().filter(|domain| kept.contains(domain)).cloned().collect();
            if domains.len() < old.domains.len() || old.catch_all && !app.catch_all {
                let catch_all = old.catch_all && app.catch_all;
                registry.put_app(AppRecord { domains, catch_all, ..(*old).clone() }, None).await?;
            }
        }
        for app in changed {
            registry.put_app(app, None).await?;
        }
        Ok(())
    }

    /// Registers each dyno of the file that has no lease, under a number that nobody has.
    async fn register_missing(
        &mut self,
        registry: &dyn Registry,
        apps: &[DeclaredApp],
    ) -> Result<(), Refusal> {
        let now = registry.snapshot().await?;
        let mut numbers: HashMap<&AppName, BTreeSet<u32>> = HashMap::new();
        for dyno in now.dynos.iter().filter(|dyno| dyno.dyno.process_type.is_web()) {
            numbers.entry(&dyno.app).or_default().insert(dyno.dyno.index);
        }
        let (none, mut refused) = (BTreeSet::new(), Ok(()));
        for app in apps {
            let name = &app.record.name;
            let taken = numbers.get(name).unwrap_or(&none);
            let mut free = (1..=u32::MAX).filter(|number| !taken.contains(number));
            for address in &app.dynos {
                if self.leases.contains_key(&(name.clone(), address.clone())) {
                    continue;
                }
                let dyno = DynoName::new(ProcessType::web(), free.next().unwrap_or(u32::MAX));
                let asked = Registration { app: name.clone(), dyno, address: address.clone(), ttl_ms: LEASE };
                match registry.register(asked).await {
                    Ok(lease) => drop(self.leases.insert((name.clone(), address.clone()), lease.id)),
                    Err(refusal) => refused = Err(refusal),
                }
            }
        }
        refused
    }
}

#[cfg(test)]
mod tests;
