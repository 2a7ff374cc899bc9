//! The one writer of the table.
//!
//! - [`Publisher`]: puts and removes apps and dynos, one at a time or all at once.
//! - [`Applied`]: what came of it.
//!
//! Of a dyno it knows the newest generation only: whatever concerns an older one of the same name is refused here, and
//! by nobody else. That two dynos never hold one address is the registry's promise.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use busbar_registry::{
    AppName, AppRecord, Domain, DynoName, DynoRecord, DynoState, Generation, ProcessType, Routing,
    WebFormation,
};
use foldhash::quality::RandomState;

use super::{RouteTable, build::HostMap};
use crate::route::{
    app::{App, DynoSet},
    dyno::{Dyno, DynoKey},
    load::AppLoad,
};

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The table is another one now.
    Published,
    /// It was so before, or it says nothing about web dynos that are up.
    Unchanged,
    /// It concerns an older generation of a dyno than the one that is known.
    Fenced,
    /// There is no such app, so its dyno was left out.
    UnknownApp,
}

/// Writes the table. There is exactly one per table, and each change is visible when its call returns.
pub struct Publisher {
    table: RouteTable,
    apps: HashMap<AppName, KnownApp, RandomState>,
    /// What all apps with default settings share.
    routing: Arc<Routing>,
    /// What all dynos' names share.
    web: ProcessType,
    /// Host maps some worker may still look at; freed here, so that no worker pays for it. At most one per worker
    /// and one more.
    retired: Vec<Arc<HostMap>>,
}

impl Publisher {
    pub(super) fn new(table: RouteTable) -> Self {
        let (routing, web) = (Arc::default(), ProcessType::web());
        Self { table, apps: HashMap::default(), routing, web, retired: Vec::new() }
    }

    /// The app of that name.
    pub fn app(&self, name: &AppName) -> Option<&Arc<App>> {
        self.apps.get(name).map(|known| &known.app)
    }

    /// The web dyno of that generation, if it is the newest one of its name: whether it is up or drains.
    pub fn dyno(&self, app: &AppName, name: &DynoName, generation: Generation) -> Option<&Arc<Dyno>> {
        let known = self.apps.get(app)?;
        let dyno = &known.dynos.get(known.find(name).ok()?)?.dyno;
        (dyno.generation == generation).then_some(dyno)
    }

    /// All apps, in no order.
    pub fn apps(&self) -> impl ExactSizeIterator<Item = &Arc<App>> {
        self.apps.values().map(|known| &known.app)
    }

    /// The app is new or different; its dynos stay. A domain that another app had is this app's now.
    pub fn put_app(&mut self, record: AppRecord) -> Applied {
        let mut hosts = self.edit();
        let changed = self.put(record, None, &mut hosts);
        applied(self.swap(hosts) || changed)
    }

    /// The app and its dynos are gone. Whoever still waits for one of them is told that there is none.
    pub fn remove_app(&mut self, name: &AppName) -> Applied {
        let Some(known) = self.apps.remove(name) else { return Applied::Unchanged };
        let mut hosts = self.edit();
        hosts.forget(&known);
        self.swap(hosts);
        known.close();
        Applied::Published
    }

    /// The dyno is new, or drains. Only web dynos get requests, so others are left out.
    pub fn put_dyno(&mut self, record: DynoRecord) -> Applied {
        let Some(known) = self.apps.get_mut(&record.app) else { return Applied::UnknownApp };
        if !record.dyno.process_type.is_web() {
            return Applied::Unchanged;
        }
        let applied = known.put_dyno(record, &self.web);
        known.publish_if(applied)
    }

    /// The dyno of that generation is gone.
    pub fn remove_dyno(&mut self, app: &AppName, dyno: &DynoName, generation: Generation) -> Applied {
        let Some(known) = self.apps.get_mut(app) else { return Applied::UnknownApp };
        let applied = known.remove_dyno(dyno, generation);
        known.publish_if(applied)
    }

