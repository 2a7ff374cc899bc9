//! Host → app → may it come in?

use std::sync::Arc;

use busbar_registry::Routing;

use super::{Request, Unserved};
use crate::{
    h1::field::Kind,
    route::{
        Fault,
        admit::{Admission, admit},
        affinity::Ticket,
        app::App,
        dyno::Dyno,
    },
    worker::Worker,
};

/// A request that was let in. Dropped, its place is given back.
pub(super) struct Selected {
    pub(super) app: Arc<App>,
    pub(super) routing: Arc<Routing>,
    pub(super) affinity: Affinity,
    _admission: Admission,
}

/// Finds the app and asks whether one more request may come in.
pub(super) fn app(worker: &Worker, request: &Request<'_>) -> Result<Selected, Unserved> {
    let challenges = worker.options.challenges.as_deref();
    let target = request.head.target.of_buffer(request.bytes);
    if challenges.is_some_and(|all| all.answer(target).is_some()) {
        return Err(Unserved::Challenge);
    }
    if request.misdirected {
        return Err(Fault::Misdirected.into());
    }
    let app = worker.table.borrow_mut().find(request.head.host.as_str()).ok_or(Fault::UnknownHost)?;
    let set = app.set();
    if set.routing.https_redirect && !request.arrival.tls.is_on() {
        return Err(Unserved::Redirect);
    }
    if set.maintenance {
        return Err(Fault::Maintenance.into());
    }
    let admission = admit(&app, &set).map_err(Fault::from)?;
    let affinity = if set.routing.session_affinity { Affinity::of(request) } else { Affinity::default() };
    Ok(Selected { routing: Arc::clone(&set.routing), app, affinity, _admission: admission })
}

/// What a request's cookie says, if its app has session affinity.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Affinity {
    on: bool,
    /// The dyno it names.
    pub(super) ticket: Option<Ticket>,
}

impl Affinity {
    fn of(request: &Request<'_>) -> Self {
        let cookies = request.fields.iter().filter(|field| {
            field.kind == Kind::Other && field.name.of_buffer(request.bytes).eq_ignore_ascii_case(b"cookie")
        });
        let mut values = cookies.map(|field| field.value.of_buffer(request.bytes));
        Self { on: true, ticket: values.find_map(Ticket::find) }
    }

    /// Whether the client is to be told that its requests go to `dyno`.
    pub(super) fn sets_cookie(&self, dyno: &Dyno) -> bool {
        self.on && self.ticket != Some(dyno.ticket)
    }
}
