//! Certificates that the router requests and renews itself (ACME, RFC 8555).
//!
//! - [`AcmeTask::start`]: the task that keeps them. [`AcmeTask::want`]: for which names.
//! - [`keeper`]: what is due when, by [`plan`]. [`order`]: one certificate. [`account`]: the account for it.
//! - [`answers`], [`hook`]: what the server looks at; `router-core` shows it.
//! - [`files`]: what outlives a restart. [`https`]: the way to the server. [`error`]: what can go wrong.

mod account;
mod answers;
mod error;
mod files;
mod hook;
mod https;
mod keeper;
mod order;
mod plan;

use std::{collections::BTreeSet, sync::Arc};

use router_core::{
    route::table::RouteTable,
    tls::{Certificate, Challenges},
};
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use self::{
    account::external_key,
    https::roots_of,
    keeper::{Order, Status},
};
use self::{files::Files, keeper::Keeper, order::Orders};
use crate::{
    config::acme::{Acme, Wanted},
    failure::Failure,
};

/// Hosts without a certificate that wait to be looked at.
const MOST_MISSED: usize = 64;

/// The task that keeps certificates. Dropped, it ends.
pub(crate) struct AcmeTask {
    orders: mpsc::Sender<Order>,
    certificates: watch::Receiver<Vec<Certificate>>,
    status: watch::Receiver<Vec<Status>>,
}

/// Asks for renewals, and for how it goes.
#[derive(Clone)]
pub(crate) struct Renewals {
    orders: mpsc::Sender<Order>,
    status: watch::Receiver<Vec<Status>>,
}

impl AcmeTask {
    /// Starts it. What is kept for the names is there when this returns; the server is asked later.
    ///
    /// # Errors
    /// [`Failure::Storage`].
    pub(crate) fn start(
        acme: Acme,
        wanted: Wanted,
        has: BTreeSet<String>,
        challenges: Arc<Challenges>,
        table: RouteTable,
    ) -> Result<Self, Failure> {
        let acme = Arc::new(acme);
        let files = Files::open(&acme.storage, &acme.directory);
        let files = files.map_err(|error| Failure::Storage(error.to_string()))?;
        let (orders, told) = mpsc::channel(8);
        let (certificates_to, certificates) = watch::channel(Vec::new());
        let (status_to, status) = watch::channel(Vec::new());
        let (missed_to, missed) = mpsc::channel(MOST_MISSED);
        if acme.on_demand {
            challenges.tell_of_misses(move |host| drop(missed_to.try_send(host.to_owned())));
        }
        let made = Orders::new(Arc::clone(&acme), files.clone(), challenges);
        let mut keeper = Keeper::new((acme, files, made), table, certificates_to, status_to);
        keeper.want(wanted, has);
        tokio::spawn(keeper.keep(told, missed));
        Ok(Self { orders, certificates, status })
    }

    /// For which names certificates are wanted from now on; `has` have others.
    pub(crate) async fn want(&self, wanted: Wanted, has: BTreeSet<String>) {
        let _it_has_ended = self.orders.send(Order::Want(wanted, has)).await;
    }

    /// All it has now.
    pub(crate) fn certificates(&mut self) -> Vec<Certificate> {
        self.certificates.borrow_and_update().clone()
    }

    /// Waits until it has others.
    pub(crate) async fn others(&mut self) -> Vec<Certificate> {
        if self.certificates.changed().await.is_err() {
            std::future::pending::<()>().await; // it has ended; nothing changes any more
        }
        self.certificates()
    }

    /// For the admin API.
    pub(crate) fn renewals(&self) -> Renewals {
        Renewals { orders: self.orders.clone(), status: self.status.clone() }
    }
}

impl Renewals {
    /// Has the certificate for `name` renewed now.
    ///
    /// # Errors
    /// When there is no such name.
    pub(crate) async fn renew(&self, name: String) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let gone = || "this busbar is stopping; nothing was changed".to_owned();
        self.orders.send(Order::Renew(name, answer)).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    /// How it goes with each name.
    pub(crate) fn status(&self) -> Vec<Status> {
        self.status.borrow().clone()
    }
}
