//! Passive ejection: a dyno that fails one request after the other is left alone for a while, though it accepts
//! connections. Off by default: Heroku leaves alone only what cannot be connected to ([`quarantine`](super::quarantine)).
//!
//! - [`failed`], [`DynoLoad::answered_well`]: what a request has shown.
//! - [`DynoLoad::ejected`]: until when a dyno is ejected.
//! - [`count`]: whether ejections count at all: **never is more than `eject_at_most_percent` of an app left alone for its
//!   failures.** When more dynos fail than that, it is rarely the dynos that are at fault, and the rest could not carry their
//!   load: all ejections are void until few enough are left (Envoy's panic threshold).

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use super::{Moment, app::DynoSet, dyno::Dyno, load::DynoLoad};

/// No ejection is longer.
pub const LONGEST: Duration = Duration::from_secs(300);

impl DynoLoad {
    /// A request got a response, whatever it says.
    pub fn answered_well(&self) {
        // Looking first keeps the line clean in every core's cache in the usual case.
        if self.failed_in_a_row.load(Relaxed) != 0 {
            self.failed_in_a_row.store(0, Relaxed);
        }
    }

    /// Until when it is ejected, when it is at `now`. Whether that [counts](count) is another question.
    pub fn ejected(&self, now: Moment) -> Option<Moment> {
        let until = Moment::from_micros(self.ejected_until.load(SeqCst));
        (until > now).then_some(until)
    }

    /// Ejects it, if nobody else just did. The length grows with each ejection that comes sooner after the last one than
    /// that one lasted.
    fn eject(&self, first: Duration, now: Moment) {
        let last_until = self.ejected_until.load(SeqCst);
        let last = length(first, self.ejections.load(Relaxed));
        let again = last_until != 0 && now.since(Moment::from_micros(last_until)) <= last;
        let times = if again { self.ejections.load(Relaxed).saturating_add(1) } else { 1 };
        let until = now + length(first, times);
        if self.ejected_until.compare_exchange(last_until, until.as_micros(), SeqCst, SeqCst).is_ok() {
            self.ejections.store(times, Relaxed);
            self.failed_in_a_row.store(0, Relaxed);
            // It comes back as one that is new.
            self.known_since.store(0, Relaxed);
        }
    }
}

fn length(first: Duration, times: u32) -> Duration {
    first.saturating_mul(times).min(LONGEST.max(first))
}

/// A request at `dyno` of `set` failed: the dyno could not be connected to, did not answer in time, or closed without an
/// answer. Ejects the dyno when that was one too many.
pub fn failed(set: &DynoSet, dyno: &Dyno, now: Moment) {
    let Some(enough) = set.routing.eject_after else { return };
    let in_a_row = dyno.load.failed_in_a_row.fetch_add(1, Relaxed).saturating_add(1);
    if in_a_row < enough.get() || dyno.load.ejected(now).is_some() {
        return;
    }
    dyno.load.eject(set.routing.eject_for_ms.duration(), now);
    // Marked first, counted then: of two that are ejected at once, the one that counts last sees both.
    let mut until: Vec<_> = set.dynos.iter().filter_map(|dyno| dyno.load.ejected(now)).collect();
    until.sort_unstable_by(|a, b| b.cmp(a));
    let allowed = set.dynos.len().saturating_mul(set.routing.eject_at_most_percent as usize) / 100;
    if let Some(few_enough) = until.get(allowed) {
        set.load.ejections_void_until.fetch_max(few_enough.as_micros(), SeqCst);
    }
}

