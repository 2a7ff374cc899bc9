//! The dyno with the fewest requests in flight, over all workers. The default: of the policies that need no queue it
//! waits least by far, because one glance at all counters finds an idle dyno whenever there is one.

use std::sync::Arc;

use fastrand::Rng;

use super::Field;
use crate::route::dyno::Dyno;

/// Up to this many dynos are compared: a few hundred ns. Of more, this many in a row from a random start, and further
/// only as long as none of them is free.
const ENOUGH: usize = 256;

/// Begins at a random dyno and keeps the first of the least busy ones, so ties fall at random. An idle dyno ends the
/// search: there is none less busy.
pub(super) fn pick<'a>(field: &Field<'a>, rng: &mut Rng) -> Option<&'a Arc<Dyno>> {
    let (mut best, mut least, mut looked) = (None, u32::MAX, 0);
    'search: for stretch in field.from(rng.usize(..field.len().max(1))) {
        for dyno in stretch {
            // The cheap question first: most dynos are not less busy than the best one so far.
            let busy = field.busy(dyno);
            if busy < least && field.free(dyno).is_some() {
                (best, least) = (Some(dyno), busy);
            }
            looked += 1;
            if least == 0 || looked >= ENOUGH && best.is_some() {
                break 'search;
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Moment, app::DynoSet, fixture, load::Slot, retry::Tried};

    /// `n` dynos with three requests each.
    fn busy(n: usize) -> (Arc<DynoSet>, Vec<Vec<Slot>>) {
        let (set, _app) = fixture::app(n, |_| {});
        let slots = set.dynos.iter().map(|dyno| fixture::hold(dyno, 3)).collect();
        (set, slots)
    }

    #[test]
    fn it_finds_the_one_less_busy_dyno_among_256_from_any_start() {
        let (set, mut slots) = busy(256);
        let field = Field::new(&set, Tried::none(), Moment::START);
        slots[77].pop();
        for seed in 0..50 {
            let found = pick(&field, &mut Rng::with_seed(seed)).unwrap();
            assert!(Arc::ptr_eq(found, &set.dynos[77]));
        }
    }

    #[test]
    fn of_a_thousand_it_takes_the_least_busy_of_a_quarter() {
        let (set, mut slots) = busy(1000);
        let field = Field::new(&set, Tried::none(), Moment::START);
        // Every hundredth dyno is less busy, so each stretch of 256 has at least two of them.
        for at in (0..1000).step_by(100) {
            slots[at].pop();
        }
        for seed in 0..50 {
            assert_eq!(pick(&field, &mut Rng::with_seed(seed)).unwrap().load.in_flight(), 2);
        }
    }
}