    /// These apps and dynos are all there are. What is known stays as it is where it is the same: the loads of dynos,
    /// requests in flight, those who wait. The host map changes in one swap.
    pub fn replace_all(&mut self, apps: Vec<AppRecord>, dynos: Vec<DynoRecord>) {
        let mut by_app: HashMap<AppName, Vec<DynoRecord>> = HashMap::new();
        for dyno in dynos.into_iter().filter(|dyno| dyno.dyno.process_type.is_web()) {
            by_app.entry(dyno.app.clone()).or_default().push(dyno);
        }
        let stay: HashSet<AppName> = apps.iter().map(|app| app.name.clone()).collect();
        let gone: Vec<_> = self.apps.extract_if(|name, _| !stay.contains(name)).collect();
        let mut hosts = self.edit();
        gone.iter().for_each(|(_, known)| hosts.forget(known));
        for app in apps {
            let dynos = by_app.remove(&app.name).unwrap_or_default();
            self.put(app, Some(dynos), &mut hosts);
        }
        self.swap(hosts);
        gone.iter().for_each(|(_, known)| known.close());
    }

    /// Brings an app, and with `dynos` also its dynos, to what is given: its set at once, its domains in `hosts`.
    /// Says whether the set changed or the app is new.
    fn put(&mut self, record: AppRecord, dynos: Option<Vec<DynoRecord>>, hosts: &mut HostEdit) -> bool {
        let AppRecord { name, domains, catch_all, maintenance, routing, web } = record;
        let routing = if routing == *self.routing { Arc::clone(&self.routing) } else { Arc::new(routing) };
        let settings = Settings { routing, maintenance, web };
        let is_new = !self.apps.contains_key(&name);
        let known =
            self.apps.entry(name).or_insert_with_key(|name| KnownApp::new(name.clone(), settings.clone()));
        let other_dynos = dynos.is_some_and(|dynos| known.replace_dynos(dynos, &self.web));
        if other_dynos || known.settings() != settings {
            known.publish(settings);
            hosts.change(known, domains, catch_all);
            return true;
        }
        hosts.change(known, domains, catch_all);
        is_new
    }

    fn edit(&self) -> HostEdit {
        HostEdit { base: self.table.hosts.load_full(), next: None }
    }

    /// Publishes the host map, if it changed; says whether it did.
    fn swap(&mut self, edit: HostEdit) -> bool {
        let HostEdit { base, next } = edit;
        drop(base);
        let Some(next) = next else { return false };
        self.retired.push(self.table.hosts.swap(Arc::new(next)));
        self.retired.retain(|map| Arc::strong_count(map) > 1);
        true
    }
}

fn applied(changed: bool) -> Applied {
    if changed { Applied::Published } else { Applied::Unchanged }
}

/// What an app's record says about its set.
#[derive(Clone, PartialEq)]
struct Settings {
    routing: Arc<Routing>,
    maintenance: bool,
    web: WebFormation,
}

struct KnownApp {
    app: Arc<App>,
    /// Sorted.
    domains: Box<[Domain]>,
    catch_all: bool,
    /// The newest generation of each web dyno, sorted by name.
    dynos: Vec<KnownDyno>,
}

struct KnownDyno {
    dyno: Arc<Dyno>,
    up: bool,
}

impl KnownDyno {
    fn new(record: DynoRecord, app: &Arc<AppLoad>, web: &ProcessType) -> Self {
        let DynoRecord { app: app_name, dyno, address, generation, state } = record;
        let name = DynoName::new(web.clone(), dyno.index);
        let dyno = Dyno::new(&app_name, name, address, generation, Arc::clone(app));
        Self { dyno: Arc::new(dyno), up: state == DynoState::Up }
    }

    /// Whether `record` is about this very dyno, in whatever state.
    fn is(&self, record: &DynoRecord) -> bool {
        self.dyno.generation == record.generation && self.dyno.address == record.address
    }
}

