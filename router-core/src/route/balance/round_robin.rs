//! One dyno after the other, in order of their names. All workers share one cursor per app, so the order is the
//! app's, not the worker's; a dyno that cannot get the request is passed over.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::Field;
use crate::route::dyno::Dyno;

pub(super) fn pick<'a>(field: &Field<'a>) -> Option<&'a Arc<Dyno>> {
    let turn = || usize::try_from(field.set.load.cursor.fetch_add(1, Relaxed)).unwrap_or_default();
    let whose = |turn: usize| field.at(turn.checked_rem(field.len())?);
    // Who is passed over uses up a turn: else its successor would get twice its share.
    let in_turn = (0..field.len()).find_map(|_| whose(turn()).filter(|dyno| field.free(dyno).is_some()));
    // Other workers take turns meanwhile, so the one free dyno may have been missed: look at all of them.
    in_turn.or_else(|| field.from(turn()).into_iter().flatten().find(|dyno| field.free(dyno).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Moment, fixture, retry::Tried};

    #[test]
    fn each_dyno_has_its_turn_and_a_tried_one_is_passed_over() {
        let (set, _app) = fixture::app(3, |_| {});
        let mut tried = Tried::default();
        tried.add(set.dynos[1].key);
        let all = Field::new(&set, Tried::none(), Moment::START);
        let turns: Vec<_> = (0..4).map(|_| &*pick(&all).unwrap().label).collect();
        assert_eq!(turns, ["web.1", "web.2", "web.3", "web.1"]);
        let without = Field::new(&set, &tried, Moment::START);
        assert_eq!(&*pick(&without).unwrap().label, "web.3");
    }

    #[test]
    fn the_turns_of_a_dyno_that_is_passed_over_are_shared_by_all_others() {
        let (set, _app) = fixture::app(4, |_| {});
        set.dynos[1].load.quarantine(Moment::START, std::time::Duration::from_secs(5));
        let field = Field::new(&set, Tried::none(), Moment::START);
        let turns: Vec<_> = (0..6).map(|_| &*pick(&field).unwrap().label).collect();
        assert_eq!(turns, ["web.1", "web.3", "web.4", "web.1", "web.3", "web.4"]);
    }
}
