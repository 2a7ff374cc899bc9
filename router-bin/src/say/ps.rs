//! `busbar ps`, in Heroku's form.

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::ago::ago;

/// The dynos of one process type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessGroup {
    /// Whose they are.
    pub(crate) app: String,
    /// `web`, `worker`.
    pub(crate) process_type: String,
    /// What each runs. `None` for dynos that were not started here.
    pub(crate) command: Option<String>,
    /// How many there should be.
    pub(crate) quantity: u32,
    /// How large, if that was said: `Standard-2X`.
    #[serde(default)]
    pub(crate) size: Option<String>,
    /// Those there are.
    pub(crate) dynos: Vec<DynoStatus>,
}

/// One dyno.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct DynoStatus {
    /// `web.1`
    pub(crate) name: String,
    /// `starting`, `up`, `draining`, `stopping`, `crashed`, `down`.
    pub(crate) state: String,
    /// Since when. `None` when that is not known here.
    pub(crate) since: Option<Timestamp>,
    /// Where it accepts connections, if it does.
    pub(crate) address: Option<busbar_registry::Address>,
    /// Its first process.
    pub(crate) pid: Option<i32>,
    /// Bytes of memory it uses, without page cache.
    pub(crate) memory: Option<u64>,
    /// How many it should not exceed.
    #[serde(default)]
    pub(crate) quota: Option<u64>,
    /// How often it has crashed since it was deployed.
    pub(crate) crashes: Option<u32>,
}

/// `=== web (Standard-1X): command (2)` (without a size the app's name is there) and a line for each dyno, group by group.
pub(crate) fn ps(groups: &[ProcessGroup], now: Timestamp, tz: &TimeZone) -> String {
    let shown: Vec<String> =
        groups.iter().filter(|g| !g.dynos.is_empty()).map(|group| one(group, now, tz)).collect();
    if shown.is_empty() { no_dynos(groups) } else { shown.join("\n") }
}

fn one(group: &ProcessGroup, now: Timestamp, tz: &TimeZone) -> String {
    let ProcessGroup { app, process_type, command, dynos, size, .. } = group;
    let of = size.as_ref().unwrap_or(app);
    let command = command.as_ref().map(|command| format!(": {command}")).unwrap_or_default();
    let mut text = format!("=== {process_type} ({of}){command} ({})\n\n", dynos.len());
    for DynoStatus { name, state, since, address, .. } in dynos {
        let place = || address.as_ref().map(|address| format!(" at {address}"));
        let told = since.map(|since| format!(" {}", ago(since, now, tz))).or_else(place).unwrap_or_default();
        text.push_str(&format!("{name}: {state}{told}\n"));
    }
    text
}

fn no_dynos(groups: &[ProcessGroup]) -> String {
    let mut apps: Vec<&str> = groups.iter().map(|group| group.app.as_str()).collect();
    apps.dedup();
    match apps.as_slice() {
        [] => "No dynos\n".to_owned(),
        apps => format!("No dynos on {}\n", apps.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(process_type: &str, dynos: &[&str]) -> ProcessGroup {
        let since = Some("2026-11-23T00:00:00Z".parse().unwrap());
        let dyno = |name: &&str| DynoStatus {
            name: (*name).into(),
            state: "up".into(),
            since,
            ..DynoStatus::default()
        };
        ProcessGroup {
            app: "shop".into(),
            process_type: process_type.into(),
            command: Some("./serve".into()),
            quantity: 2,
            size: None,
            dynos: dynos.iter().map(dyno).collect(),
        }
    }

    #[test]
    fn dynos_are_told_in_herokus_form() {
        let now = "2026-11-23T00:05:00Z".parse().unwrap();
        let told = ps(&[group("web", &["web.1", "web.2"]), group("worker", &[])], now, &TimeZone::UTC);
        assert_eq!(
            told,
            "=== web (shop): ./serve (2)\n\n\
             web.1: up 2026/11/23 00:00:00 +0000 (~ 5m ago)\n\
             web.2: up 2026/11/23 00:00:00 +0000 (~ 5m ago)\n"
        );
        let sized = ProcessGroup { size: Some("Standard-2X".into()), ..group("web", &["web.1"]) };
        assert!(ps(&[sized], now, &TimeZone::UTC).starts_with("=== web (Standard-2X): ./serve (1)\n"));
        assert_eq!(ps(&[group("web", &[])], now, &TimeZone::UTC), "No dynos on shop\n");
    }
}
