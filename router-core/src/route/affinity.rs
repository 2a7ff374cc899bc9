//! Session affinity: a cookie says which dyno a client's requests go to (Heroku, Session Affinity).
//!
//! - [`Ticket`]: what the cookie says: one dyno of one app, and nothing else about it.
//! - [`SetCookie`]: what a client is given that has no cookie, or one whose dyno cannot take it.
//!
//! A ticket is made of the app's name and the dyno's (`web.1`), so all routers agree without sharing a secret, and a
//! restarted dyno keeps its clients. It holds no address, generation or time, because a hash without a secret hides only
//! what cannot be guessed. **It is no secret:** whoever knows an app's name can make the ticket of each of its dynos, and so
//! choose among them; it never leads to a dyno of another app. Who may do what is for the app's own session to say.

use std::num::NonZeroU64;

use busbar_registry::AppName;

/// The cookie's name. Heroku's is `heroku-session-affinity`.
pub const COOKIE: &str = "busbar-session-affinity";
/// How long a client keeps it, in seconds: a day, as Heroku's.
const MAX_AGE: &str = "86400";
/// What tells this hash from all others that are made with the same function.
const PURPOSE: &str = "busbar 2026-11 session affinity, app and dyno";

/// One dyno of one app, as a cookie names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(NonZeroU64);

impl Ticket {
    pub(super) fn new(app: &AppName, dyno: &str) -> Self {
        let mut hash = blake3::Hasher::new_derive_key(PURPOSE);
        // A name has no line end, so no two pairs read the same.
        hash.update(app.as_str().as_bytes()).update(b"\n").update(dyno.as_bytes());
        let [a, b, c, d, e, f, g, h, ..] = *hash.finalize().as_bytes();
        Self(NonZeroU64::new(u64::from_be_bytes([a, b, c, d, e, f, g, h])).unwrap_or(NonZeroU64::MIN))
    }

    /// The ticket in the value of a `Cookie` header (RFC 6265 §4.2). What has the name but is not of our making is none.
    ///
    /// ```
    /// use router_core::route::affinity::Ticket;
    /// assert!(Ticket::find(b"a=b; busbar-session-affinity=00c0ffee00c0ffee").is_some());
    /// assert!(Ticket::find(b"busbar-session-affinity=coffee").is_none());
    /// ```
    pub fn find(cookies: &[u8]) -> Option<Self> {
        let value = |cookie: &'_ [u8]| {
            let digits = cookie.trim_ascii().strip_prefix(COOKIE.as_bytes())?.strip_prefix(b"=")?;
            let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 16)?;
            let is_ours = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
            is_ours.then(|| u64::from_str_radix(digits, 16).ok()).flatten().and_then(NonZeroU64::new)
        };
        cookies.split(|byte| *byte == b';').find_map(value).map(Self)
    }
}

/// A `Set-Cookie` for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetCookie {
    /// Where its requests go.
    pub ticket: Ticket,
    /// The request came over https, so the cookie goes nowhere else.
    pub secure: bool,
}

impl SetCookie {
    /// Appends the header's value.
    pub fn write(self, out: &mut Vec<u8>) {
        use std::io::Write as _;
        let secure = if self.secure { "; Secure" } else { "" };
        // Writing to a Vec always succeeds.
        let _ = write!(out, "{COOKIE}={:016x}; Max-Age={MAX_AGE}; Path=/; HttpOnly{secure}", self.ticket.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(app: &str, dyno: &str) -> Ticket {
        Ticket::new(&app.parse().unwrap(), dyno)
    }

    fn written(cookie: SetCookie) -> String {
        let mut out = Vec::new();
        cookie.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_set_is_found_again_among_other_cookies() {
        let ticket = ticket("shop", "web.1");
        let set = written(SetCookie { ticket, secure: true });
        let (pair, rest) = set.split_once("; ").unwrap();
        assert_eq!(rest, "Max-Age=86400; Path=/; HttpOnly; Secure");
        assert!(!written(SetCookie { ticket, secure: false }).contains("Secure"));
        for cookies in [pair.to_owned(), format!("a=1; {pair}"), format!("a=1;{pair};b=\"2\"")] {
            assert_eq!(Ticket::find(cookies.as_bytes()), Some(ticket), "{cookies}");
        }
    }

    #[test]
    fn every_router_makes_the_same_ticket_and_each_dyno_of_each_app_has_its_own() {
        // Kept for good: another value would reassign every client at an upgrade.
        assert_eq!(ticket("shop", "web.1").0.get(), 0xa7bc_85bf_1e09_0392);
        for (app, dyno) in [("shop", "web.2"), ("shop2", "web.1"), ("sho", "web.1")] {
            assert_ne!(ticket(app, dyno), ticket("shop", "web.1"), "{app} {dyno}");
        }
    }

    #[test]
    fn what_is_not_of_our_making_is_no_ticket() {
        for cookies in [
            "",
            "busbar-session-affinity",
            "busbar-session-affinity=",
            "busbar-session-affinity=00c0ffee00c0ffe",
            "busbar-session-affinity=00c0ffee00c0ffee0",
            "busbar-session-affinity=00C0FFEE00C0FFEE",
            "busbar-session-affinity=+0c0ffee00c0ffee",
            "busbar-session-affinity=\"00c0ffee00c0ff\"",
            "xbusbar-session-affinity=00c0ffee00c0ffee",
            "busbar-session-affinity =00c0ffee00c0ffee",
        ] {
            assert_eq!(Ticket::find(cookies.as_bytes()), None, "{cookies}");
        }
        assert_eq!(Ticket::find(&[0xff, b';', 0]), None);
    }
}
