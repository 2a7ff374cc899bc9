//! Any free dyno, each with the same probability: what Heroku's router does.

use std::sync::Arc;

use fastrand::Rng;

use super::Field;
use crate::route::dyno::Dyno;

pub(super) fn pick<'a>(field: &Field<'a>, rng: &mut Rng) -> Option<&'a Arc<Dyno>> {
    field.random_free(None, rng)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::route::{Moment, fixture, retry::Tried};

    #[test]
    fn three_free_dynos_among_a_hundred_get_equal_shares() {
        let (set, _app) = fixture::app(100, |_| {});
        let free = [0, 1, 99];
        for (_, dyno) in set.dynos.iter().enumerate().filter(|(at, _)| !free.contains(at)) {
            dyno.load.quarantine(Moment::START, Duration::from_secs(5));
        }
        let field = Field::new(&set, Tried::none(), Moment::START);
        let (mut rng, mut shares) = (Rng::with_seed(5), [0u32; 3]);
        for _ in 0..6_000 {
            let picked = pick(&field, &mut rng).unwrap();
            shares[free.iter().position(|at| Arc::ptr_eq(&set.dynos[*at], picked)).unwrap()] += 1;
        }
        assert!(shares.iter().all(|share| (1_850..2_150).contains(share)), "{shares:?}");
    }
}
