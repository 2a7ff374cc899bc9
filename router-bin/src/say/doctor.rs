//! `busbar doctor`: what was looked at, whether it is there, and what to do.

use std::fmt::Write as _;

use dyno_runtime::sandbox::probe::Probe;

/// One line for each probe, and one with advice for each that failed.
pub(crate) fn doctor(probes: &[Probe]) -> String {
    let width = probes.iter().map(|probe| probe.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Probe { name, there, found, advice } in probes {
        let there = if *there { "yes" } else { "no" };
        let _written = writeln!(text, "{name:<width$}  {there:<3}  {found}");
        if !advice.is_empty() {
            let _written = writeln!(text, "{:<width$}       → {advice}", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_advice() {
        let probe = |name, there, found: &str, advice| Probe { name, there, found: found.into(), advice };
        let probes = [
            probe("isolation full", false, "only root", "run as root"),
            probe("landlock", true, "version 7", ""),
        ];
        assert_eq!(
            doctor(&probes),
            "isolation full  no   only root\n                     → run as root\nlandlock        yes  version 7\n"
        );
    }
}
