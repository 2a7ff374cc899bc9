//! Random histories against a model so naive that it is plainly right: flat lists, looked through from the start.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test, like the test, say what they need by failing"
)]

use std::time::Duration;

use busbar_registry::{
    AppRecord, Bounds, Change, DynoRecord, DynoState, Event, Generation, LeaseId, Millis, Refusal,
    Registration, Revision, Routing, Snapshot, WebFormation,
    ledger::{Ledger, Step},
};
use proptest::{collection::vec, prelude::*, sample::select};

const BOUNDS: Bounds = Bounds {
    ttl_min: Millis(2000),
    ttl_max: Millis(8000),
    apps: 2,
    domains_per_app: 2,
    dynos_per_app: 3,
    history: 1000,
};

#[derive(Debug, Clone)]
enum Op {
    Wait(u64),
    Put { app: usize, domains: Vec<usize>, catch_all: bool, age: Option<u64> },
    Remove { app: usize },
    Report { app: usize, quantity: u32 },
    Register { app: usize, dyno: u32, port: u16, ttl: u64, after: Option<u64> },
    Renew(prop::sample::Index),
    Drain(prop::sample::Index),
    Deregister(prop::sample::Index),
}

fn op() -> impl Strategy<Value = Op> {
    let app = 0..3_usize;
    let domains = select(vec![vec![], vec![0], vec![1], vec![0, 1], vec![1, 2], vec![0, 0], vec![0, 1, 2]]);
    let age = prop::option::of(0..6_u64);
    let put = (app.clone(), domains, any::<bool>(), age).prop_map(|(app, domains, catch_all, age)| Op::Put {
        app,
        domains,
        catch_all,
        age,
    });
    let after = prop::option::of(0..8_u64);
    let register = (app.clone(), 1..4_u32, 0..5_u16, 0..12_u64, after)
        .prop_map(|(app, dyno, port, ttl, after)| Op::Register { app, dyno, port, ttl, after });
    prop_oneof![
        // Half seconds, so that leases of whole seconds are met exactly at their end.
        2 => (0..8_u64).prop_map(|halves| Op::Wait(halves * 500)),
        2 => put,
        1 => app.clone().prop_map(|app| Op::Remove { app }),
        1 => (app, 0..2_u32).prop_map(|(app, quantity)| Op::Report { app, quantity }),
        6 => register,
        3 => any::<prop::sample::Index>().prop_map(Op::Renew),
        2 => any::<prop::sample::Index>().prop_map(Op::Drain),
        1 => any::<prop::sample::Index>().prop_map(Op::Deregister),
    ]
}

/// What a registry is, without any index.
#[derive(Debug, Default)]
struct Model {
    now: u64,
    revision: u64,
    generation: u64,
    apps: Vec<(AppRecord, u64)>,
    leases: Vec<(LeaseId, u64, u64, DynoRecord)>,
}

impl Model {
    fn snapshot(&self) -> Snapshot {
        let mut apps: Vec<_> = self.apps.iter().map(|(app, _)| app.clone()).collect();
        let mut dynos: Vec<_> = self.leases.iter().map(|lease| lease.3.clone()).collect();
        apps.sort_by(|a, b| a.name.cmp(&b.name));
        dynos.sort_by_key(|d| (d.app.clone(), d.dyno.clone(), d.generation));
        Snapshot { revision: Revision(self.revision), apps, dynos }
    }

    fn keep(&mut self, keep: impl Fn(&(LeaseId, u64, u64, DynoRecord)) -> bool) {
        let before = self.leases.len();
        self.leases.retain(keep);
        self.revision += (before - self.leases.len()) as u64;
    }

    fn wait(&mut self, ms: u64) {
        self.now += ms;
        let now = self.now;
        self.keep(|lease| lease.2 > now);
    }

    fn put(&mut self, app: AppRecord, seen: Option<u64>) -> bool {
        let known = self.apps.iter().position(|(known, _)| known.name == app.name);
        let others = || self.apps.iter().map(|(other, _)| other).filter(|other| other.name != app.name);
        let changed = known.map_or(0, |known| self.apps[known].1);
        let unchanged = seen.is_none_or(|seen| match (seen, changed) {
            (0, changed) => changed == 0,
            (seen, changed) => changed != 0 && changed <= seen && seen <= self.revision,
        });
        let twice = (1..app.domains.len()).any(|i| app.domains[..i].contains(&app.domains[i]));
        let taken = others().any(|other| other.domains.iter().any(|domain| app.domains.contains(domain)));
        let caught = app.catch_all && others().any(|other| other.catch_all);
        let full =
            known.is_none() && self.apps.len() == BOUNDS.apps || app.domains.len() > BOUNDS.domains_per_app;
        if !unchanged || twice || taken || caught || full {
            return false;
        }
        if known.is_none_or(|known| self.apps[known].0 != app) {
            self.apps.retain(|(other, _)| other.name != app.name);
            self.revision += 1;
            self.apps.push((app, self.revision));
        }
        true
    }