/// Whether ejections count in this app now.
pub(super) fn count(set: &DynoSet, now: Moment) -> bool {
    set.routing.eject_after.is_some() && now.as_micros() >= set.load.ejections_void_until.load(SeqCst)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, num::NonZeroU32, sync::Arc};

    use fastrand::Rng;
    use proptest::prelude::*;

    use super::*;
    use crate::route::{
        balance::{Choice, choose},
        fixture,
        retry::Tried,
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn app(dynos: usize) -> Arc<DynoSet> {
        fixture::app(dynos, |routing| routing.eject_after = NonZeroU32::new(5)).0
    }

    fn fail(set: &DynoSet, at: usize, times: u32, now: Moment) {
        (0..times).for_each(|_| failed(set, &set.dynos[at], now));
    }

    /// The dynos that get requests.
    fn chosen(set: &DynoSet, now: Moment) -> HashSet<Box<str>> {
        let mut rng = Rng::with_seed(1);
        let mut choose = || match choose(set, Tried::none(), None, now, &mut rng) {
            Choice::Taken(slot) => slot.dyno().label.clone(),
            none => panic!("{none:?}"),
        };
        (0..200).map(|_| choose()).collect()
    }

    #[test]
    fn five_failures_in_a_row_eject_a_dyno_and_an_answer_between_them_does_not() {
        let (set, now) = (app(3), Moment::from_micros(1));
        fail(&set, 0, 4, now);
        set.dynos[0].load.answered_well();
        fail(&set, 0, 4, now);
        assert_eq!(chosen(&set, now).len(), 3);
        fail(&set, 0, 1, now);
        assert_eq!(set.dynos[0].load.ejected(now), Some(now + SECOND * 10));
        assert!(!chosen(&set, now).contains("web.1"));
        assert_eq!(chosen(&set, now + SECOND * 10).len(), 3);
    }

    #[test]
    fn each_ejection_soon_after_the_last_is_longer_up_to_five_minutes_and_a_good_while_forgives() {
        let (set, mut now) = (app(3), Moment::START);
        let eject = |now| {
            fail(&set, 0, 5, now);
            set.dynos[0].load.ejected(now).map(|until| until.since(now).as_secs())
        };
        for expected in (10..300).step_by(10).chain([300, 300, 300]) {
            assert_eq!(eject(now), Some(expected));
            now += SECOND * expected as u32;
        }
        now += SECOND * 301;
        assert_eq!(eject(now), Some(10));
    }

    #[test]
    fn off_is_off() {
        let (set, _app) = fixture::app(3, |_| {});
        fail(&set, 0, 100, Moment::START);
        assert_eq!(set.dynos[0].load.ejected(Moment::START), None);
        assert_eq!(chosen(&set, Moment::START).len(), 3);
    }

    #[test]
    fn when_more_than_half_would_be_ejected_none_is_until_few_enough_are_left() {
        let set = app(4);
        for (at, seconds) in [(0, 0), (1, 1), (2, 2)] {
            let now = Moment::START + SECOND * seconds;
            fail(&set, at, 5, now);
            assert_eq!(chosen(&set, now).len(), if at < 2 { 3 - at } else { 4 });
        }
        // The first one's 10 s are over: two are left, which is half.
        assert_eq!(chosen(&set, Moment::START + SECOND * 9).len(), 4);
        let left: HashSet<_> = ["web.1", "web.4"].map(Box::from).into();
        assert_eq!(chosen(&set, Moment::START + SECOND * 10), left);
    }

    #[test]
    fn the_only_dyno_is_never_left_alone() {
        let set = app(1);
        fail(&set, 0, 50, Moment::START);
        assert_eq!(chosen(&set, Moment::START).len(), 1);
    }

    #[test]
    fn an_ejected_dyno_is_better_than_none() {
        let set = app(2);
        fail(&set, 0, 5, Moment::START);
        set.dynos[1].load.quarantine(Moment::START, SECOND);
        assert_eq!(chosen(&set, Moment::START), [Box::from("web.1")].into());
    }

    proptest! {
        #[test]
        fn never_is_more_than_the_allowed_part_left_alone(
            dynos in 1usize..12, percent in 0u32..=100,
            events in prop::collection::vec((0usize..12, 0u64..4_000_000), 1..300),
        ) {
            let (set, _app) = fixture::app(dynos, |routing| {
                routing.eject_after = NonZeroU32::new(2);
                routing.eject_at_most_percent = percent;
            });
            let mut now = Moment::START;
            for (at, gap) in events {
                now += Duration::from_micros(gap);
                fail(&set, at % dynos, 1, now);
                let away = set.dynos.iter().filter(|dyno| dyno.load.ejected(now).is_some()).count();
                let away = if count(&set, now) { away } else { 0 };
                prop_assert!(away * 100 <= dynos * percent as usize, "{away} of {dynos} at {percent} %");
            }
        }
    }
}
