//! Follows the registry: turns its snapshots and events into changes of the table.

use std::sync::Arc;

use busbar_registry::{AppName, Change, DynoName, Event, Generation, Revision, Snapshot};

use super::{
    app::App,
    dyno::Dyno,
    table::{Applied, Publisher},
};

/// Keeps one table as the registry says. Whichever way it got to a revision, by events or by a snapshot, the table is
/// the same; what changes with requests (loads, quarantines, those who wait) survives both.
///
/// ```
/// use busbar_registry::{Event, Snapshot};
/// use router_core::route::{roster::Roster, table::RouteTable};
/// let (table, publisher) = RouteTable::new();
/// let mut roster = Roster::new(publisher);
/// roster.reset(Snapshot::default());
/// let event = r#"{"revision":1,"change":"app_put","app":{"name":"shop","domains":["shop.example"]}}"#;
/// roster.apply(serde_json::from_str::<Event>(event).unwrap());
/// assert_eq!(table.reader().find("shop.example").unwrap().name.as_str(), "shop");
/// ```
pub struct Roster {
    publisher: Publisher,
    revision: Revision,
}

impl Roster {
    /// Knows nothing yet.
    pub const fn new(publisher: Publisher) -> Self {
        Self { publisher, revision: Revision(0) }
    }

    /// The table is as the registry was then: where to go on watching.
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// All apps, in no order.
    pub fn apps(&self) -> impl ExactSizeIterator<Item = &Arc<App>> {
        self.publisher.apps()
    }

    /// The app of that name.
    pub fn app(&self, name: &AppName) -> Option<&Arc<App>> {
        self.publisher.app(name)
    }

    /// The web dyno of that generation, if it is the newest one of its name: whether it is up or drains.
    pub fn dyno(&self, app: &AppName, name: &DynoName, generation: Generation) -> Option<&Arc<Dyno>> {
        self.publisher.dyno(app, name, generation)
    }

    /// The registry changed. An event of a revision that is known already changes nothing.
    pub fn apply(&mut self, event: Event) -> Applied {
        if event.revision <= self.revision {
            return Applied::Unchanged;
        }
        self.revision = event.revision;
        match event.change {
            Change::AppPut { app } => self.publisher.put_app(app),
            Change::AppRemoved { app } => self.publisher.remove_app(&app),
            Change::DynoPut { dyno } => self.publisher.put_dyno(dyno),
            Change::DynoRemoved { app, dyno, generation } => {
                self.publisher.remove_dyno(&app, &dyno, generation)
            }
        }
    }

