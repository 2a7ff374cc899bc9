//! Which dynos one request has tried, and when to give up: only while connecting, never after a byte was written.
//! Heroku: at most 10 different dynos, fewer when there are fewer; then H19 or H21.
//!
//! - [`Attempts`]: one request's, from its first dyno to giving up.
//! - [`Tried`]: the dynos among them; what [`choose`](super::balance::choose) leaves out.
//! - [`budget`]: how many retries an app may make at all.

pub mod budget;

use super::{
    Moment,
    app::DynoSet,
    dyno::{Dyno, DynoKey},
};

/// How many tried dynos are kept without allocating.
const INLINE: usize = 16;

/// How a connect failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectFailure {
    /// Refused, reset, or unreachable: H21 when it is the last one.
    Refused,
    /// Not accepted in time: H19 when it is the last one.
    TimedOut,
    /// Accepted, but what came in answer to our settings was not HTTP/2: H17 when it is the last one.
    NoHttp2,
    /// Accepted, but the TLS handshake failed, most often because the certificate is not the one expected: H21 when it is
    /// the last one.
    Tls,
}

/// What a request does after a failed connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Choose among the dynos that were not tried.
    TryAnother,
    /// All attempts, or the app's retries, are used up; the last one failed like this.
    GiveUp(ConnectFailure),
}

/// The dynos a request has tried. Allocates from the 17th on only.
#[derive(Debug, Clone, Default)]
pub struct Tried {
    first: [Option<DynoKey>; INLINE],
    more: Vec<DynoKey>,
}

impl Tried {
    /// No dyno was tried.
    pub fn none() -> &'static Self {
        static NONE: Tried = Tried { first: [None; INLINE], more: Vec::new() };
        &NONE
    }

    /// Adds a dyno; adding it again changes nothing.
    pub fn add(&mut self, key: DynoKey) {
        if self.contains(key) {
            return;
        }
        match self.first.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(key),
            None => self.more.push(key),
        }
    }

    /// Whether it was tried.
    pub fn contains(&self, key: DynoKey) -> bool {
        self.first.iter().map_while(|tried| *tried).any(|tried| tried == key) || self.more.contains(&key)
    }

    /// How many were.
    pub fn len(&self) -> usize {
        self.first.iter().flatten().count() + self.more.len()
    }

    /// Whether none was.
    pub const fn is_empty(&self) -> bool {
        matches!(self.first, [None, ..])
    }
}

/// One request's attempts to reach a dyno.
///
/// ```
/// # use router_core::route::{Moment, retry::{Attempts, ConnectFailure, Next}, table::RouteTable};
/// # let (table, mut publisher) = RouteTable::new();
/// # publisher.put_app(serde_json::from_str(r#"{"name":"shop","domains":["shop.example"]}"#).unwrap());
/// # for n in 1..=2 {
/// #     publisher.put_dyno(serde_json::from_str(&format!(
/// #         r#"{{"app":"shop","dyno":"web.{n}","address":"127.0.0.1:{n}","generation":{n},"state":"up"}}"#)).unwrap());
/// # }
/// let set = table.reader().find("shop.example").unwrap().set(); // two dynos
/// let mut attempts = Attempts::default();
/// assert_eq!(attempts.failed(&set, &set.dynos[0], ConnectFailure::TimedOut, Moment::START), Next::TryAnother);
/// assert_eq!(
///     attempts.failed(&set, &set.dynos[1], ConnectFailure::Refused, Moment::START),
///     Next::GiveUp(ConnectFailure::Refused)
/// );
/// ```
#[derive(Debug, Clone, Default)]
pub struct Attempts {
    tried: Tried,
    last: Option<ConnectFailure>,
}

impl Attempts {
    /// The dynos tried so far.
    pub const fn tried(&self) -> &Tried {
        &self.tried
    }

    /// How the last attempt failed; `None` before the first failure. What to answer when
    /// [`choose`](super::balance::choose) finds nothing left to try.
    pub const fn last(&self) -> Option<ConnectFailure> {
        self.last
    }

    /// Connecting to `dyno`, chosen from `set`, failed. Another try is taken from the app's [`budget`].
    pub fn failed(&mut self, set: &DynoSet, dyno: &Dyno, how: ConnectFailure, now: Moment) -> Next {
        self.tried.add(dyno.key);
        self.last = Some(how);
        let allowed =
            usize::try_from(set.routing.connect_attempts).unwrap_or(usize::MAX).min(set.dynos.len());
        let another = self.tried.len() < allowed && set.load.may_retry(&set.routing, now);
        if another { Next::TryAnother } else { Next::GiveUp(how) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::fixture;

    #[test]
    fn ten_dynos_are_tried_of_twenty() {
        let (set, _app) = fixture::app(20, |_| {});
        let mut attempts = Attempts::default();
        for (n, dyno) in set.dynos.iter().take(10).enumerate() {
            let next = attempts.failed(&set, dyno, ConnectFailure::TimedOut, Moment::START);
            let expected = if n < 9 { Next::TryAnother } else { Next::GiveUp(ConnectFailure::TimedOut) };
            assert_eq!(next, expected);
        }
    }

    #[test]
    fn the_only_dyno_is_tried_once_and_its_failure_is_the_answer() {
        let (set, _app) = fixture::app(1, |_| {});
        let mut attempts = Attempts::default();
        let next = attempts.failed(&set, &set.dynos[0], ConnectFailure::Refused, Moment::START);
        assert_eq!(next, Next::GiveUp(ConnectFailure::Refused));
        assert_eq!(attempts.last(), Some(ConnectFailure::Refused));
    }

    #[test]
    fn no_attempts_allowed_still_means_one() {
        let (set, _app) = fixture::app(3, |routing| routing.connect_attempts = 0);
        let next = Attempts::default().failed(&set, &set.dynos[0], ConnectFailure::Refused, Moment::START);
        assert_eq!(next, Next::GiveUp(ConnectFailure::Refused));
    }

    #[test]
    fn tried_is_a_set_of_any_size() {
        let mut tried = Tried::default();
        assert!(tried.is_empty());
        for n in (0..40).chain(0..40) {
            tried.add(DynoKey(n));
        }
        assert_eq!(tried.len(), 40);
        assert!((0..40).all(|n| tried.contains(DynoKey(n))));
        assert!(!tried.contains(DynoKey(40)));
    }
}
