//! Chooses the dyno for a request.
//!
//! - [`choose`]: applies the app's [`Balance`] and takes a place at the dyno it finds.
//! - [`Choice`]: the place, or why there is none.
//! - One file per policy, each a function from a [`Field`] of dynos to one of them: [`least`], [`p2c`],
//!   [`peak_ewma`], [`round_robin`], [`random`], [`rendezvous`].
//! - [`session`]: before any policy, the dyno that a client's cookie names.
//!
//! - `warmup`: a dyno that is new gets its share gradually, whatever the policy.
//!
//! No policy ever picks a dyno the request has tried, one in quarantine, or one with `concurrency_per_dyno` requests.

pub(crate) mod least;
pub(crate) mod p2c;
pub(crate) mod peak_ewma;
pub(crate) mod random;
pub mod rendezvous;
pub(crate) mod round_robin;
pub mod session;
mod warmup;

use std::{num::NonZeroU32, sync::Arc};

use busbar_registry::Balance;
use fastrand::Rng;

use super::{Moment, app::DynoSet, dyno::Dyno, eject, load::Slot, retry::Tried};
use warmup::Warmup;

/// What choosing came to.
#[derive(Debug)]
pub enum Choice {
    /// A place at a dyno, counted already.
    Taken(Slot),
    /// Every dyno left to try has `concurrency_per_dyno` requests or is in quarantine: wait for a place.
    AllBusy {
        /// The first dyno of all leaves quarantine then, if not for this request then for another one that waits;
        /// [`Moment::NEVER`] when none is in it.
        until: Moment,
    },
    /// Every dyno left to try is in quarantine.
    AllQuarantined {
        /// The first dyno of all leaves it then, if not for this request then for another one that waits.
        until: Moment,
    },
    /// The request has tried them all.
    AllTried,
    /// No dyno is up.
    NoneUp,
}

/// Chooses a dyno of `set` that is not in `exclude` and takes a place there. `key` is what
/// [`Balance::Rendezvous`] sticks to ([`rendezvous::key`] makes one); without it, and for it only, the least busy
/// dyno is taken. The caps hold exactly, however many workers choose at once. Allocates nothing.
///
/// ```
/// # use router_core::route::table::RouteTable;
/// # let (table, mut publisher) = RouteTable::new();
/// # publisher.put_app(serde_json::from_str(r#"{"name":"shop","domains":["shop.example"]}"#).unwrap());
/// # publisher.put_dyno(serde_json::from_str(
/// #     r#"{"app":"shop","dyno":"web.1","address":"127.0.0.1:5000","generation":1,"state":"up"}"#).unwrap());
/// use router_core::route::{Moment, balance::{Choice, choose}, retry::Tried};
/// let app = table.reader().find("shop.example").unwrap();
/// let mut rng = fastrand::Rng::with_seed(1);
/// let choice = app.with_set(|set| choose(set, Tried::none(), None, Moment::START, &mut rng));
/// let Choice::Taken(slot) = choice else { panic!("web.1 is up") };
/// assert_eq!((&*slot.dyno().label, slot.dyno().load.in_flight()), ("web.1", 1));
/// ```
pub fn choose(set: &DynoSet, exclude: &Tried, key: Option<u64>, now: Moment, rng: &mut Rng) -> Choice {
    let mut field = Field::new(set, exclude, now);
    field.warmup = Warmup::of(set, now, key, rng);
    loop {
        let Some(dyno) = pick(&field, key, rng) else {
            // Better a cold dyno than none, and better a sick one.
            if field.warmup.take().is_some() || field.recall_the_ejected() {
                continue;
            }
            return field.why_none();
        };
        // Taking fails only when another worker took the last place there since; so somebody always gets on.
        if let Some(slot) = Slot::take(dyno, field.cap) {
            if set.routing.balance == Balance::PeakEwma {
                dyno.load.begun(now);
            }
            return Choice::Taken(slot);
        }
    }
}