    fn register(&mut self, asked: &Registration, id: LeaseId, after: Option<u64>) -> bool {
        let known = self.apps.iter().any(|(app, _)| app.name == asked.app);
        let of_other = self.leases.iter().any(|l| l.3.address == asked.address && l.3.app != asked.app);
        let rival = |l: &DynoRecord| {
            l.app == asked.app
                && (l.address == asked.address || l.dyno == asked.dyno && l.state == DynoState::Up)
        };
        let replaced =
            self.leases.iter().any(|l| rival(&l.3) && after.is_some_and(|after| l.3.generation.0 > after));
        let staying = self.leases.iter().filter(|l| l.3.app == asked.app && !rival(&l.3)).count();
        if !known
            || of_other
            || replaced
            || asked.address.tcp().unwrap().port() == 0
            || staying >= BOUNDS.dynos_per_app
        {
            return false;
        }
        self.keep(|lease| !rival(&lease.3));
        (self.generation, self.revision) = (self.generation + 1, self.revision + 1);
        let ttl = asked.ttl_ms.0.clamp(2000, 8000);
        let (app, dyno, address) = (asked.app.clone(), asked.dyno.clone(), asked.address.clone());
        let record =
            DynoRecord { app, dyno, address, generation: Generation(self.generation), state: DynoState::Up };
        self.leases.push((id, ttl, self.now + ttl, record));
        true
    }
}

/// The events told to a watcher, applied to what it knew.
fn fold(known: &mut Snapshot, event: &Event) {
    assert_eq!(event.revision.0, known.revision.0 + 1, "a gap in the revisions");
    known.revision = event.revision;
    match &event.change {
        Change::AppPut { app } => {
            known.apps.retain(|other| other.name != app.name);
            known.apps.push(app.clone());
            known.apps.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Change::AppRemoved { app } => {
            known.apps.retain(|other| other.name != *app);
            known.dynos.retain(|dyno| dyno.app != *app);
        }
        Change::DynoPut { dyno } => {
            known.dynos.retain(|other| other.generation != dyno.generation);
            known.dynos.push(dyno.clone());
            known.dynos.sort_by_key(|d| (d.app.clone(), d.dyno.clone(), d.generation));
        }
        Change::DynoRemoved { app, dyno, generation } => {
            let before = known.dynos.len();
            known.dynos.retain(|d| (&d.app, &d.dyno, &d.generation) != (app, dyno, generation));
            assert_eq!(known.dynos.len() + 1, before, "removed a dyno that was not there");
        }
    }
}

/// A ledger and its model, doing the same.
struct Pair {
    ledger: Ledger,
    model: Model,
    ids: Vec<LeaseId>,
    events: Vec<Event>,
}

impl Pair {
    fn told<T>(&mut self, step: Step<T>) -> Result<T, Refusal> {
        self.events.extend(step.events.iter().map(|event| Event::clone(event)));
        step.answer
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.model.now)
    }

    fn run(&mut self, op: Op) {
        let now = self.now();
        match op {
            Op::Wait(ms) => {
                self.model.wait(ms);
                let expired = self.ledger.expire(self.now());
                self.events.extend(expired.iter().map(|event| Event::clone(event)));
            }
            Op::Put { app, domains, catch_all, age } => {
                let app = record(app, &domains, catch_all);
                let seen = age.map(|age| (self.model.revision + 1).saturating_sub(age));
                let step = self.ledger.put_app(now, app.clone(), seen.map(Revision));
                assert_eq!(self.told(step).is_ok(), self.model.put(app, seen));
            }
            Op::Remove { app } => {
                let name = record(app, &[], false).name;
                let step = self.ledger.remove_app(now, &name);
                self.told(step).unwrap();
                if self.model.apps.iter().any(|(app, _)| app.name == name) {
                    self.model.apps.retain(|(app, _)| app.name != name);
                    self.model.leases.retain(|lease| lease.3.app != name);
                    self.model.revision += 1;
                }
            }
            Op::Report { app, quantity } => {
                let name = record(app, &[], false).name;
                let web = WebFormation { quantity, ..WebFormation::default() };
                let known = self.model.apps.iter().find(|(app, _)| app.name == name).cloned();
                let modelled = known.is_some_and(|(app, _)| self.model.put(AppRecord { web, ..app }, None));
                let step = self.ledger.report_web(now, &name, web);
                assert_eq!(self.told(step).is_ok(), modelled);
            }
            Op::Register { app, dyno, port, ttl, after } => self.register(app, dyno, port, ttl, after),
            Op::Renew(which) => self.with_lease(which, |pair, id| {
                let step = pair.ledger.renew(now, id);
                let found = pair.model.leases.iter_mut().find(|lease| lease.0 == *id);
                let modelled = found.map(|lease| {
                    lease.2 = pair.model.now + lease.1;
                    lease.3.generation
                });
                assert_eq!(pair.told(step).ok().map(|lease| lease.generation), modelled);
            }),
            Op::Drain(which) => self.with_lease(which, |pair, id| {
                let step = pair.ledger.drain(now, id);
                let found = pair.model.leases.iter_mut().find(|lease| lease.0 == *id);
                let modelled = found.map(|lease| std::mem::replace(&mut lease.3.state, DynoState::Draining));
                pair.model.revision += u64::from(modelled == Some(DynoState::Up));
                assert_eq!(pair.told(step).is_ok(), modelled.is_some());
            }),
            Op::Deregister(which) => self.with_lease(which, |pair, id| {
                let step = pair.ledger.deregister(now, id);
                pair.told(step).unwrap();
                pair.model.keep(|lease| lease.0 != *id);
            }),
        }
    }

    fn register(&mut self, app: usize, dyno: u32, port: u16, ttl: u64, after: Option<u64>) {
        let name = record(app, &[], false).name;
        let id = LeaseId::new(&name, (self.ids.len() as u128).to_be_bytes());
        let asked = Registration {
            app: name,
            dyno: format!("web.{dyno}").parse().unwrap(),
            address: ([10, 0, 0, 1], port).into(),
            ttl_ms: Millis::from_secs(ttl),
        };
        let after = after.map(|back| self.model.generation.saturating_sub(back));
        let step = match after {
            None => self.ledger.register(self.now(), asked.clone(), id.clone()),
            Some(after) => {
                self.ledger.register_again(self.now(), asked.clone(), id.clone(), Generation(after))
            }
        };
        let answer = self.told(step);
        assert_eq!(answer.is_ok(), self.model.register(&asked, id.clone(), after), "{answer:?}");
        if let Ok(lease) = answer {
            assert_eq!(lease.generation.0, self.model.generation, "generations increase by one");
            self.ids.push(id);
        }
    }

    fn with_lease(&mut self, which: prop::sample::Index, run: impl FnOnce(&mut Self, &LeaseId)) {
        if !self.ids.is_empty() {
            let id = which.get(&self.ids).clone();
            run(self, &id);
        }
    }

    fn check(&mut self, snapshots: &[Snapshot]) -> Snapshot {
        let now = self.now();
        let snapshot = self.ledger.snapshot(now).answer.unwrap();
        assert_eq!(snapshot, self.model.snapshot());
        let first = self.model.leases.iter().map(|lease| Duration::from_millis(lease.2)).min();
        assert_eq!(self.ledger.next_expiry(), first);
        check_invariants(&snapshot);
        for earlier in snapshots {
            let mut known = earlier.clone();
            self.events.iter().filter(|e| e.revision > earlier.revision).for_each(|e| fold(&mut known, e));
            assert_eq!(known, snapshot);
        }
        snapshot
    }
}

