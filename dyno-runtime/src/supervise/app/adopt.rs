//! Dynos that a killed runtime of this instance has left: they go on as if nothing had happened, as far as the app still
//! wants them as they are.

use std::sync::Arc;

use tokio::{sync::mpsc, time::Instant};

use super::{Actor, Live, with_chance};
use crate::{
    life::{Phase, Stage, Why},
    supervise::{
        dyno::{self, Order, Plan},
        record::LifeRecord,
        state::Stray,
    },
};

impl Actor {
    /// Goes on with them. Those that were of the formation have its slots, so that the next deploy reconciles it with them;
    /// those that are of no use any more are stopped.
    pub(super) fn adopt(&mut self, mut strays: Vec<Stray>) {
        strays.sort_by_key(|stray| stray.life.generation);
        for stray in strays {
            let life = stray.life.clone();
            self.go_on(stray);
            let is_leaving = matches!(life.stage, Stage::Draining | Stage::Stopping);
            if life.task && !life.outlives {
                // Whoever was attached is gone, and so is the deploy that waited for a release command.
                self.tell(Some(life.generation), Order::Stop(Why::Detached));
            } else if !life.task && !is_leaving {
                self.take_slot(&life);
            }
        }
        self.adopts = true;
    }

    /// Of two with one name the older one was to make way, unless the newer one was held: then that had yet to prove itself.
    fn take_slot(&mut self, life: &LifeRecord) {
        let slot = self.slots.entry(life.dyno.clone()).or_default();
        let too_many = match slot.generation {
            Some(_) if life.held => Some(life.generation),
            earlier => {
                slot.generation = Some(life.generation);
                earlier
            }
        };
        self.tell(too_many, Order::Stop(Why::Down));
    }

    /// Takes up its life, in a task of its own.
    fn go_on(&mut self, stray: Stray) {
        let LifeRecord { dyno, generation, command, limits, held, task, outlives, .. } = stray.life.clone();
        let definition = Arc::clone(&self.definition);
        let made_from = self.house.fingerprints.of(&definition, &command, &self.house.options);
        let wanted = definition.procfile.command(&dyno.process_type);
        let outdated = made_from != stray.life.fingerprint || wanted != Some(&command);
        let family = stray.left.record.family();
        let age = stray.life.began.age();
        let cycle = definition.cycle.filter(|_| !task);
        let (orders, from) = mpsc::channel(8);
        let live = Live {
            dyno: dyno.clone(),
            command: command.clone(),
            limits,
            is_one_off: task,
            outdated,
            ended: None,
            orders,
            phase: match stray.life.stage {
                Stage::Starting => Phase::Starting,
                Stage::Up => Phase::Up,
                Stage::Draining | Stage::Stopping => Phase::Stopping,
            },
            draining: stray.life.stage == Stage::Draining,
            // Routers may have it from its lease: by preboot it goes only when its successor is there.
            registered: stray.life.stage == Stage::Up && stray.life.lease.is_some(),
            booted: false,
            since: stray.life.since.by_the_wall(),
            cycle_at: cycle.map(|period| Instant::now() + with_chance(period).saturating_sub(age)),
            pid: family.leader.map(|leader| leader.pid),
            address: stray.life.address,
            cgroup: family.cgroup,
        };
        self.lives.insert(generation, live);
        let plan = Plan { dyno, generation, command, limits, definition, held, task, outlives };
        let (house, logs) = (Arc::clone(&self.house), Arc::clone(&self.logs));
        tokio::spawn(dyno::go_on(house, logs, plan, stray, from, self.events.clone()));
    }
}
