//! What several proxies have in common in not being able to do it, or not being asked to.
//!
//! - [`like_all`]: what no proxy is measured with. [`queue`]: those without one. [`like_most`]: both.

use crate::{compare::Scenario, load::plan::Protocol};

pub(super) fn like_all(scenario: &Scenario) -> Option<&'static str> {
    let in_the_clear =
        scenario.load.tls.is_none() && matches!(scenario.load.protocol, Protocol::Http2 { .. });
    in_the_clear.then_some("HTTP/2 without TLS is not measured")
}

pub(super) fn queue(scenario: &Scenario) -> Option<&'static str> {
    scenario.dynos.queue_at.map(|_| "it has no queue in front of its servers")
}

pub(super) fn like_most(scenario: &Scenario) -> Option<&'static str> {
    like_all(scenario).or_else(|| queue(scenario))
}
