//! The live leases, found by id, by address, by name and by the time they run out.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use crate::{Address, AppName, DynoName, DynoRecord, DynoState, Generation, LeaseId};

/// A live lease.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: LeaseId,
    pub(super) ttl: Duration,
    pub(super) deadline: Duration,
    pub(super) record: DynoRecord,
}

/// All live leases. Invariant: each is in every index, under its present values, and in no other place.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: HashMap<Generation, Held>,
    by_id: HashMap<LeaseId, Generation>,
    by_address: HashMap<Address, Generation>,
    by_app: BTreeMap<AppName, BTreeSet<(DynoName, Generation)>>,
    by_deadline: BTreeSet<(Duration, Generation)>,
}

impl Leases {
    /// The caller has removed whoever had this address.
    pub(super) fn insert(&mut self, lease: Held) {
        let generation = lease.record.generation;
        self.by_id.insert(lease.id.clone(), generation);
        self.by_address.insert(lease.record.address.clone(), generation);
        self.by_deadline.insert((lease.deadline, generation));
        let of_app = self.by_app.entry(lease.record.app.clone()).or_default();
        of_app.insert((lease.record.dyno.clone(), generation));
        self.held.insert(generation, lease);
    }

    pub(super) fn remove(&mut self, generation: Generation) -> Option<DynoRecord> {
        let Held { id, deadline, record, .. } = self.held.remove(&generation)?;
        self.by_id.remove(&id);
        self.by_address.remove(&record.address);
        self.by_deadline.remove(&(deadline, generation));
        if let Some(of_app) = self.by_app.get_mut(&record.app) {
            of_app.remove(&(record.dyno.clone(), generation));
            if of_app.is_empty() {
                self.by_app.remove(&record.app);
            }
        }
        Some(record)
    }

    pub(super) fn by_id(&self, id: &LeaseId) -> Option<&Held> {
        self.by_id.get(id).and_then(|generation| self.held.get(generation))
    }

    pub(super) fn at(&self, address: &Address) -> Option<&DynoRecord> {
        self.by_address
            .get(address)
            .and_then(|generation| self.held.get(generation))
            .map(|lease| &lease.record)
    }

    /// The one dyno of that name that is not draining.
    pub(super) fn up(&self, app: &AppName, dyno: &DynoName) -> Option<&DynoRecord> {
        let all = (dyno.clone(), Generation(0))..=(dyno.clone(), Generation(u64::MAX));
        let of_name = self.by_app.get(app)?.range(all);
        of_name
            .filter_map(|(_, generation)| self.held.get(generation))
            .map(|lease| &lease.record)
            .find(|record| record.state == DynoState::Up)
    }

    pub(super) fn of_app(&self, app: &AppName) -> impl Iterator<Item = Generation> {
        self.by_app.get(app).into_iter().flatten().map(|(_, generation)| *generation)
    }

    pub(super) fn count(&self, app: &AppName) -> usize {
        self.by_app.get(app).map_or(0, BTreeSet::len)
    }

    /// The lease lasts its whole time again.
    pub(super) fn renew(&mut self, generation: Generation, now: Duration) {
        if let Some(lease) = self.held.get_mut(&generation) {
            self.by_deadline.remove(&(lease.deadline, generation));
            lease.deadline = now.saturating_add(lease.ttl);
            self.by_deadline.insert((lease.deadline, generation));
        }
    }

    /// The dyno as it is from now on. `None`: it drains already, or is gone.
    pub(super) fn drain(&mut self, generation: Generation) -> Option<DynoRecord> {
        let record = &mut self.held.get_mut(&generation)?.record;
        let was_up = record.state == DynoState::Up;
        record.state = DynoState::Draining;
        was_up.then(|| record.clone())
    }

    /// The lease that runs out first, and when.
    pub(super) fn first_to_end(&self) -> Option<(Duration, Generation)> {
        self.by_deadline.first().copied()
    }

    /// All dynos, by app, name and generation.
    pub(super) fn records(&self) -> impl Iterator<Item = &DynoRecord> {
        self.by_app
            .values()
            .flatten()
            .filter_map(|(_, generation)| self.held.get(generation))
            .map(|l| &l.record)
    }
}