fn pick<'a>(field: &Field<'a>, key: Option<u64>, rng: &mut Rng) -> Option<&'a Arc<Dyno>> {
    match (field.set.routing.balance, key) {
        (Balance::Least, _) | (Balance::Rendezvous, None) => least::pick(field, rng),
        (Balance::P2c, _) => p2c::pick(field, rng),
        (Balance::PeakEwma, _) => peak_ewma::pick(field, rng),
        (Balance::RoundRobin, _) => round_robin::pick(field),
        (Balance::Random, _) => random::pick(field, rng),
        (Balance::Rendezvous, Some(key)) => rendezvous::pick(field, key),
    }
}

/// The dynos of one set as they stand for one request.
pub(crate) struct Field<'a> {
    set: &'a DynoSet,
    exclude: &'a Tried,
    nothing_excluded: bool,
    cap: Option<NonZeroU32>,
    warmup: Option<Warmup>,
    ejections_count: bool,
    now: Moment,
}

impl<'a> Field<'a> {
    pub(crate) fn new(set: &'a DynoSet, exclude: &'a Tried, now: Moment) -> Self {
        let cap = set.routing.concurrency_per_dyno;
        let ejections_count = eject::count(set, now);
        Self { set, exclude, nothing_excluded: exclude.is_empty(), cap, warmup: None, ejections_count, now }
    }

    fn len(&self) -> usize {
        self.set.dynos.len()
    }

