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
    /// How large, if that was said: `Standard-2X`.
    #[serde(default)]
    pub(crate) size: Option<String>,
}

impl fmt::Display for Scaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}{}", self.process_type, self.quantity, self.colon_size())
    }
}

impl Scaled {
    fn colon_size(&self) -> String {
        self.size.as_ref().map(|size| format!(":{size}")).unwrap_or_default()
    }
}

/// `Scaling dynos... done, now running web at 3:Standard-2X, worker at 1`
pub(crate) fn scaled(now: &[Scaled]) -> String {
    let list: Vec<String> = now.iter().map(Scaled::to_string).collect();
    format!("Scaling dynos... done, now running {}\n", list.join(", "))
}

/// `web=3:Standard-2X worker=1`
pub(crate) fn formation(now: &[Scaled]) -> String {
    let list: Vec<String> =
        now.iter().map(|s| format!("{}={}{}", s.process_type, s.quantity, s.colon_size())).collect();
    format!("{}\n", list.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_herokus() {
        let now = [("web", 3, Some("Standard-2X".to_owned())), ("worker", 1, None)];
        let now =
            now.map(|(name, quantity, size)| Scaled { process_type: name.parse().unwrap(), quantity, size });
        assert_eq!(scaled(&now), "Scaling dynos... done, now running web at 3:Standard-2X, worker at 1\n");
        assert_eq!(formation(&now), "web=3:Standard-2X worker=1\n");
    }
}