impl KnownApp {
    fn new(name: AppName, settings: Settings) -> Self {
        let load = Arc::<AppLoad>::default();
        let set = settings.with(Box::default(), Arc::clone(&load));
        let app = Arc::new(App::new(name, load, set));
        Self { app, domains: Box::default(), catch_all: false, dynos: Vec::new() }
    }

    fn settings(&self) -> Settings {
        self.app.with_set(|set| Settings {
            routing: Arc::clone(&set.routing),
            maintenance: set.maintenance,
            web: set.web,
        })
    }

    fn publish(&self, settings: Settings) {
        let up = self.dynos.iter().filter(|known| known.up).map(|known| Arc::clone(&known.dyno));
        self.app.publish(settings.with(up.collect(), Arc::clone(&self.app.load)));
    }

    fn publish_if(&self, applied: Applied) -> Applied {
        if applied == Applied::Published {
            self.publish(self.settings());
        }
        applied
    }

    /// The app's last set, for those who still hold it.
    fn close(&self) {
        let settings = Settings { web: WebFormation::default(), ..self.settings() };
        self.app.publish(settings.with(Box::default(), Arc::clone(&self.app.load)));
    }

    fn find(&self, name: &DynoName) -> Result<usize, usize> {
        self.dynos.binary_search_by(|known| known.dyno.name.cmp(name))
    }

    /// `Published` means that the set is to be published.
    fn put_dyno(&mut self, record: DynoRecord, web: &ProcessType) -> Applied {
        let up = record.state == DynoState::Up;
        let known = match self.find(&record.dyno) {
            Ok(at) => self.dynos.get_mut(at),
            Err(at) => {
                self.dynos.insert(at, KnownDyno::new(record, &self.app.load, web));
                return applied(up);
            }
        };
        match known {
            Some(known) if known.dyno.generation > record.generation => Applied::Fenced,
            Some(known) if known.is(&record) => applied(std::mem::replace(&mut known.up, up) != up),
            Some(known) => {
                let was_up = known.up;
                *known = KnownDyno::new(record, &self.app.load, web);
                applied(was_up || up)
            }
            None => Applied::Unchanged,
        }
    }

    /// `Published` means that the set is to be published.
    fn remove_dyno(&mut self, name: &DynoName, generation: Generation) -> Applied {
        let Ok(at) = self.find(name) else { return Applied::Unchanged };
        match self.dynos.get(at).map(|known| known.dyno.generation.cmp(&generation)) {
            Some(Ordering::Greater) => Applied::Fenced,
            Some(Ordering::Equal) => applied(self.dynos.remove(at).up),
            _ => Applied::Unchanged,
        }
    }

    /// These are all its dynos; says whether those that are up are others than before.
    fn replace_dynos(&mut self, mut records: Vec<DynoRecord>, web: &ProcessType) -> bool {
        let before = self.up();
        let mut known: BTreeMap<DynoName, KnownDyno> = std::mem::take(&mut self.dynos)
            .into_iter()
            .map(|known| (known.dyno.name.clone(), known))
            .collect();
        records.sort_unstable_by(|a, b| (&a.dyno, b.generation).cmp(&(&b.dyno, a.generation)));
        records.dedup_by(|older, newest| older.dyno == newest.dyno);
        for record in records {
            let dyno = match known.remove(&record.dyno) {
                Some(known) if known.is(&record) => KnownDyno { up: record.state == DynoState::Up, ..known },
                _ => KnownDyno::new(record, &self.app.load, web),
            };
            self.dynos.push(dyno);
        }
        before != self.up()
    }

    fn up(&self) -> Vec<DynoKey> {
        self.dynos.iter().filter(|known| known.up).map(|known| known.dyno.key).collect()
    }
}

impl Settings {
    fn with(self, dynos: Box<[Arc<Dyno>]>, load: Arc<AppLoad>) -> DynoSet {
        let Self { routing, maintenance, web } = self;
        DynoSet { dynos, routing, maintenance, web, load }
    }
}

