//! Every way the registry says no. Each says what happened, to which thing, and what to do.

use crate::{AppName, Domain, DynoName, NameError, Revision};

/// Why the registry refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request carries no token, or one that this registry did not give out for this app.
    #[error("the token does not allow this for app {app}; use the token that was made for {app}")]
    Unauthorised {
        /// The app that was named.
        app: AppName,
    },
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
        address: std::net::SocketAddr,
        /// Its holder's app.
        app: AppName,
        /// Its holder.
        dyno: DynoName,
    },
    /// The lease ran out, was ended, or a newer dyno of that name fenced it off.
    #[error("the lease is no longer valid; register again")]
    LeaseGone,
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
        what: &'static str,
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

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        Self::Malformed(error.to_string())
    }
}
