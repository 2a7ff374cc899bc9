//! No web dynos while nobody asks, and all of them again with the next request. The router holds that request meanwhile.

use std::{sync::Arc, time::SystemTime};

use busbar_registry::DynoName;
use futures_util::future::BoxFuture;

use super::{Actor, Slot};
use crate::{
    life::{Phase, Say, Why},
    supervise::dyno::Order,
};

/// Whether web dynos run because somebody asks.
pub(super) enum Idleness {
    /// They run always.
    Never,
    /// They run, and will be stopped when this ends.
    Awake(BoxFuture<'static, ()>),
    /// They are stopped, and start when this ends.
    Asleep(BoxFuture<'static, ()>),
}

impl Idleness {
    /// Returns when it is to be the other way round. Cancel safe.
    pub(super) async fn turns(&mut self) {
        match self {
            Self::Never => std::future::pending().await,
            Self::Awake(quiet) => quiet.await,
            Self::Asleep(wanted) => wanted.await,
        }
    }
}

impl Actor {
    /// All web dynos run, and from now on it is watched whether somebody asks.
    pub(super) fn wake(&mut self) {
        let asleep = self.slots.iter().filter(|(_, slot)| slot.idle_since.is_some());
        for dyno in asleep.map(|(dyno, _)| dyno.clone()).collect::<Vec<DynoName>>() {
            self.say(&dyno, Say::Unidling);
            self.say(&dyno, Say::Changed(Phase::Down, Phase::Starting));
            self.start(&dyno);
        }
        self.idleness = match (&self.house.options.demand, self.definition.idle_after) {
            (Some(demand), Some(span)) => {
                let (demand, app) = (Arc::clone(demand), self.definition.name.clone());
                Idleness::Awake(Box::pin(async move { demand.quiet(&app, span).await }))
            }
            _ => Idleness::Never,
        };
    }

    pub(super) fn turn(&mut self) {
        match self.idleness {
            Idleness::Never => {}
            Idleness::Awake(_) => self.sleep(),
            Idleness::Asleep(_) => self.wake(),
        }
    }

    fn sleep(&mut self) {
        let web: Vec<DynoName> =
            self.slots.keys().filter(|dyno| dyno.process_type.is_web()).cloned().collect();
        for dyno in &web {
            self.rollout.forget(dyno);
            let idle = Slot { idle_since: Some(SystemTime::now()), ..Slot::default() };
            let Some(slot) = self.slots.get_mut(dyno) else { continue };
            let old = std::mem::replace(slot, idle);
            self.tell(old.generation, Order::Stop(Why::Idle));
            self.tell(old.successor, Order::Stop(Why::Down));
        }
        let Some(demand) = self.house.options.demand.clone() else { return };
        let app = self.definition.name.clone();
        self.idleness = Idleness::Asleep(Box::pin(async move { demand.wanted(&app).await }));
    }
}
