//! What one thread owns. Nothing here is shared: no locks, no atomics, no waiting for another core.
//!
//! - [`Worker`]: everything a request needs besides its own connection.
//! - [`clock`]: real time as a [`Moment`], read once per wake-up.
//! - [`sweep`]: deadlines by a coarse sweep; a request makes no timer of its own.
//! - [`buffers`]: lent while bytes are in them, given back when a connection idles.

pub(crate) mod buffers;
pub(crate) mod clock;
pub(crate) mod sweep;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use crate::{
    observe::{counters::Counters, log_buffer::LogBuffer},
    route::{Moment, request_id::RequestIds, table::TableReader},
    server::{drain::DrainSignal, options::ServerOptions},
    upstream::pool::Pool,
};

/// Everything a request needs besides its own connection.
pub(crate) struct Worker {
    pub(crate) options: Arc<ServerOptions>,
    pub(crate) clock: clock::Clock,
    pub(crate) sweep: Rc<sweep::Sweep>,
    pub(crate) buffers: Rc<buffers::Buffers>,
    pub(crate) table: RefCell<TableReader>,
    pub(crate) random: RefCell<fastrand::Rng>,
    pub(crate) request_ids: RefCell<RequestIds>,
    pub(crate) pool: Pool,
    pub(crate) log: LogBuffer,
    pub(crate) counters: Arc<Counters>,
    pub(crate) drain: DrainSignal,
    /// The drain took too long: what is still in progress ends with H24.
    pub(crate) cut: Cell<bool>,
}

impl Worker {
    /// What time it is.
    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }
    /// Whether requests in progress must end now.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.get()
    }
}
