//! For tests: an app with dynos, published the way everybody publishes.

use std::sync::Arc;

use busbar_registry::{AppName, AppRecord, DynoRecord, DynoState, Generation, Routing};

use super::{
    app::{App, DynoSet},
    dyno::Dyno,
    load::Slot,
    table::{Publisher, RouteTable},
};

pub(crate) fn app_record(name: &str, domains: &[&str]) -> AppRecord {
    AppRecord {
        name: name.parse().unwrap(),
        domains: domains.iter().map(|domain| domain.parse().unwrap()).collect(),
        catch_all: false,
        maintenance: false,
        routing: Routing::default(),
        web: Default::default(),
    }
}

/// `web.n` of `app`, at port `generation`.
pub(crate) fn dyno_record(app: &str, n: u32, generation: u64, state: DynoState) -> DynoRecord {
    DynoRecord {
        app: app.parse().unwrap(),
        dyno: format!("web.{n}").parse().unwrap(),
        address: ([127, 0, 0, 1], u16::try_from(generation).unwrap()).into(),
        generation: Generation(generation),
        state,
    }
}

/// The app `shop` at `shop.example` with `n` dynos up.
pub(crate) fn published(n: usize, routing: impl FnOnce(&mut Routing)) -> (RouteTable, Publisher) {
    let (table, mut publisher) = RouteTable::new();
    let mut record = app_record("shop", &["shop.example"]);
    routing(&mut record.routing);
    publisher.put_app(record);
    for n in 1..=u32::try_from(n).unwrap() {
        publisher.put_dyno(dyno_record("shop", n, u64::from(n), DynoState::Up));
    }
    (table, publisher)
}

/// The same, when only its set is of interest.
pub(crate) fn app(n: usize, routing: impl FnOnce(&mut Routing)) -> (Arc<DynoSet>, Arc<App>) {
    let (_table, publisher) = published(n, routing);
    let app = Arc::clone(publisher.app(&"shop".parse::<AppName>().unwrap()).unwrap());
    (app.set(), app)
}

/// `n` requests at the dyno.
pub(crate) fn hold(dyno: &Arc<Dyno>, n: u32) -> Vec<Slot> {
    (0..n).filter_map(|_| Slot::take(dyno, None)).collect()
}

/// `n` requests begin at the dyno and do not end.
pub(crate) fn begin(dyno: &Arc<Dyno>, n: u32) {
    std::mem::forget(hold(dyno, n));
}