    /// The registry is as the snapshot says, whatever was known: a registry that begins anew may count from 1 again.
    pub fn reset(&mut self, snapshot: Snapshot) {
        self.revision = snapshot.revision;
        self.publisher.replace_all(snapshot.apps, snapshot.dynos);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use busbar_registry::{AppRecord, DynoRecord, DynoState};
    use proptest::prelude::*;

    use super::*;
    use crate::route::{
        fixture::{app_record, dyno_record},
        load::Slot,
        table::RouteTable,
    };

    const DOMAINS: [&str; 5] = ["a.example", "b.example", "*.example", "c.b.example", "*.b.example"];
    const HOSTS: [&str; 7] =
        ["a.example", "b.example", "c.example", "c.b.example", "d.b.example", "x.d.b.example", "example"];
    const APPS: [&str; 3] = ["one", "two", "three"];

    /// A registry, as plainly as it can be written: it keeps the records and tells each change.
    #[derive(Default)]
    struct Model {
        apps: BTreeMap<AppName, AppRecord>,
        dynos: BTreeMap<(AppName, DynoName, Generation), DynoRecord>,
        events: Vec<Event>,
    }

    /// What somebody asks of it; numbers choose among what there is.
    #[derive(Debug, Clone)]
    enum Ask {
        PutApp { app: usize, domains: Vec<usize>, catch_all: bool, maintenance: bool, starting: u32 },
        RemoveApp(usize),
        Register { app: usize, index: u32, port: u16 },
        Drain(prop::sample::Index),
        Deregister(prop::sample::Index),
    }

    fn ask() -> impl Strategy<Value = Ask> {
        let app = 0..APPS.len();
        prop_oneof![
            3 => (app.clone(), prop::collection::vec(0..DOMAINS.len(), 0..4), any::<bool>(), any::<bool>(), 0u32..3).prop_map(
                |(app, domains, catch_all, maintenance, starting)| Ask::PutApp { app, domains, catch_all, maintenance, starting }
            ),
            1 => app.clone().prop_map(Ask::RemoveApp),
            5 => (app, 1u32..4, 1u16..4).prop_map(|(app, index, port)| Ask::Register { app, index, port }),
            2 => any::<prop::sample::Index>().prop_map(Ask::Drain),
            2 => any::<prop::sample::Index>().prop_map(Ask::Deregister),
        ]
    }

    impl Model {
        fn tell(&mut self, change: Change) {
            let revision = Revision(self.events.len() as u64 + 1);
            self.events.push(Event { revision, change });
        }

        fn deregister(&mut self, id: &(AppName, DynoName, Generation)) {
            if self.dynos.remove(id).is_some() {
                let (app, dyno, generation) = id.clone();
                self.tell(Change::DynoRemoved { app, dyno, generation });
            }
        }

        fn put_app(&mut self, app: AppRecord) {
            let others = || self.apps.values().filter(|other| other.name != app.name);
            let taken = |d| others().any(|other| other.domains.contains(d));
            if app.domains.iter().any(taken) || app.catch_all && others().any(|other| other.catch_all) {
                return; // the registry refuses that
            }
            self.apps.insert(app.name.clone(), app.clone());
            self.tell(Change::AppPut { app });
        }

        fn register(&mut self, dyno: DynoRecord) {
            let fenced = |old: &&DynoRecord| {
                let same_name = old.app == dyno.app && old.dyno == dyno.dyno && old.state == DynoState::Up;
                same_name || old.address == dyno.address
            };
            let fenced: Vec<_> = self.dynos.values().filter(fenced).map(id).collect();
            fenced.iter().for_each(|id| self.deregister(id));
            self.dynos.insert(id(&dyno), dyno.clone());
            self.tell(Change::DynoPut { dyno });
        }

        fn handle(&mut self, ask: Ask) {
            let nth = |at: &prop::sample::Index, dynos: &BTreeMap<_, DynoRecord>| {
                (!dynos.is_empty()).then(|| dynos.values().nth(at.index(dynos.len())).unwrap().clone())
            };
            match ask {
                Ask::PutApp { app, domains, catch_all, maintenance, starting } => {
                    let domains: Vec<_> = domains.into_iter().map(|at| DOMAINS[at]).collect();
                    let mut app = AppRecord { catch_all, maintenance, ..app_record(APPS[app], &domains) };
                    app.web.starting = starting;
                    self.put_app(app);
                }
                Ask::RemoveApp(app) => {
                    let app: AppName = APPS[app].parse().unwrap();
                    self.dynos.retain(|(of, ..), _| *of != app);
                    if self.apps.remove(&app).is_some() {
                        self.tell(Change::AppRemoved { app });
                    }
                }
                Ask::Register { app, index, port } => {
                    let generation = self.events.len() as u64 + 1;
                    let mut dyno = dyno_record(APPS[app], index, generation, DynoState::Up);
                    dyno.address = ([127, 0, 0, 1], port).into();
                    if self.apps.contains_key(&dyno.app) {
                        self.register(dyno);
                    }
                }
                Ask::Drain(at) => {
                    if let Some(mut dyno) = nth(&at, &self.dynos) {
                        dyno.state = DynoState::Draining;
                        self.dynos.insert(id(&dyno), dyno.clone());
                        self.tell(Change::DynoPut { dyno });
                    }
                }
                Ask::Deregister(at) => {
                    if let Some(dyno) = nth(&at, &self.dynos) {
                        self.deregister(&id(&dyno));
                    }
                }
            }
        }

        fn snapshot(&self) -> Snapshot {
            Snapshot {
                revision: Revision(self.events.len() as u64),
                apps: self.apps.values().cloned().collect(),
                dynos: self.dynos.values().cloned().collect(),
            }
        }
    }

    fn id(dyno: &DynoRecord) -> (AppName, DynoName, Generation) {
        (dyno.app.clone(), dyno.dyno.clone(), dyno.generation)
    }

    /// All that requests could notice.
    fn seen(table: &RouteTable, roster: &Roster) -> (Vec<String>, Vec<Option<String>>) {
        let describe = |app: &Arc<App>| {
            let set = app.set();
            format!("{} {:?} {} {:?} {:?}", app.name, set.dynos, set.maintenance, set.web, set.routing)
        };
        let mut apps: Vec<_> = roster.apps().map(describe).collect();
        apps.sort();
        let mut reader = table.reader();
        let hosts = HOSTS.iter().map(|host| reader.find(host).map(|app| app.name.to_string())).collect();
        (apps, hosts)
    }

    fn roster() -> (RouteTable, Roster) {
        let (table, publisher) = RouteTable::new();
        (table, Roster::new(publisher))
    }

    proptest! {
        #[test]
        fn events_and_snapshots_lead_to_the_same_table(
            asks in prop::collection::vec(ask(), 1..60), at in any::<prop::sample::Index>(),
        ) {
            let (mut model, middle) = (Model::default(), at.index(asks.len()));
            let (watched_table, mut watched) = roster();
            let (mixed_table, mut mixed) = roster();
            for (n, ask) in asks.into_iter().enumerate() {
                let before = model.events.len();
                model.handle(ask);
                for event in &model.events[before..] {
                    watched.apply(event.clone());
                    if n > middle {
                        mixed.apply(event.clone());
                    }
                }
                if n == middle {
                    mixed.reset(model.snapshot());
                }
            }
            let (fresh_table, mut fresh) = roster();
            fresh.reset(model.snapshot());
            let expected = seen(&fresh_table, &fresh);
            prop_assert_eq!(&seen(&watched_table, &watched), &expected);
            prop_assert_eq!(&seen(&mixed_table, &mixed), &expected);
            // Neither a repeated event nor a snapshot of the same changes anything.
            model.events.iter().for_each(|event| { watched.apply(event.clone()); });
            watched.reset(model.snapshot());
            prop_assert_eq!(&seen(&watched_table, &watched), &expected);
            // The other way round, from this table to an earlier one.
            watched.reset(Snapshot::default());
            prop_assert_eq!(seen(&watched_table, &watched), (vec![], vec![None; HOSTS.len()]));
        }
    }

    #[test]
    fn a_reset_keeps_requests_in_flight_and_quarantines() {
        let (table, mut roster) = roster();
        let snapshot = Snapshot {
            revision: Revision(1),
            apps: vec![app_record("shop", &["shop.example"])],
            dynos: vec![dyno_record("shop", 1, 1, DynoState::Up), dyno_record("shop", 2, 2, DynoState::Up)],
        };
        roster.reset(snapshot.clone());
        let app = table.reader().find("shop.example").unwrap();
        let slot = Slot::take(&app.set().dynos[0], None).unwrap();
        roster.reset(Snapshot { dynos: snapshot.dynos[..1].to_vec(), ..snapshot });
        let set = app.set();
        assert!(Arc::ptr_eq(&set.dynos[0], slot.dyno()) && set.dynos.len() == 1);
        assert_eq!(set.dynos[0].load.in_flight(), 1);
    }

    #[test]
    fn of_two_generations_in_a_snapshot_only_the_newer_counts() {
        let (table, mut roster) = roster();
        for newer in [DynoState::Up, DynoState::Draining] {
            roster.reset(Snapshot {
                revision: Revision(1),
                apps: vec![app_record("shop", &["shop.example"])],
                dynos: vec![dyno_record("shop", 1, 5, DynoState::Draining), dyno_record("shop", 1, 6, newer)],
            });
            let generations: Vec<_> = table
                .reader()
                .find("shop.example")
                .unwrap()
                .set()
                .dynos
                .iter()
                .map(|d| d.generation.0)
                .collect();
            assert_eq!(generations, if newer == DynoState::Up { vec![6] } else { vec![] });
        }
    }
}
