//! What must hold after every step.

use std::sync::Arc;

use router_core::route::{Moment, app::DynoSet, dyno::DynoKey};

use crate::{
    request::{Phase, Request},
    world::{APPS, World},
};

impl World {
    pub(crate) fn check(&self) {
        for app in &self.apps {
            let of_app = || self.requests.values().filter(|request| Arc::ptr_eq(&request.app, app));
            let waiting = of_app().filter(|request| matches!(request.phase, Phase::Waiting { .. })).count();
            assert_eq!(app.load.in_flight() as usize, of_app().count(), "in flight at {app:?}");
            assert_eq!(app.load.waits.len() as usize, waiting, "waiting at {app:?}");
        }
        for process in self.processes.values() {
            assert_eq!(process.dyno.load.in_flight(), process.places, "in flight at {:?}", process.dyno);
        }
        for (id, request) in &self.requests {
            assert!(request.clock.deadline() >= self.now, "{id} waits beyond its deadline");
        }
        for app in 0..APPS {
            let (expected, published) = (self.expected(app), self.published(app));
            assert_eq!(expected.is_some(), published.is_some());
            let Some((expected, published)) = expected.zip(published) else { continue };
            let set = published.set();
            let set: Vec<_> = set.dynos.iter().map(|dyno| (dyno.name.index, dyno.generation)).collect();
            assert_eq!(set, expected, "what is published of app-{app}");
        }
    }

    /// Nothing more happens at this moment: whoever waits has no dyno that it could have.
    pub(crate) fn check_that_nobody_waits_in_vain(&self) {
        for (id, request) in &self.requests {
            if let Phase::Waiting { wants, .. } = &request.phase {
                let set = request.app.set();
                if let Some(free) = self.free_for(request, *wants, &set) {
                    panic!("{id} waits at {:?}, though {:?} is free", self.now, self.processes[&free].dyno);
                }
            }
        }
    }

    fn free_for(&self, request: &Request, wants: Option<DynoKey>, set: &DynoSet) -> Option<DynoKey> {
        let cap = set.routing.concurrency_per_dyno.map_or(u32::MAX, |cap| cap.get());
        let is_free = |key: &DynoKey| {
            let process = &self.processes[key];
            process.sick_until <= self.now
                && process.places < cap
                && !request.attempts.tried().contains(*key)
                && wants.is_none_or(|wanted| wanted == *key)
        };
        set.dynos.iter().map(|dyno| dyno.key).find(is_free)
    }

    pub(crate) fn check_that_all_is_over(&self) {
        assert!(self.requests.is_empty(), "{} requests never end", self.requests.len());
        assert!(self.apps.iter().all(|app| app.load.in_flight() == 0 && app.load.waits.is_empty()));
        assert!(self.processes.values().all(|process| process.dyno.load.in_flight() == 0));
        assert!(self.now > Moment::START);
    }
}
