//! A deploy that has to prove itself: with preboot, or a few dynos at a time.
//!
//! The definition before it stays current until the dynos of the new one are up: a dyno that crashes meanwhile and was not
//! replaced yet comes back as it was. When the first new one does not come up, the deploy is over, and nothing was changed but what
//! was replaced by then: such dynos run the new one until they restart.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use busbar_registry::DynoName;

use super::{Actor, Order};
use crate::{
    definition::AppDefinition,
    formation::{Formation, Step, reconcile},
    life::Why,
    logs::{LogLine, Speaker},
    rollout::Replacement,
};

/// What is to become the app.
pub(super) struct Staged {
    pub(super) definition: Arc<AppDefinition>,
    pub(super) formation: Formation,
    /// The lives that were begun with it.
    pub(super) lives: HashSet<u64>,
    /// The dynos that are its, and come back as such.
    pub(super) taken: BTreeSet<DynoName>,
    /// The dynos of which the new one is not up yet.
    pub(super) waiting: BTreeSet<DynoName>,
}

impl Actor {
    /// Begins a deploy. When nothing runs that it could be measured against, or nobody asked for that, it is current at once.
    pub(super) fn deploy(&mut self, definition: Arc<AppDefinition>) {
        // What a killed runtime has left was made from a definition that nobody knows any more: there is none to go back to.
        if self.adopts {
            return self.deploy_at_once(definition);
        }
        let running: BTreeSet<DynoName> = self.slots.keys().cloned().collect();
        let mut both = running.clone();
        for step in reconcile(&definition.formation, &running) {
            if let Step::Stop(dyno) = step {
                both.remove(&dyno);
            }
        }
        self.staged = None;
        let leaves_already = self.call_back();
        self.rollout.keep_only(&leaves_already);
        if definition.replacement == Replacement::default() || both.is_empty() {
            return self.deploy_at_once(definition);
        }
        let (how, formation) = (definition.replacement, definition.formation.clone());
        let (lives, taken) = (HashSet::new(), BTreeSet::new());
        self.staged = Some(Staged { definition, formation, lives, taken, waiting: both.clone() });
        self.replace_all(both.into_iter().collect(), how, Why::Restart);
        self.wake();
    }

    /// What a dyno is to be made of; `again`: as the one before it, which has crashed.
    pub(super) fn source(&self, dyno: &DynoName, again: bool) -> (&Arc<AppDefinition>, &Formation) {
        match &self.staged {
            Some(staged) if !again || staged.taken.contains(dyno) => (&staged.definition, &staged.formation),
            _ => (&self.definition, &self.formation),
        }
    }

    /// A life was begun from what [`Self::source`] said; `held`: another one still has its place.
    pub(super) fn begun(&mut self, dyno: &DynoName, generation: u64, again: bool, held: bool) {
        let Some(staged) = self.staged.as_mut().filter(|staged| !again || staged.taken.contains(dyno)) else {
            return;
        };
        staged.lives.insert(generation);
        if !held {
            staged.taken.insert(dyno.clone());
        }
    }

    /// One that was held has its place now.
    pub(super) fn has_taken(&mut self, dyno: &DynoName, generation: u64) {
        if let Some(staged) = self.staged.as_mut().filter(|staged| staged.lives.contains(&generation)) {
            staged.taken.insert(dyno.clone());
        }
    }

    /// A new dyno is up. When it was the last one, the deploy is current.
    pub(super) fn proves_itself(&mut self, dyno: &DynoName, generation: u64) {
        if let Some(staged) = self.staged.as_mut().filter(|staged| staged.lives.contains(&generation)) {
            staged.waiting.remove(dyno);
        }
        self.settle();
    }

    /// There is no such dyno any more.
    pub(super) fn is_not_waited_for(&mut self, dyno: &DynoName) {
        if let Some(staged) = &mut self.staged {
            staged.waiting.remove(dyno);
            staged.taken.remove(dyno);
        }
    }

    /// Makes the deploy current, if nothing is waited for any more.
    pub(super) fn settle(&mut self) {
        let Some(Staged { definition, formation, .. }) =
            self.staged.take_if(|staged| staged.waiting.is_empty())
        else {
            return;
        };
        (self.definition, self.formation) = (definition, formation);
        self.adjust();
        self.wake();
    }

    /// Stops those that were to take another one's place. One for which the old one makes way already is too far to be
    /// called back: returns which dynos these are.
    fn call_back(&mut self) -> BTreeSet<DynoName> {
        let mut too_far = BTreeSet::new();
        for (dyno, slot) in &mut self.slots {
            let Some(live) = slot.successor.and_then(|successor| self.lives.get(&successor)) else {
                continue;
            };
            if live.booted {
                too_far.insert(dyno.clone());
            } else {
                let _told_already = live.orders.try_send(Order::Stop(Why::Down));
                slot.successor = None;
            }
        }
        too_far
    }

    /// Whether this life was to prove the deploy, and so has ended it.
    pub(super) fn fails(&mut self, dyno: &DynoName, generation: u64) -> bool {
        let proves =
            |staged: &mut Staged| staged.waiting.contains(dyno) && staged.lives.contains(&generation);
        let Some(mut staged) = self.staged.take_if(proves) else { return false };
        self.rollout.cancel();
        staged.taken.extend(self.call_back());
        staged.taken.remove(dyno);
        let rest = match staged.taken.len() {
            0 => String::new(),
            left => format!("; {left} other dynos are replaced already, and go back to it when they restart"),
        };
        let text = format!("Deploy failed: {dyno} did not come up; the release before it stays{rest}");
        self.logs.push(LogLine::heroku(Speaker::Api, text));
        true
    }
}
