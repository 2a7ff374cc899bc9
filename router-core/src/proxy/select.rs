//! Host → app → may it come in?

use std::sync::Arc;

use busbar_registry::Routing;

use super::{Request, connect::refused};
use crate::{
    route::{
        Fault,
        admit::{Admission, admit},
        app::App,
    },
    worker::Worker,
};

/// A request that was let in. Dropped, its place is given back.
pub(super) struct Selected {
    pub(super) app: Arc<App>,
    pub(super) routing: Arc<Routing>,
    _admission: Admission,
}

/// Finds the app and asks whether one more request may come in.
pub(super) fn app(worker: &Worker, request: &Request<'_>) -> Result<Selected, Fault> {
    let app = worker.table.borrow_mut().find(request.head.host.as_str()).ok_or(Fault::UnknownHost)?;
    let set = app.set();
    if set.maintenance {
        return Err(Fault::Maintenance);
    }
    let admission = admit(&app, &set).map_err(refused)?;
    Ok(Selected { routing: Arc::clone(&set.routing), app, _admission: admission })
}
