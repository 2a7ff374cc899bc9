//! What others see of an app's dynos.

use std::time::SystemTime;

use busbar_registry::{DynoName, WebFormation};

use super::{Actor, Live, Slot};
use crate::{life::Phase, supervise::DynoStatus};

impl Actor {
    pub(super) fn ps(&self) -> Vec<DynoStatus> {
        let living = self.lives.values().map(|live| self.living(live));
        let without = self.slots.iter().filter(|(_, slot)| slot.generation.is_none());
        let mut all: Vec<DynoStatus> =
            living.chain(without.map(|(dyno, slot)| self.waiting(dyno, slot))).collect();
        all.sort_by(|a, b| a.dyno.cmp(&b.dyno));
        all
    }

    fn living(&self, live: &Live) -> DynoStatus {
        let slot = self.slots.get(&live.dyno);
        let memory = live.cgroup.as_ref().and_then(|cgroup| cgroup.control().memory());
        DynoStatus {
            dyno: live.dyno.clone(),
            phase: live.phase,
            since: live.since,
            command: live.command.clone(),
            pid: live.pid,
            address: live.address,
            memory: memory.map(|memory| memory.used()),
            quota: live.limits.memory,
            crashes: slot.map_or(0, |slot| slot.crashes),
            last_exit: slot.and_then(|slot| slot.last_exit),
        }
    }

    /// One without a life: it waits for its restart, or is idle.
    fn waiting(&self, dyno: &DynoName, slot: &Slot) -> DynoStatus {
        let since = slot.idle_since.or(slot.crashed_at);
        DynoStatus {
            dyno: dyno.clone(),
            phase: if slot.idle_since.is_some() { Phase::Idle } else { Phase::Crashed },
            since: since.unwrap_or_else(SystemTime::now),
            command: self.definition.procfile.command(&dyno.process_type).unwrap_or_default().to_owned(),
            pid: None,
            address: None,
            memory: None,
            quota: self.limits(&dyno.process_type).memory,
            crashes: slot.crashes,
            last_exit: slot.last_exit,
        }
    }

    /// Tells the registry what it cannot see by itself, when that has changed. A dyno that is up counts as starting
    /// until it is registered: at each moment a router sees the one or the other. An idle one counts as neither starting
    /// nor crashed, so that a router waits for it.
    pub(super) fn report(&self) {
        let mut now = WebFormation::default();
        for (_, slot) in self.slots.iter().filter(|(dyno, _)| dyno.process_type.is_web()) {
            now.quantity += 1;
            let live = slot.generation.and_then(|generation| self.lives.get(&generation));
            match live.map(|live| (live.phase, live.registered)) {
                Some((Phase::Created | Phase::Starting, _) | (Phase::Up, false)) => now.starting += 1,
                None if slot.idle_since.is_some() => {}
                Some((Phase::Crashed, _)) | None => now.crashed += 1,
                Some(
                    (Phase::Up, true) | (Phase::Stopping | Phase::Down | Phase::Idle | Phase::Complete, _),
                ) => {}
            }
        }
        self.web.send_if_modified(|last| std::mem::replace(last, now) != now);
    }
}
