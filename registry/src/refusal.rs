//! Every way the registry says no. Each says what happened, to which thing, and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{AppName, Domain, DynoName, Generation, NameError, Revision};

/// Why the registry refused. As JSON: `{"id":"unknown_app","details":{"app":"shop"}}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "id", content = "details", rename_all = "snake_case")]
pub enum Refusal {
    /// The request carries no token, or one that this registry did not give out for this app.
    #[error("the token does not allow this for app {app}; use the token that was made for {app}")]
    Unauthorised {
        /// The app that was named.
        app: AppName,
    },
    /// Only the operator may do this, and the request carries no operator token.
    #[error("this needs the operator's token")]
    OperatorOnly,
    /// No such app.
    #[error("there is no app {app}; create it before its dynos register")]
    UnknownApp {
        /// The app that was named.
        app: AppName,
    },
    /// Another app has that domain.
    #[error("domain {domain} belongs to app {owner}; remove it there first")]
    DomainTaken {
        /// The domain asked for.
        domain: Domain,
        /// Who has it.
        owner: AppName,
    },
    /// Another app answers for unclaimed hosts.
    #[error("app {owner} already answers for hosts that no app claims; only one app can")]
    CatchAllTaken {
        /// Who does.
        owner: AppName,
    },
    /// Another live dyno holds that address.
    #[error("address {address} is registered by {app} {dyno}; a dyno cannot take another one's address")]
    AddressTaken {
        /// The address asked for.
        address: crate::Address,
        /// Its holder's app.
        app: AppName,
        /// Its holder.
        dyno: DynoName,
    },
    /// The lease ran out, was ended, or a newer dyno of that name fenced it off.
    #[error("the lease is no longer valid; register again")]
    LeaseGone,
    /// The lease was lost, and meanwhile a newer dyno took its name or its address.
    #[error("{app} {dyno} was replaced by a newer one (generation {by}); stop this one")]
    Replaced {
        /// The app of both.
        app: AppName,
        /// The dyno that asked.
        dyno: DynoName,
        /// The fencing number of the newer one.
        by: Generation,
    },
    /// The record changed since it was read.
    #[error("app {app} was changed meanwhile (now at revision {current}); read it again and repeat")]
    Conflict {
        /// The app that was to be changed.
        app: AppName,
        /// Its revision now.
        current: Revision,
    },
    /// The history asked for is no longer kept.
    #[error("changes since revision {from} are no longer kept (oldest is {oldest}); take a new snapshot")]
    Compacted {
        /// What was asked for.
        from: Revision,
        /// What is still kept.
        oldest: Revision,
    },
    /// A bound of the registry is reached.
    #[error("the registry is full: {what} (limit {limit})")]
    Full {
        /// Which bound.
        what: Bound,
        /// Its value.
        limit: usize,
    },
    /// A name or message is malformed.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// The registry cannot be reached, or does not answer as it should.
    #[error("registry {at} cannot be reached: {why}; it will be tried again")]
    Unreachable {
        /// Its address.
        at: String,
        /// What happened.
        why: String,
    },
}

/// The bounds of a registry that can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Apps in the registry.
    Apps,
    /// Domains of one app.
    DomainsPerApp,
    /// Registered dynos of one app.
    DynosPerApp,
    /// Connections that keep a lease.
    Holds,
    /// Connections to the registry.
    Connections,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apps => "apps",
            Self::DomainsPerApp => "domains of one app",
            Self::DynosPerApp => "dynos of one app",
            Self::Holds => "connections that keep a lease",
            Self::Connections => "connections",
        })
    }
}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        Self::Malformed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_refusal_survives_json() {
        let app: AppName = "shop".parse().unwrap();
        let dyno: DynoName = "web.1".parse().unwrap();
        for refusal in [
            Refusal::Unauthorised { app: app.clone() },
            Refusal::OperatorOnly,
            Refusal::UnknownApp { app: app.clone() },
            Refusal::DomainTaken { domain: "*.a.example".parse().unwrap(), owner: app.clone() },
            Refusal::CatchAllTaken { owner: app.clone() },
            Refusal::AddressTaken {
                address: "[::1]:80".parse().unwrap(),
                app: app.clone(),
                dyno: dyno.clone(),
            },
            Refusal::LeaseGone,
            Refusal::Replaced { app: app.clone(), dyno, by: Generation(9) },
            Refusal::Conflict { app, current: Revision(3) },
            Refusal::Compacted { from: Revision(1), oldest: Revision(2) },
            Refusal::Full { what: Bound::DomainsPerApp, limit: 1000 },
            Refusal::Malformed("a \"quoted\" reason".into()),
            Refusal::Unreachable { at: "/run/x".into(), why: "gone".into() },
        ] {
            let json = serde_json::to_string(&refusal).unwrap();
            assert_eq!(serde_json::from_str::<Refusal>(&json).unwrap(), refusal, "{json}");
        }
    }
}
