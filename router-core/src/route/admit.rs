//! The rules before a dyno is chosen, and the queue for when none can be.
//!
//! - [`admit`]: counts the request in, or says why not; [`Admission`] counts it out.
//! - [`verdict`]: what to do while no dyno is up.
//! - [`WaitList`], [`Waiting`] (in [`wait`]): the bounded queue for a dyno that is free, or boots.
//!
//! ```text
//! admit → choose ─ Taken ───────────────────────────────────────────→ dial
//!           ↑  └─ AllBusy, or NoneUp while one boots → join → turn ─┐
//!           └───────────────────────────────────────────────────────┘
//! ```

pub mod wait;

use std::sync::Arc;

use super::app::{App, DynoSet};
pub use wait::{WaitList, Waiting};

/// Why a request gets no dyno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The app has no web dynos and is to have none (H14).
    NoWebProcesses,
    /// All of its web dynos have crashed (H10).
    Crashed,
    /// `in_flight_per_dyno` × dynos are in flight, or `queue_limit` wait (H11).
    BacklogTooDeep,
    /// `request_limit` requests are in flight (H22).
    RequestLimit,
}

/// What an app's dynos allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// At least one is up: choose.
    Up,
    /// None is up, but one should be soon: wait (H20 when the hold timeout is over).
    WaitForBoot,
    /// None is up, and none will be.
    Refused(Refused),
}

/// What the app's dynos allow now. An app scaled to none is refused even while a last dyno starts; one whose dynos are
/// neither starting nor crashed is between the two, so its next state is worth waiting for.
pub fn verdict(set: &DynoSet) -> Verdict {
    match set.web {
        _ if !set.dynos.is_empty() => Verdict::Up,
        web if web.quantity == 0 => Verdict::Refused(Refused::NoWebProcesses),
        web if web.crashed >= web.quantity && web.starting == 0 => Verdict::Refused(Refused::Crashed),
        _ => Verdict::WaitForBoot,
    }
}

/// A request counted into its app. Dropping it counts it out.
#[derive(Debug)]
#[must_use = "dropping an admission counts the request out"]
pub struct Admission {
    app: Arc<App>,
}

impl Admission {
    /// The app that counts it.
    pub const fn app(&self) -> &Arc<App> {
        &self.app
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.app.load.leave();
    }
}

/// Counts a request in, under the limits of `set`, which hold exactly however many workers ask at once. While no dyno is
/// up, `in_flight_per_dyno` says nothing and `queue_limit` is the bound, applied on [`Waiting::join`].
///
/// # Errors
/// [`Refused`], and nothing is counted.
///
/// ```
/// # use router_core::route::table::RouteTable;
/// # let (table, mut publisher) = RouteTable::new();
/// # publisher.put_app(serde_json::from_str(
/// #     r#"{"name":"shop","domains":["shop.example"],"routing":{"request_limit":1}}"#).unwrap());
/// # publisher.put_dyno(serde_json::from_str(
/// #     r#"{"app":"shop","dyno":"web.1","address":"127.0.0.1:5000","generation":1,"state":"up"}"#).unwrap());
/// use router_core::route::admit::{Refused, admit};
/// let app = table.reader().find("shop.example").unwrap(); // request_limit = 1
/// let first = admit(&app, &app.set()).unwrap();
/// assert_eq!(admit(&app, &app.set()).unwrap_err(), Refused::RequestLimit);
/// drop(first);
/// assert!(admit(&app, &app.set()).is_ok());
/// ```
pub fn admit(app: &Arc<App>, set: &DynoSet) -> Result<Admission, Refused> {
    let backlog = match verdict(set) {
        Verdict::Refused(why) => return Err(why),
        Verdict::WaitForBoot => u32::MAX,
        Verdict::Up => {
            let dynos = u32::try_from(set.dynos.len()).unwrap_or(u32::MAX);
            set.routing.in_flight_per_dyno.saturating_mul(dynos)
        }
    };
    app.load.enter(|in_flight| match set.routing.request_limit {
        _ if in_flight >= backlog => Some(Refused::BacklogTooDeep),
        Some(limit) if in_flight >= limit.get() => Some(Refused::RequestLimit),
        _ => None,
    })?;
    Ok(Admission { app: Arc::clone(app) })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use busbar_registry::WebFormation;

    use super::*;
    use crate::route::fixture;

    #[test]
    fn while_no_dyno_is_up_the_formation_decides() {
        use Refused::{Crashed, NoWebProcesses};
        for ((quantity, starting, crashed), expected) in [
            ((0, 0, 0), Verdict::Refused(NoWebProcesses)),
            ((0, 1, 0), Verdict::Refused(NoWebProcesses)),
            ((2, 1, 1), Verdict::WaitForBoot),
            ((2, 0, 2), Verdict::Refused(Crashed)),
            ((2, 0, 0), Verdict::WaitForBoot),
        ] {
            let (set, _app) = fixture::app(0, |_| {});
            let mut set = DynoSet::clone(&set);
            set.web = WebFormation { quantity, starting, crashed };
            assert_eq!(verdict(&set), expected, "{:?}", set.web);
        }
        assert_eq!(verdict(&fixture::app(1, |_| {}).0), Verdict::Up);
    }

    #[test]
    fn the_200th_request_per_dyno_is_the_last_before_h11() {
        let (set, app) = fixture::app(2, |_| {});
        let held: Vec<_> = (0..400).map(|_| admit(&app, &set).unwrap()).collect();
        assert_eq!(admit(&app, &set).unwrap_err(), Refused::BacklogTooDeep);
        drop(held);
        assert_eq!(app.load.in_flight(), 0);
        assert!(admit(&app, &set).is_ok());
    }

    #[test]
    fn the_request_limit_is_h22_and_a_deeper_backlog_is_h11_first() {
        let limit = |routing: &mut busbar_registry::Routing| routing.request_limit = NonZeroU32::new(3);
        let (set, app) = fixture::app(1, limit);
        let _held: Vec<_> = (0..3).map(|_| admit(&app, &set).unwrap()).collect();
        assert_eq!(admit(&app, &set).unwrap_err(), Refused::RequestLimit);
        let (set, app) = fixture::app(1, |routing| {
            limit(routing);
            routing.in_flight_per_dyno = 3;
        });
        let _held: Vec<_> = (0..3).map(|_| admit(&app, &set).unwrap()).collect();
        assert_eq!(admit(&app, &set).unwrap_err(), Refused::BacklogTooDeep);
    }

    #[test]
    fn racing_threads_never_exceed_a_limit() {
        let (set, app) = fixture::app(1, |routing| routing.request_limit = NonZeroU32::new(3));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        let admission = admit(&app, &set);
                        assert!(app.load.in_flight() <= 3);
                        drop(admission);
                    }
                });
            }
        });
        assert_eq!(app.load.in_flight(), 0);
    }
}
