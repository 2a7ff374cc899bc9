//! The less busy one of two different dynos chosen at random (power of two choices): constant cost for any number of
//! dynos, and a stale view of one does not draw everybody to it.

use std::sync::Arc;

use fastrand::Rng;

use super::Field;
use crate::route::dyno::Dyno;

pub(super) fn pick<'a>(field: &Field<'a>, rng: &mut Rng) -> Option<&'a Arc<Dyno>> {
    let (one, other) = field.two_free(rng)?;
    let Some(other) = other else { return Some(one) };
    Some(if field.busy(other) < field.busy(one) { other } else { one })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Moment, fixture, retry::Tried};

    #[test]
    fn the_busiest_dyno_is_never_picked_and_the_idlest_most_often() {
        let (set, _app) = fixture::app(4, |_| {});
        for (dyno, in_flight) in set.dynos.iter().zip(0..) {
            fixture::begin(dyno, in_flight);
        }
        let field = Field::new(&set, Tried::none(), Moment::START);
        let (mut rng, mut shares) = (Rng::with_seed(7), [0; 4]);
        for _ in 0..6_000 {
            shares[pick(&field, &mut rng).unwrap().load.in_flight() as usize] += 1;
        }
        // Of the 6 pairs of 4 dynos, 3 have the idlest one, 2 of the others the next, 1 the one after.
        for (share, expected) in shares.into_iter().zip([3_000, 2_000, 1_000, 0]) {
            assert!(i32::abs(share - expected) < 200, "{shares:?}");
        }
    }
}