    fn at(&self, index: usize) -> Option<&'a Arc<Dyno>> {
        self.set.dynos.get(index)
    }

    fn untried(&self, dyno: &Dyno) -> bool {
        self.nothing_excluded || !self.exclude.contains(dyno.key)
    }

    /// How many requests `dyno` has, when it may get another one.
    fn free(&self, dyno: &Dyno) -> Option<u32> {
        let in_flight = dyno.load.in_flight();
        let below = self.cap.is_none_or(|cap| in_flight < cap.get());
        let well = below && self.away(dyno).is_none() && self.untried(dyno);
        let takes_part = well && self.warmup.as_ref().is_none_or(|warmup| warmup.lets(dyno));
        takes_part.then_some(in_flight)
    }

    /// How busy `dyno` is: its requests in flight; more than those while it is new, and then for comparison only.
    fn busy(&self, dyno: &Dyno) -> u32 {
        let in_flight = dyno.load.in_flight();
        self.warmup.as_ref().map_or(in_flight, |warmup| warmup.weigh(in_flight, dyno))
    }

    /// Until when `dyno` is left alone, if it is now.
    fn away(&self, dyno: &Dyno) -> Option<Moment> {
        let quarantined = dyno.load.quarantined(self.now);
        if self.ejections_count { quarantined.max(dyno.load.ejected(self.now)) } else { quarantined }
    }

    /// When every dyno left to try is left alone, those that are only ejected may get the request after all; says whether
    /// that makes a difference.
    fn recall_the_ejected(&mut self) -> bool {
        let mut untried = self.set.dynos.iter().filter(|dyno| self.untried(dyno));
        if !self.ejections_count || !untried.all(|dyno| self.away(dyno).is_some()) {
            return false;
        }
        self.ejections_count = false;
        self.set.dynos.iter().any(|dyno| self.untried(dyno) && self.away(dyno).is_none())
    }

    /// Any dyno that may get a request.
    pub(crate) fn any_free(&self) -> Option<&'a Arc<Dyno>> {
        self.set.dynos.iter().find(|dyno| self.free(dyno).is_some())
    }

    /// Whether any dyno is left alone.
    pub(crate) fn any_away(&self) -> bool {
        self.set.dynos.iter().any(|dyno| self.away(dyno).is_some())
    }

    /// All dynos once, in two stretches, beginning with number `start` modulo their number and going round.
    fn from(&self, start: usize) -> [&'a [Arc<Dyno>]; 2] {
        let (before, after) = self.set.dynos.split_at(start.checked_rem(self.len()).unwrap_or_default());
        [after, before]
    }

    /// A free dyno other than `not`, each with the same probability.
    fn random_free(&self, not: Option<&Arc<Dyno>>, rng: &mut Rng) -> Option<&'a Arc<Dyno>> {
        /// With half of the dynos free, this many guesses miss once in 256 times.
        const GUESSES: usize = 8;
        let fits = |dyno: &Arc<Dyno>| not.is_none_or(|not| not.key != dyno.key) && self.free(dyno).is_some();
        if self.len() == 0 {
            return None;
        }
        let guessed = (0..GUESSES).find_map(|_| self.at(rng.usize(..self.len())).filter(|dyno| fits(dyno)));
        guessed.or_else(|| {
            let fitting = self.set.dynos.iter().filter(|dyno| fits(dyno)).enumerate();
            fitting.fold(None, |kept, (seen, dyno)| if rng.usize(..=seen) == 0 { Some(dyno) } else { kept })
        })
    }

    /// Two different free dynos at random; the second is missing when only one is free.
    fn two_free(&self, rng: &mut Rng) -> Option<(&'a Arc<Dyno>, Option<&'a Arc<Dyno>>)> {
        let one = self.random_free(None, rng)?;
        Some((one, self.random_free(Some(one), rng)))
    }

    /// Why no dyno could be picked.
    fn why_none(&self) -> Choice {
        let (mut busy, mut untried_away, mut back) = (false, false, Moment::NEVER);
        for dyno in &self.set.dynos {
            let (untried, until) = (self.untried(dyno), self.away(dyno));
            busy |= untried && until.is_none();
            untried_away |= untried && until.is_some();
            back = back.min(until.unwrap_or(Moment::NEVER));
        }
        match self.len() {
            0 => Choice::NoneUp,
            _ if busy => Choice::AllBusy { until: back },
            _ if untried_away => Choice::AllQuarantined { until: back },
            _ => Choice::AllTried,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fastrand::Rng;
    use proptest::prelude::*;

    use super::*;
    use crate::route::fixture;

    const POLICIES: [Balance; 6] = [
        Balance::Least,
        Balance::P2c,
        Balance::PeakEwma,
        Balance::RoundRobin,
        Balance::Random,
        Balance::Rendezvous,
    ];
    const NOW: Moment = Moment::from_micros(1_000_000);

    /// How one dyno stands before the choice.
    #[derive(Debug, Clone, Copy)]
    struct Stands {
        in_flight: u32,
        quarantined: bool,
        tried: bool,
    }

    fn stands() -> impl Strategy<Value = Stands> {
        (0u32..4, prop::bool::weighted(0.25), prop::bool::weighted(0.25))
            .prop_map(|(in_flight, quarantined, tried)| Stands { in_flight, quarantined, tried })
    }

    fn arrange(stands: &[Stands], balance: Balance, cap: Option<NonZeroU32>) -> (Arc<DynoSet>, Tried) {
        let (set, _app) = fixture::app(stands.len(), |routing| {
            routing.balance = balance;
            routing.concurrency_per_dyno = cap;
        });
        let mut tried = Tried::default();
        for (dyno, stands) in set.dynos.iter().zip(stands) {
            fixture::begin(dyno, stands.in_flight);
            if stands.quarantined {
                dyno.load.quarantine(Moment::START, Duration::from_secs(5));
            }
            if stands.tried {
                tried.add(dyno.key);
            }
        }
        (set, tried)
    }

    proptest! {
        #[test]
        fn every_policy_picks_a_free_dyno_exactly_when_there_is_one(
            stands in prop::collection::vec(stands(), 0..12), cap in 0u32..4, policy in 0usize..6,
            key: u64, seed: u64,
        ) {
            let cap = NonZeroU32::new(cap);
            let (set, tried) = arrange(&stands, POLICIES[policy], cap);
            let busy = |s: &Stands| cap.is_some_and(|cap| s.in_flight >= cap.get());
            let free: Vec<_> =
                stands.iter().map(|s| !s.tried && !s.quarantined && !busy(s)).collect();
            let mut rng = Rng::with_seed(seed);
            match choose(&set, &tried, Some(key), NOW, &mut rng) {
                Choice::Taken(slot) => {
                    let at = set.dynos.iter().position(|dyno| Arc::ptr_eq(dyno, slot.dyno())).unwrap();
                    prop_assert!(free[at]);
                    prop_assert_eq!(slot.dyno().load.in_flight(), stands[at].in_flight + 1);
                    let eligible = || stands.iter().zip(&free).filter(|(_, free)| **free).map(|(s, _)| s.in_flight);
                    match POLICIES[policy] {
                        Balance::Least => prop_assert_eq!(eligible().min(), Some(stands[at].in_flight)),
                        Balance::P2c if eligible().count() > 1 => prop_assert!(
                            eligible().filter(|n| *n >= stands[at].in_flight).count() > 1, "the worst of all"),
                        _ => {}
                    }
                }
                none => {
                    prop_assert!(!free.contains(&true));
                    let untried = || stands.iter().filter(|s| !s.tried);
                    match none {
                        Choice::NoneUp => prop_assert!(stands.is_empty()),
                        Choice::AllTried => prop_assert!(untried().count() == 0 && !stands.is_empty()),
                        Choice::AllQuarantined { until } => {
                            prop_assert!(untried().all(|s| s.quarantined) && untried().count() > 0);
                            prop_assert_eq!(until, Moment::START + Duration::from_secs(5));
                        }
                        Choice::AllBusy { until } => {
                            prop_assert!(untried().any(|s| !s.quarantined && busy(s)));
                            prop_assert_eq!(until == Moment::NEVER, !stands.iter().any(|s| s.quarantined));
                        }
                        Choice::Taken(_) => unreachable!(),
                    }
                }
            }
        }
    }

    #[test]
    fn the_dyno_that_leaves_quarantine_first_says_when_to_come_back() {
        let (set, _app) = fixture::app(3, |_| {});
        for (dyno, seconds) in set.dynos.iter().zip([7, 3, 5]) {
            dyno.load.quarantine(Moment::START, Duration::from_secs(seconds));
        }
        let choice = choose(&set, Tried::none(), None, NOW, &mut Rng::with_seed(1));
        assert!(
            matches!(choice, Choice::AllQuarantined { until } if until == Moment::START + Duration::from_secs(3))
        );
    }

    #[test]
    fn caps_hold_for_every_policy_while_workers_race() {
        for balance in POLICIES {
            let cap = NonZeroU32::new(2);
            let (set, _app) = fixture::app(3, |routing| {
                routing.balance = balance;
                routing.concurrency_per_dyno = cap;
            });
            std::thread::scope(|scope| {
                for seed in 0..4 {
                    let set = &set;
                    scope.spawn(move || {
                        let mut rng = Rng::with_seed(seed);
                        let mut held = Vec::new();
                        for turn in 0..2_000 {
                            match choose(set, Tried::none(), Some(rng.u64(..)), NOW, &mut rng) {
                                Choice::Taken(slot) => held.push(slot),
                                Choice::AllBusy { .. } => held.clear(),
                                other => panic!("{other:?}"),
                            }
                            assert!(set.dynos.iter().all(|dyno| dyno.load.in_flight() <= 2));
                            if turn % 3 == 0 {
                                held.pop();
                            }
                        }
                    });
                }
            });
            assert!(set.dynos.iter().all(|dyno| dyno.load.in_flight() == 0));
        }
    }

    /// How often each of `n` idle dynos gets one of `turns` requests.
    fn shares(balance: Balance, n: usize, turns: u32) -> Vec<u32> {
        let (set, _app) = fixture::app(n, |routing| routing.balance = balance);
        let mut rng = Rng::with_seed(42);
        let mut shares = vec![0; n];
        for _ in 0..turns {
            let key = Some(rng.u64(..));
            let Choice::Taken(slot) = choose(&set, Tried::none(), key, NOW, &mut rng) else {
                panic!("all are free")
            };
            shares[set.dynos.iter().position(|dyno| Arc::ptr_eq(dyno, slot.dyno())).unwrap()] += 1;
        }
        shares
    }

    #[test]
    fn idle_dynos_get_equal_shares_under_every_policy() {
        for balance in POLICIES {
            for share in shares(balance, 10, 20_000) {
                assert!((1_800..2_200).contains(&share), "{balance:?}: {share} of 2000");
            }
        }
    }

    #[test]
    fn without_a_key_rendezvous_takes_the_least_busy_dyno() {
        let stands = [3, 0, 2].map(|in_flight| Stands { in_flight, quarantined: false, tried: false });
        let (set, tried) = arrange(&stands, Balance::Rendezvous, None);
        let Choice::Taken(slot) = choose(&set, &tried, None, NOW, &mut Rng::with_seed(3)) else {
            panic!("all are free")
        };
        assert!(Arc::ptr_eq(slot.dyno(), &set.dynos[1]));
    }
}