fn check_invariants(snapshot: &Snapshot) {
    let unique = |mut all: Vec<String>| {
        let before = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), before);
    };
    unique(snapshot.apps.iter().flat_map(|app| &app.domains).map(ToString::to_string).collect());
    unique(snapshot.dynos.iter().map(|dyno| dyno.address.to_string()).collect());
    let up = snapshot.dynos.iter().filter(|dyno| dyno.state == DynoState::Up);
    unique(up.map(|dyno| format!("{} {}", dyno.app, dyno.dyno)).collect());
    assert!(snapshot.apps.iter().filter(|app| app.catch_all).count() <= 1);
}

fn record(app: usize, domains: &[usize], catch_all: bool) -> AppRecord {
    AppRecord {
        name: ["shop", "blog", "wiki"][app].parse().unwrap(),
        domains: domains.iter().map(|n| format!("d{n}.example").parse().unwrap()).collect(),
        catch_all,
        maintenance: false,
        routing: Routing::default(),
        web: WebFormation::default(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_ledger_does_what_its_naive_model_does(ops in vec(op(), 1..60)) {
        let (ids, events) = (Vec::new(), Vec::new());
        let mut pair = Pair { ledger: Ledger::new(BOUNDS, 0), model: Model::default(), ids, events };
        for app in 0..2 {
            pair.run(Op::Put { app, domains: vec![], catch_all: false, age: None });
        }
        let mut snapshots = vec![Snapshot::default()];
        for op in ops {
            pair.run(op);
            let snapshot = pair.check(&snapshots);
            snapshots.push(snapshot);
        }
        let kept = pair.ledger.since(Revision(0), usize::MAX).unwrap();
        prop_assert!(kept.iter().map(|event| &**event).eq(&pair.events));
    }
}
