//! A dyno that refused a connection, or did not take it in time, is left alone for a while (Heroku: up to 5 s), by
//! this router, for all its workers. The first success ends it.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use super::{Moment, load::DynoLoad};

impl DynoLoad {
    /// A connect failed at `now`: no new request goes here before `now + span`. A shorter quarantine never cuts a
    /// longer one; a span of zero is none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use router_core::route::{Moment, load::DynoLoad};
    /// let (load, now) = (DynoLoad::default(), Moment::from_micros(7));
    /// let until = now + Duration::from_secs(5);
    /// load.quarantine(now, Duration::from_secs(5));
    /// assert_eq!(load.quarantined(now), Some(until));
    /// assert_eq!(load.quarantined(until), None);
    /// ```
    pub fn quarantine(&self, now: Moment, span: Duration) {
        self.failures.fetch_add(1, Relaxed);
        self.quarantined_until.fetch_max((now + span).as_micros(), Relaxed);
    }

    /// A connect succeeded: the dyno is well again.
    pub fn reached(&self) {
        // Looking first keeps the line clean in every core's cache in the usual case.
        if self.quarantined_until.load(Relaxed) != 0 {
            self.quarantined_until.store(0, Relaxed);
        }
    }

    /// Until when it is left alone, when it is at `now`.
    pub fn quarantined(&self, now: Moment) -> Option<Moment> {
        let until = Moment::from_micros(self.quarantined_until.load(Relaxed));
        (until > now).then_some(until)
    }

    /// How many connects to it have failed so far.
    pub fn failures(&self) -> u32 {
        self.failures.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(5);

    #[test]
    fn a_success_ends_the_quarantine() {
        let load = DynoLoad::default();
        load.quarantine(Moment::START, SPAN);
        assert!(load.quarantined(Moment::START).is_some());
        load.reached();
        assert_eq!(load.quarantined(Moment::START), None);
        assert_eq!(load.failures(), 1);
    }

    #[test]
    fn a_later_failure_lengthens_and_an_earlier_one_never_shortens() {
        let load = DynoLoad::default();
        let later = Moment::START + SPAN;
        load.quarantine(later, SPAN);
        load.quarantine(Moment::START, SPAN);
        assert_eq!(load.quarantined(later), Some(later + SPAN));
    }

    #[test]
    fn no_span_is_no_quarantine() {
        let load = DynoLoad::default();
        load.quarantine(Moment::from_micros(9), Duration::ZERO);
        assert_eq!(load.quarantined(Moment::from_micros(9)), None);
    }
}
