//! Tables of any size, built the way a registry's snapshot builds them.

use std::sync::Arc;

use busbar_registry::{
    AppName, AppRecord, Domain, DynoRecord, DynoState, Generation, NameError, Routing, WebFormation,
};
use router_core::route::{
    app::App,
    table::{Publisher, RouteTable},
};

/// How big a table is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// How many apps there are.
    pub apps: u32,
    /// How many domains each has; the last one is a wildcard when there are several.
    pub hosts_per_app: u32,
    /// How many dynos each has.
    pub dynos_per_app: u32,
}

/// The host number `n` of app number `app`, whether or not there is such an app.
pub fn host(app: u32, n: u32) -> String {
    format!("www{n}.customer-{app}.example.com")
}

/// A host that only the wildcard of app number `app` answers for.
pub fn wild_host(app: u32) -> String {
    format!("anything.wild-{app}.example.com")
}

/// The record of app number `app`.
///
/// # Errors
/// None that happens: the names are well formed.
pub fn app_record(app: u32, size: Size, routing: Routing) -> Result<AppRecord, NameError> {
    let exact = size.hosts_per_app - u32::from(size.hosts_per_app > 1);
    let mut domains: Vec<Domain> = (0..exact).map(|n| host(app, n).parse()).collect::<Result<_, _>>()?;
    if size.hosts_per_app > 1 {
        domains.push(format!("*.wild-{app}.example.com").parse()?);
    }
    let web = WebFormation { quantity: size.dynos_per_app, ..WebFormation::default() };
    Ok(AppRecord { name: name(app)?, domains, catch_all: false, maintenance: false, routing, web })
}

/// The record of the dyno `web.index` of app number `app`.
///
/// # Errors
/// None that happens: the names are well formed.
pub fn dyno_record(app: u32, index: u32, generation: u64) -> Result<DynoRecord, NameError> {
    Ok(DynoRecord {
        app: name(app)?,
        dyno: format!("web.{index}").parse()?,
        address: (std::net::Ipv4Addr::from(0x0a00_0000 + app), 5000).into(),
        generation: Generation(generation),
        state: DynoState::Up,
    })
}

/// The name of app number `app`.
///
/// # Errors
/// None that happens: the name is well formed.
pub fn name(app: u32) -> Result<AppName, NameError> {
    format!("customer-{app}").parse()
}

/// A table of that size.
///
/// # Errors
/// None that happens: the names are well formed.
pub fn table(size: Size, routing: &Routing) -> Result<(RouteTable, Publisher), NameError> {
    let (table, mut publisher) = RouteTable::new();
    let apps = (0..size.apps).map(|app| app_record(app, size, routing.clone())).collect::<Result<_, _>>()?;
    let dynos = (0..size.apps)
        .flat_map(|app| (1..=size.dynos_per_app).map(move |index| dyno_record(app, index, u64::from(index))))
        .collect::<Result<_, _>>()?;
    publisher.replace_all(apps, dynos);
    Ok((table, publisher))
}

/// One app with `dynos` dynos.
///
/// # Errors
/// None that happens: the names are well formed.
pub fn app(dynos: u32, routing: &Routing) -> Result<Option<Arc<App>>, NameError> {
    let (table, _publisher) = table(Size { apps: 1, hosts_per_app: 1, dynos_per_app: dynos }, routing)?;
    Ok(table.reader().find(&host(0, 0)))
}
