//! Host → app, read by every worker at every request, written by one publisher.
//!
//! - [`RouteTable`]: the handle all workers share; [`RouteTable::new`] gives it together with its one [`Publisher`].
//! - [`TableReader`]: one worker's view: [`find`](TableReader::find).
//! - [`Publisher`] (in [`publish`]): puts and removes apps and dynos.
//!
//! Two levels, one swap each. The host map says which app a host is; each app's
//! [`DynoSet`](super::app::DynoSet) says everything else about it. What is promised:
//!
//! - One publisher call changes the host map in at most one swap: a find sees all of an app's old domains (its
//!   catch-all flag included) or all of its new ones, never a mixture; a whole snapshot, too, is one swap.
//! - One publisher call changes an app's dynos, routing, maintenance and web formation in one swap.
//! - A call that changes both levels swaps the app's set first, then the host map; a removed app leaves the host map
//!   first. In between, a request sees the new settings under the old domains, and nothing worse.
//! - After a call has returned, every find and every set taken anew sees what it published.

pub(crate) mod build;
pub mod publish;

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use super::app::App;
use build::HostMap;
pub use publish::{Applied, Publisher};

/// The route table, for everybody: a clone is another handle to the same table.
#[derive(Clone)]
pub struct RouteTable {
    hosts: Arc<ArcSwap<HostMap>>,
}

impl RouteTable {
    /// An empty table and the one who may write it.
    pub fn new() -> (Self, Publisher) {
        let table = Self { hosts: Arc::new(ArcSwap::from_pointee(HostMap::default())) };
        (table.clone(), Publisher::new(table))
    }

    /// A worker's own view. Between two of its finds it keeps the host map of the former one alive.
    pub fn reader(&self) -> TableReader {
        TableReader { hosts: Cache::new(Arc::clone(&self.hosts)) }
    }

    /// The app that answers for `host`, as [`TableReader::find`]: for threads that find too seldom to keep a view.
    pub fn find(&self, host: &str) -> Option<Arc<App>> {
        self.hosts.load().find(host).cloned()
    }

    /// How many hosts, wildcards included, lead to an app.
    pub fn hosts(&self) -> usize {
        self.hosts.load().len()
    }
}

/// One worker's view of the table. Finding takes no lock and allocates nothing.
pub struct TableReader {
    hosts: Cache<Arc<ArcSwap<HostMap>>, Arc<HostMap>>,
}

impl TableReader {
    /// The app that answers for `host`, in canonical form ([`Host::as_str`](super::host::Host::as_str)): the one with
    /// exactly this domain; else the one with the wildcard in place of its first label, as `*.` stands for exactly
    /// one label; else the catch-all app.
    ///
    /// ```
    /// use router_core::route::table::RouteTable;
    /// let (table, mut publisher) = RouteTable::new();
    /// publisher.put_app(serde_json::from_str(r#"{"name":"tenants","domains":["*.shop.example"]}"#).unwrap());
    /// publisher.put_app(serde_json::from_str(r#"{"name":"www","domains":["www.shop.example"]}"#).unwrap());
    /// let mut reader = table.reader();
    /// let mut name = |host| reader.find(host).map(|app| app.name.to_string());
    /// assert_eq!(name("www.shop.example").as_deref(), Some("www"));
    /// assert_eq!(name("anna.shop.example").as_deref(), Some("tenants"));
    /// assert_eq!(name("a.anna.shop.example"), None);
    /// ```
    pub fn find(&mut self, host: &str) -> Option<Arc<App>> {
        self.hosts.load().find(host).cloned()
    }
}