/// The next host map; copied from the published one at the first difference.
struct HostEdit {
    base: Arc<HostMap>,
    next: Option<HostMap>,
}

impl HostEdit {
    fn next(&mut self) -> &mut HostMap {
        self.next.get_or_insert_with(|| HostMap::clone(&self.base))
    }

    fn change(&mut self, known: &mut KnownApp, mut domains: Vec<Domain>, catch_all: bool) {
        domains.sort_unstable();
        domains.dedup();
        for gone in known.domains.iter().filter(|domain| domains.binary_search(domain).is_err()) {
            self.next().remove(gone, &known.app);
        }
        for new in domains.iter().filter(|domain| known.domains.binary_search(domain).is_err()) {
            self.next().insert(new, &known.app);
        }
        if known.catch_all != catch_all {
            self.next().set_catch_all(&known.app, catch_all);
        }
        if *known.domains != *domains {
            known.domains = domains.into();
        }
        known.catch_all = catch_all;
    }

    fn forget(&mut self, known: &KnownApp) {
        for domain in &known.domains {
            self.next().remove(domain, &known.app);
        }
        if known.catch_all {
            self.next().set_catch_all(&known.app, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{
        fixture::{app_record, dyno_record},
        load::Slot,
    };

    fn shop() -> AppName {
        "shop".parse().unwrap()
    }

    #[test]
    fn a_dyno_that_stays_keeps_its_load_and_its_key_across_swaps() {
        let (table, mut publisher) = crate::route::fixture::published(1, |_| {});
        let app = table.reader().find("shop.example").unwrap();
        let before = Arc::clone(&app.set().dynos[0]);
        let _slot = Slot::take(&before, None);
        publisher.put_dyno(dyno_record("shop", 2, 2, DynoState::Up));
        let mut record = app_record("shop", &["other.example"]);
        record.maintenance = true;
        publisher.put_app(record.clone());
        publisher.replace_all(vec![record], vec![dyno_record("shop", 1, 1, DynoState::Up)]);
        let set = app.set();
        assert!(Arc::ptr_eq(&set.dynos[0], &before) && set.dynos.len() == 1);
        assert_eq!(set.dynos[0].load.in_flight(), 1);
    }

    #[test]
    fn a_new_generation_is_a_new_dyno_even_at_the_same_address() {
        let (table, mut publisher) = crate::route::fixture::published(1, |_| {});
        let app = table.reader().find("shop.example").unwrap();
        let before = Arc::clone(&app.set().dynos[0]);
        let mut successor = dyno_record("shop", 1, 2, DynoState::Up);
        successor.address = before.address.clone();
        assert_eq!(publisher.put_dyno(successor), Applied::Published);
        let after = Arc::clone(&app.set().dynos[0]);
        assert_eq!((&after.address, after.generation), (&before.address, Generation(2)));
        assert_ne!(after.key, before.key);
    }

    #[test]
    fn an_older_generation_neither_replaces_nor_removes_a_newer_one() {
        let (table, mut publisher) = crate::route::fixture::published(0, |_| {});
        let app = table.reader().find("shop.example").unwrap();
        publisher.put_dyno(dyno_record("shop", 1, 7, DynoState::Up));
        for state in [DynoState::Up, DynoState::Draining] {
            assert_eq!(publisher.put_dyno(dyno_record("shop", 1, 6, state)), Applied::Fenced);
        }
        let web_1 = "web.1".parse().unwrap();
        assert_eq!(publisher.remove_dyno(&shop(), &web_1, Generation(6)), Applied::Fenced);
        assert_eq!(app.set().dynos[0].generation, Generation(7));
        assert_eq!(publisher.remove_dyno(&shop(), &web_1, Generation(7)), Applied::Published);
        assert!(app.set().dynos.is_empty());
    }

    #[test]
    fn a_draining_dyno_leaves_the_set_and_its_request_goes_on_counting() {
        let (table, mut publisher) = crate::route::fixture::published(2, |_| {});
        let app = table.reader().find("shop.example").unwrap();
        let slot = Slot::take(&app.set().dynos[0], None).unwrap();
        assert_eq!(publisher.put_dyno(dyno_record("shop", 1, 1, DynoState::Draining)), Applied::Published);
        let known = |generation| publisher.dyno(&app.name, &slot.dyno().name, Generation(generation));
        assert!(known(1).is_some_and(|dyno| Arc::ptr_eq(dyno, slot.dyno())) && known(2).is_none());
        assert_eq!(app.set().dynos.iter().map(|dyno| &*dyno.label).collect::<Vec<_>>(), ["web.2"]);
        assert_eq!(slot.dyno().load.in_flight(), 1);
    }

    #[test]
    fn what_changes_nothing_publishes_nothing() {
        let (table, mut publisher) = crate::route::fixture::published(1, |_| {});
        let app = table.reader().find("shop.example").unwrap();
        let (hosts, set) = (table.hosts.load_full(), app.set());
        assert_eq!(publisher.put_app(app_record("shop", &["shop.example"])), Applied::Unchanged);
        assert_eq!(publisher.put_dyno(dyno_record("shop", 1, 1, DynoState::Up)), Applied::Unchanged);
        let mut worker = dyno_record("shop", 1, 9, DynoState::Up);
        worker.dyno = "worker.1".parse().unwrap();
        assert_eq!(publisher.put_dyno(worker), Applied::Unchanged);
        assert_eq!(publisher.put_dyno(dyno_record("blog", 1, 9, DynoState::Up)), Applied::UnknownApp);
        assert_eq!(publisher.remove_app(&"blog".parse().unwrap()), Applied::Unchanged);
        assert!(Arc::ptr_eq(&hosts, &table.hosts.load_full()) && Arc::ptr_eq(&set, &app.set()));
    }

    #[test]
    fn a_dyno_change_leaves_the_host_map_alone() {
        let (table, mut publisher) = crate::route::fixture::published(1, |_| {});
        let hosts = table.hosts.load_full();
        publisher.put_dyno(dyno_record("shop", 2, 2, DynoState::Up));
        assert!(Arc::ptr_eq(&hosts, &table.hosts.load_full()));
    }

    #[test]
    fn a_domain_list_changes_in_one_swap() {
        let (table, mut publisher) = crate::route::fixture::published(0, |_| {});
        let before = table.hosts.load_full();
        publisher.put_app(app_record("shop", &["a.example", "b.example"]));
        let after = table.hosts.load_full();
        assert!(before.find("shop.example").is_some() && before.find("a.example").is_none());
        assert!(after.find("shop.example").is_none());
        assert!(after.find("a.example").is_some() && after.find("b.example").is_some());
    }

    #[test]
    fn a_removed_app_is_found_no_more_and_tells_those_who_hold_it() {
        let (table, mut publisher) = crate::route::fixture::published(2, |_| {});
        let mut reader = table.reader();
        let app = reader.find("shop.example").unwrap();
        publisher.remove_app(&shop());
        assert!(reader.find("shop.example").is_none());
        assert!(app.set().dynos.is_empty());
    }

    #[test]
    fn an_old_host_map_is_freed_by_the_publisher_once_no_worker_looks_at_it() {
        let (table, mut publisher) = crate::route::fixture::published(0, |_| {});
        let mut reader = table.reader();
        publisher.put_app(app_record("shop", &["a.example"]));
        assert_eq!(publisher.retired.len(), 1, "the reader still has it");
        let old = Arc::downgrade(&publisher.retired[0]);
        assert!(reader.find("a.example").is_some());
        assert!(old.upgrade().is_some());
        publisher.put_app(app_record("shop", &["b.example"]));
        assert!(old.upgrade().is_none());
    }
}
