//! `busbar scale`: what is told about it. What is written there is [`dyno_runtime::ScaleChange`].

use std::fmt;

use busbar_registry::ProcessType;
use serde::{Deserialize, Serialize};

/// How many dynos of a process type there should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scaled {
    /// Which.
    pub(crate) process_type: ProcessType,
    /// How many.
    pub(crate) quantity: u32,
}

impl fmt::Display for Scaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.process_type, self.quantity)
    }
}

/// `Scaling dynos... done, now running web at 3, worker at 1`
pub(crate) fn scaled(now: &[Scaled]) -> String {
    let list: Vec<String> = now.iter().map(Scaled::to_string).collect();
    format!("Scaling dynos... done, now running {}\n", list.join(", "))
}

/// `web=3 worker=1`
pub(crate) fn formation(now: &[Scaled]) -> String {
    let list: Vec<String> = now.iter().map(|s| format!("{}={}", s.process_type, s.quantity)).collect();
    format!("{}\n", list.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_herokus() {
        let now = [("web", 3), ("worker", 1)];
        let now = now.map(|(name, quantity)| Scaled { process_type: name.parse().unwrap(), quantity });
        assert_eq!(scaled(&now), "Scaling dynos... done, now running web at 3, worker at 1\n");
        assert_eq!(formation(&now), "web=3 worker=1\n");
    }
}
