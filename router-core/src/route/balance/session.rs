//! The dyno that a client's cookie names, for an app with session affinity, before any policy is asked.
//!
//! - [`find`]: that dyno, as long as it is well. [`place_at`]: a place there, and nowhere else.

use std::sync::Arc;

use super::{Choice, Field};
use crate::route::{Moment, affinity::Ticket, app::DynoSet, dyno::Dyno, load::Slot, retry::Tried};

/// The dyno of `set` that `ticket` names. None when it is not up, is left alone, or is in `exclude`: then any will do.
/// Looks at all dynos, so it is for apps with affinity only. Allocates nothing.
pub fn find<'a>(set: &'a DynoSet, ticket: Ticket, exclude: &Tried, now: Moment) -> Option<&'a Arc<Dyno>> {
    let field = Field::new(set, exclude, now);
    let named = set.dynos.iter().find(|dyno| dyno.ticket == ticket)?;
    (field.away(named).is_none() && field.untried(named)).then_some(named)
}

/// A place at `dyno` of `set`; [`Choice::AllBusy`] when it has `concurrency_per_dyno` requests.
pub fn place_at(set: &DynoSet, dyno: &Arc<Dyno>) -> Choice {
    let slot = Slot::take(dyno, set.routing.concurrency_per_dyno);
    slot.map_or(Choice::AllBusy { until: Moment::NEVER }, Choice::Taken)
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use super::*;
    use crate::route::fixture;

    #[test]
    fn a_cookies_dyno_is_taken_or_waited_for_while_it_is_well() {
        let (set, _app) = fixture::app(3, |routing| routing.concurrency_per_dyno = NonZeroU32::new(1));
        let (ticket, key) = (set.dynos[1].ticket, set.dynos[1].key);
        let again = |tried| find(&set, ticket, tried, Moment::START);
        let dyno = again(Tried::none()).unwrap();
        let Choice::Taken(slot) = place_at(&set, dyno) else { panic!("it is free") };
        assert_eq!(slot.dyno().key, key);
        assert!(matches!(place_at(&set, again(Tried::none()).unwrap()), Choice::AllBusy { .. }));
        let mut tried = Tried::default();
        tried.add(key);
        assert!(again(&tried).is_none());
        dyno.load.quarantine(Moment::START, Duration::from_secs(5));
        assert!(again(Tried::none()).is_none());
    }

    #[test]
    fn a_ticket_means_the_same_dyno_to_every_router_and_none_that_is_not_up() {
        let (set, _app) = fixture::app(3, |_| {});
        let (smaller, _app) = fixture::app(2, |_| {});
        let named = |n: usize| find(&smaller, set.dynos[n].ticket, Tried::none(), Moment::START);
        assert_eq!(named(1).map(|dyno| &*dyno.label), Some("web.2"));
        assert!(named(2).is_none());
    }
}
