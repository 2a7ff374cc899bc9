//! Slow start: a dyno that is new gets a share of the requests that grows linearly, until after `slow_start` it is like
//! all others. It may have to compile, to fill its caches, to open its connections to the database.
//!
//! Its *warmth* is its age as a part of `slow_start`, and at least that of the warmest dyno counts as whole: among
//! dynos that are all new nobody is spared. Two things grow with it. It takes part in a choice with that probability,
//! under every policy: an idle one is not flooded. And where requests in flight are compared (`least`, `p2c`), each of
//! its own counts as if it were more: in a busy app it has that part of what others have in flight. With `rendezvous` keys
//! move to it one by one, each once.
//!
//! Its age counts from the first choice that knew it in this router. Nobody waits for the sake of a slow start: where no
//! other dyno is free it gets the request. A client's cookie counts for more, too.

use std::sync::atomic::Ordering::Relaxed;

use busbar_registry::Balance;
use fastrand::Rng;

use super::rendezvous::mix;
use crate::route::{Moment, app::DynoSet, dyno::Dyno, load::DynoLoad};

/// Warmth is counted in so many parts.
const WHOLE: u64 = 1 << 16;

/// For one choice in an app with slow start.
pub(super) struct Warmup {
    now: Moment,
    /// After so many µs a dyno is as warm as the warmest one.
    span: u64,
    /// Decides who takes part: another one for each choice, and the same for the same key.
    lot: u64,
}

impl Warmup {
    /// `None` when all dynos are alike.
    pub(super) fn of(set: &DynoSet, now: Moment, key: Option<u64>, rng: &mut Rng) -> Option<Self> {
        let slow_start = set.routing.slow_start_ms;
        if slow_start.0 == 0 {
            return None;
        }
        let full = slow_start.0.saturating_mul(1000);
        let ages = set.dynos.iter().map(|dyno| dyno.load.age(now).min(full));
        let (youngest, span) = ages.fold((full, 0), |(least, most), age| (age.min(least), age.max(most)));
        if youngest >= span {
            return None;
        }
        let lot = match (set.routing.balance, key) {
            (Balance::Rendezvous, Some(key)) => mix(key),
            _ => rng.u64(..),
        };
        Some(Self { now, span, lot })
    }

    fn warmth(&self, dyno: &Dyno) -> u64 {
        let age = dyno.load.age(self.now).min(self.span);
        (u128::from(age) * u128::from(WHOLE) / u128::from(self.span)) as u64
    }

    /// Whether `dyno` takes part in this choice.
    pub(super) fn lets(&self, dyno: &Dyno) -> bool {
        mix(self.lot ^ mix(!dyno.seed)) % WHOLE < self.warmth(dyno)
    }

    /// How busy `dyno` is with so many requests, beside those that are warm.
    pub(super) fn weigh(&self, in_flight: u32, dyno: &Dyno) -> u32 {
        let weighed = u64::from(in_flight) * WHOLE / self.warmth(dyno).max(1);
        u32::try_from(weighed).unwrap_or(u32::MAX)
    }
}

