//! New dynos in place of old ones.
//!
//! A dyno by itself is replaced at once: the new one starts as the old one begins to stop. With preboot it is
//!
//! ```text
//! new one starts, held ─ Booted ─→ old one is told to stop ─ Unrouted ─→ new one goes: it is registered
//!                                                              └─ finishes its requests, SIGTERM, down
//! ```
//!
//! Between "unrouted" and "registered" the app is one dyno short; if it was the only one, requests wait in the router for
//! that moment.

use busbar_registry::DynoName;
use tokio::time::Instant;

use super::{Actor, Live, Slot};
use crate::{
    life::{Phase, Say, Why},
    logs::{LogLine, Speaker},
    rollout::Replacement,
    supervise::{RuntimeError, Which, dyno::Order},
};

impl Actor {
    pub(super) fn restart(&mut self, which: &Which, how: Option<Replacement>) -> Result<(), RuntimeError> {
        self.is_deployed()?;
        let chosen: Vec<DynoName> = self.slots.keys().filter(|dyno| which.has(dyno)).cloned().collect();
        if chosen.is_empty() && *which != Which::All {
            return Err(RuntimeError::NoSuchDyno { app: self.definition.name.clone(), which: which.clone() });
        }
        self.replace_all(chosen, how.unwrap_or(self.definition.replacement), Why::Restart);
        self.wake();
        Ok(())
    }

    /// Replaces these, as many at a time as `how` allows.
    pub(super) fn replace_all(&mut self, dynos: Vec<DynoName>, how: Replacement, why: Why) {
        if how == Replacement::default() {
            for dyno in &dynos {
                self.rollout.forget(dyno);
                self.replace(dyno, why);
            }
            return self.advance();
        }
        (self.how, self.why) = (how, why);
        self.rollout.add(dynos, how.at_once);
        self.advance();
    }

    /// Begins with those whose turn it is.
    pub(super) fn advance(&mut self) {
        for dyno in self.rollout.due() {
            let generation = self.slots.get(&dyno).and_then(|slot| slot.generation);
            let serves = generation
                .and_then(|generation| self.lives.get(&generation))
                .is_some_and(|live| live.phase == Phase::Up && live.registered);
            if self.how.preboot && serves {
                let successor = self.begin(&dyno, true, false);
                if let Some(slot) = self.slots.get_mut(&dyno) {
                    slot.successor = successor;
                }
            } else {
                self.replace(&dyno, self.why);
            }
        }
    }

    /// A new dyno in place of the present one, with a clean record. One that was scaled away stays away, and one that is
    /// idle starts when it is asked for.
    pub(super) fn replace(&mut self, dyno: &DynoName, why: Why) {
        let Some(slot) = self.slots.get_mut(dyno).filter(|slot| slot.idle_since.is_none()) else {
            return self.rollout.done(dyno);
        };
        let old = std::mem::take(slot);
        self.tell(old.successor, Order::Stop(Why::Down));
        match old.generation {
            Some(generation) => self.tell(Some(generation), Order::Stop(why)),
            None => self.say(dyno, Say::Restarting),
        }
        self.start(dyno);
    }

    /// A life can be used. If it was to come up, others may follow. One whose successor is under way was up before: it was
    /// only registered again.
    pub(super) fn is_up(&mut self, generation: u64) {
        let Some(dyno) = self.lives.get(&generation).map(|live| live.dyno.clone()) else { return };
        let is_new = |slot: &Slot| slot.generation == Some(generation) && slot.successor.is_none();
        if self.slots.get(&dyno).is_some_and(is_new) {
            self.rollout.done(&dyno);
            self.advance();
            self.proves_itself(&dyno, generation);
        }
    }

    /// A successor is ready: the present one makes way.
    pub(super) fn is_booted(&mut self, generation: u64) {
        let Some(live) = self.lives.get_mut(&generation) else { return };
        live.booted = true;
        let dyno = live.dyno.clone();
        let why = self.why;
        match self.slots.get(&dyno) {
            Some(slot) if slot.successor == Some(generation) => self.tell(slot.generation, Order::Stop(why)),
            Some(slot) if slot.generation == Some(generation) => self.tell(Some(generation), Order::Go),
            _ => {}
        }
    }

    /// Nothing new is sent to it: its successor takes its place.
    pub(super) fn is_unrouted(&mut self, generation: u64) {
        let Some(dyno) = self.lives.get(&generation).map(|live| live.dyno.clone()) else { return };
        if self.slots.get(&dyno).is_some_and(|slot| slot.generation == Some(generation)) {
            self.promote(&dyno);
        }
    }

    /// Whether the end of this life is none of the formation's business: another one takes its place, or it was to take
    /// another one's.
    pub(super) fn makes_way(&mut self, dyno: &DynoName, generation: u64) -> bool {
        match self.slots.get_mut(dyno) {
            Some(slot) if slot.successor == Some(generation) => {
                slot.successor = None;
                self.did_not_come_up(dyno, generation);
                true
            }
            Some(slot) if slot.generation == Some(generation) => self.promote(dyno),
            _ => false,
        }
    }

    /// Lets the successor take the place of the present one, if there is one.
    fn promote(&mut self, dyno: &DynoName) -> bool {
        let Some(slot) = self.slots.get_mut(dyno) else { return false };
        let Some(successor) = slot.successor.take() else { return false };
        *slot = Slot { generation: Some(successor), ..Slot::default() };
        self.has_taken(dyno, successor);
        self.tell(Some(successor), Order::Go);
        true
    }

    /// A dyno that was to come up did not: those that would have followed stay as they are.
    pub(super) fn did_not_come_up(&mut self, dyno: &DynoName, generation: u64) {
        if self.fails(dyno, generation) {
            return;
        }
        if self.staged.is_some() {
            // It was to come up before a deploy that has its own dynos to wait for.
            return self.rollout.done(dyno);
        }
        if let Some(left) = self.rollout.stop(dyno) {
            let text = format!("{dyno} did not come up; {left} other dynos stay as they are");
            self.logs.push(LogLine::heroku(Speaker::Api, text));
        }
    }

    /// When the next dyno has run for long enough, and which. One that is on its way out is not waited for.
    pub(super) fn next_to_cycle(&self) -> Option<(Instant, DynoName)> {
        let of = |(dyno, slot): (&DynoName, &Slot)| {
            let live: &Live = self.lives.get(&slot.generation?)?;
            Some((live.cycle_at.filter(|_| slot.successor.is_none())?, dyno.clone()))
        };
        self.slots.iter().filter_map(of).min()
    }

    /// Replaces the dyno that has run for long enough.
    pub(super) fn cycle(&mut self) {
        let Some((_, dyno)) = self.next_to_cycle() else { return };
        let generation = self.slots.get(&dyno).and_then(|slot| slot.generation);
        if let Some(live) = generation.and_then(|generation| self.lives.get_mut(&generation)) {
            live.cycle_at = None;
        }
        self.replace_all(vec![dyno], self.definition.replacement, Why::Cycle);
    }
}
