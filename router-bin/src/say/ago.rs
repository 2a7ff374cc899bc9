//! A moment and how long ago it was.

use jiff::{Timestamp, tz::TimeZone};

/// `2026/11/23 00:21:05 +0000 (~ 5m ago)`, in the zone `tz`. After a day only the moment.
pub(crate) fn ago(then: Timestamp, now: Timestamp, tz: &TimeZone) -> String {
    let moment = then.to_zoned(tz.clone()).strftime("%Y/%m/%d %H:%M:%S %z").to_string();
    match now.as_second().saturating_sub(then.as_second()).max(0) {
        seconds @ 0..60 => format!("{moment} (~ {seconds}s ago)"),
        seconds @ 60..3600 => format!("{moment} (~ {}m ago)", seconds / 60),
        seconds @ 3600..90_000 => format!("{moment} (~ {}h ago)", seconds / 3600),
        _ => moment,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_with_its_distance() {
        let then: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        for (seconds, text) in [
            (-5, " (~ 0s ago)"),
            (59, " (~ 59s ago)"),
            (60, " (~ 1m ago)"),
            (7_199, " (~ 1h ago)"),
            (100_000, ""),
        ] {
            let now = Timestamp::from_second(then.as_second() + seconds).unwrap();
            assert_eq!(ago(then, now, &TimeZone::UTC), format!("2026/11/23 00:00:00 +0000{text}"));
        }
    }
}