impl DynoLoad {
    /// For how many µs it has been known.
    fn age(&self, now: Moment) -> u64 {
        // 0 means never seen, so nobody is seen at 0.
        let now = now.as_micros().max(1);
        let since = match self.known_since.load(Relaxed) {
            0 => self
                .known_since
                .compare_exchange(0, now, Relaxed, Relaxed)
                .map_or_else(|since| since, |_| now),
            since => since,
        };
        now.saturating_sub(since)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use busbar_registry::{DynoState, Millis};
    use fastrand::Rng;
    use proptest::prelude::*;

    use super::*;
    use crate::route::{
        balance::{Choice, choose},
        fixture,
        load::Slot,
        retry::Tried,
    };

    const SPAN: Duration = Duration::from_secs(100);
    const POLICIES: [Balance; 6] = [
        Balance::Least,
        Balance::P2c,
        Balance::PeakEwma,
        Balance::RoundRobin,
        Balance::Random,
        Balance::Rendezvous,
    ];

    fn take(set: &DynoSet, now: Moment, rng: &mut Rng) -> Slot {
        let key = Some(rng.u64(..));
        match choose(set, Tried::none(), key, now, rng) {
            Choice::Taken(slot) => slot,
            none => panic!("all are free: {none:?}"),
        }
    }

    /// Ten dynos of which the last one came after all others were warm, and since when it is known.
    fn one_is_new(balance: Balance) -> (Arc<DynoSet>, Moment) {
        let (_table, mut publisher) = fixture::published(9, |routing| {
            routing.balance = balance;
            routing.slow_start_ms = Millis(SPAN.as_millis() as u64);
        });
        let app = Arc::clone(publisher.app(&"shop".parse().unwrap()).unwrap());
        let mut rng = Rng::with_seed(1);
        drop(take(&app.set(), Moment::START, &mut rng));
        publisher.put_dyno(fixture::dyno_record("shop", 10, 10, DynoState::Up));
        let known = Moment::START + SPAN * 2;
        drop(take(&app.set(), known, &mut rng));
        (app.set(), known)
    }

    /// Of so many requests, one after the other, the share of the last dyno, where 1 is an equal share.
    fn share(set: &DynoSet, now: Moment, requests: u32, rng: &mut Rng) -> f64 {
        let new = set.dynos.last().unwrap().key;
        let got = (0..requests).filter(|_| take(set, now, rng).dyno().key == new).count();
        got as f64 * set.dynos.len() as f64 / f64::from(requests)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_new_dynos_share_grows_linearly_under_every_policy(
            policy in 0usize..6, percent in 0u32..=130, seed: u64,
        ) {
            let (set, known) = one_is_new(POLICIES[policy]);
            let now = known + SPAN * percent / 100;
            let share = share(&set, now, 20_000, &mut Rng::with_seed(seed));
            let expected = f64::from(percent.min(100)) / 100.0;
            // Each policy gives a part of each turn to somebody else: a tenth of what is missing, at most.
            prop_assert!((share - expected).abs() < 0.15, "{:?} at {percent} %: {share}", POLICIES[policy]);
        }

        #[test]
        fn in_a_busy_app_it_has_that_part_of_the_others_requests(percent in 5u32..=100, seed: u64) {
            let (set, known) = one_is_new(Balance::Least);
            let (now, mut rng) = (known + SPAN * percent / 100, Rng::with_seed(seed));
            let held: Vec<_> = (0..2_000).map(|_| take(&set, now, &mut rng)).collect();
            let [.., warm, new] = &*set.dynos else { panic!("there are ten") };
            let part = f64::from(new.load.in_flight()) / f64::from(warm.load.in_flight());
            prop_assert!((part - f64::from(percent) / 100.0).abs() < 0.03, "{part} at {percent} %");
            drop(held);
        }
    }

    #[test]
    fn among_dynos_that_are_all_new_nobody_is_spared() {
        let (set, _app) = fixture::app(10, |routing| routing.slow_start_ms = Millis(100_000));
        let mut rng = Rng::with_seed(1);
        for seconds in [0, 1, 50] {
            let now = Moment::START + Duration::from_secs(seconds);
            let share = share(&set, now, 20_000, &mut rng);
            assert!((0.9..1.1).contains(&share), "{share} after {seconds} s");
        }
    }

    #[test]
    fn a_cold_dyno_is_better_than_none() {
        let (set, known) = one_is_new(Balance::Least);
        for warm in &set.dynos[..9] {
            warm.load.quarantine(known, Duration::from_secs(5));
        }
        let slot = take(&set, known, &mut Rng::with_seed(1));
        assert_eq!(&*slot.dyno().label, "web.10");
    }

    #[test]
    fn a_rendezvous_key_moves_to_the_new_dyno_once_and_no_other_key_moves() {
        let (set, known) = one_is_new(Balance::Rendezvous);
        let mut rng = Rng::with_seed(1);
        let mut at = |key, percent| match choose(
            &set,
            Tried::none(),
            Some(key),
            known + SPAN * percent / 100,
            &mut rng,
        ) {
            Choice::Taken(slot) => slot.dyno().label.clone(),
            none => panic!("{none:?}"),
        };
        for key in 0..200 {
            let places: Vec<_> = (0..=100).step_by(5).map(|percent| at(key, percent)).collect();
            let moves = places.windows(2).filter(|pair| pair[0] != pair[1]).count();
            let at_last = places.last().map(|place| &**place);
            assert!(moves == 0 || (moves, at_last) == (1, Some("web.10")), "{places:?}");
        }
    }
}
