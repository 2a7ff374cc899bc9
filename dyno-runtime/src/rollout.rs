//! Replacing dynos a few at a time. Pure.
//!
//! [`Rollout::due`] says which ones are to be replaced now; [`Rollout::done`] that a new one is up;
//! [`Rollout::stop`] that one did not come up: then the others stay as they are.

use std::collections::{BTreeSet, VecDeque};

use busbar_registry::DynoName;

/// How dynos are replaced when all of a type, or of an app, are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replacement {
    /// At most so many at the same time; each time it is waited until the new ones are up. `None`: all at once.
    pub at_once: Option<u32>,
    /// A new web dyno is up before the old one gets no more requests. It costs the memory of both for a while.
    pub preboot: bool,
}

/// Dynos that are being replaced, and those that wait for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rollout {
    at_once: Option<u32>,
    waiting: VecDeque<DynoName>,
    under_way: BTreeSet<DynoName>,
}

impl Rollout {
    /// These are to be replaced too, so many at the same time from now on. Who waits already waits once.
    pub fn add(&mut self, dynos: impl IntoIterator<Item = DynoName>, at_once: Option<u32>) {
        self.at_once = at_once;
        for dyno in dynos {
            if !self.waiting.contains(&dyno) {
                self.waiting.push_back(dyno);
            }
        }
    }

    /// Those to replace now. Of one that is under way already, the next replacement waits until it is done.
    pub fn due(&mut self) -> Vec<DynoName> {
        let mut now = vec![];
        let most = self.at_once.map_or(usize::MAX, |at_once| at_once.max(1) as usize);
        let mut at = 0;
        while self.under_way.len() < most {
            let Some(dyno) = self.waiting.get(at).cloned() else { break };
            if self.under_way.contains(&dyno) {
                at += 1;
                continue;
            }
            let _it = self.waiting.remove(at);
            self.under_way.insert(dyno.clone());
            now.push(dyno);
        }
        now
    }

    /// The new one is up, or there is no such dyno any more.
    pub fn done(&mut self, dyno: &DynoName) {
        self.under_way.remove(dyno);
    }

    /// The dyno is no longer wanted.
    pub fn forget(&mut self, dyno: &DynoName) {
        self.under_way.remove(dyno);
        self.waiting.retain(|waiting| waiting != dyno);
    }

    /// No other one is replaced, and none is under way any more.
    pub fn cancel(&mut self) {
        self.waiting.clear();
        self.under_way.clear();
    }

    /// No other one is replaced, and of those that are under way only these are waited for.
    pub fn keep_only(&mut self, under_way: &BTreeSet<DynoName>) {
        self.waiting.clear();
        self.under_way.retain(|dyno| under_way.contains(dyno));
    }

    /// The new one did not come up: those that wait stay as they are. Says how many these are; `None` when this dyno is
    /// not being replaced.
    pub fn stop(&mut self, dyno: &DynoName) -> Option<usize> {
        self.under_way.remove(dyno).then(|| std::mem::take(&mut self.waiting).len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn web(index: u32) -> DynoName {
        format!("web.{index}").parse().unwrap()
    }

    #[test]
    fn without_a_bound_all_go_at_once() {
        let mut rollout = Rollout::default();
        rollout.add((1..=3).map(web), None);
        assert_eq!(rollout.due(), [web(1), web(2), web(3)]);
        assert_eq!(rollout.due(), []);
    }

    #[test]
    fn one_that_does_not_come_up_stops_the_others() {
        let mut rollout = Rollout::default();
        rollout.add((1..=4).map(web), Some(1));
        assert_eq!(rollout.due(), [web(1)]);
        assert_eq!(rollout.stop(&web(2)), None);
        assert_eq!(rollout.stop(&web(1)), Some(3));
        assert_eq!(rollout.due(), []);
    }

    proptest! {
        #[test]
        fn never_more_than_so_many_and_each_once(quantity in 1u32..30, at_once in 0u32..10, order in prop::collection::vec(any::<prop::sample::Index>(), 30)) {
            let mut rollout = Rollout::default();
            rollout.add((1..=quantity).map(web), Some(at_once));
            let (mut under_way, mut replaced): (Vec<DynoName>, Vec<DynoName>) = (vec![], vec![]);
            for pick in order {
                under_way.extend(rollout.due());
                prop_assert!(under_way.len() <= at_once.max(1) as usize);
                if under_way.is_empty() { break }
                let dyno = under_way.swap_remove(pick.index(under_way.len()));
                rollout.done(&dyno);
                replaced.push(dyno);
            }
            replaced.sort();
            prop_assert_eq!(replaced, (1..=quantity).map(web).collect::<Vec<_>>());
        }
    }
}
