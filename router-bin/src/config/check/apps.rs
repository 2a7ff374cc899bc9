//! What each `[[app]]` means. Names, domains and the catch-all belong to one app each.

mod routing;

use std::{collections::HashMap, ops::Range};

use busbar_registry::{Address, AppName, AppRecord, Domain, WebFormation, address::BadAddress};

use super::{
    super::{DeclaredApp, ListenAt, complaint::Complaints, raw::RawApp, table::At},
    acme::WantingApp,
    parsed,
};

/// Most domains of an app, and most dynos: what the registry keeps.
const MOST: usize = 1000;

/// What `raw` means, for a router that listens on `listen`; and which of them want certificates.
pub(super) fn check(
    raw: Vec<RawApp>,
    listen: &[ListenAt],
    complaints: &mut Complaints<'_>,
) -> (Vec<DeclaredApp>, Vec<WantingApp>) {
    let (mut owners, mut wanting) = (Owners::default(), Vec::new());
    let mut one = |mut raw: RawApp| {
        let wants = raw.acme.take().filter(|written| written.value);
        let app = check_one(raw, listen, &mut owners, complaints)?;
        let wants = wants.map(|wants| (app.record.name.to_string(), app.record.domains.clone(), wants.at));
        wanting.extend(wants);
        Some(app)
    };
    let apps = raw.into_iter().filter_map(&mut one).collect();
    (apps, wanting)
}

/// Who has what so far, and since where.
#[derive(Default)]
struct Owners {
    names: HashMap<AppName, Range<usize>>,
    domains: HashMap<Domain, (String, Range<usize>)>,
    dynos: HashMap<Address, (String, Range<usize>)>,
    catch_all: Option<(String, Range<usize>)>,
}

fn check_one(
    raw: RawApp,
    listen: &[ListenAt],
    owners: &mut Owners,
    complaints: &mut Complaints<'_>,
) -> Option<DeclaredApp> {
    let name = app_name(raw.name, &raw.place, owners, complaints);
    let told = name.as_ref().map_or_else(|| "another app".to_owned(), |name| format!("app {name}"));
    let none_is_written = raw.domains.as_ref().is_none_or(|list| list.value.is_empty());
    let domains = domains(raw.domains, &told, owners, complaints);
    let catch_all = raw.catch_all.is_some_and(|written| catch_all(&written, &told, owners, complaints));
    if none_is_written && !catch_all {
        complaints.add(
            &raw.place,
            "this app has no domain, so no request reaches it; write `domains` or `catch_all = true`",
        );
    }
    let dynos = dynos(raw.dynos, &told, listen, owners, complaints);
    let routing = routing::check(raw.routing, complaints);
    let quantity = u32::try_from(dynos.len()).unwrap_or(u32::MAX);
    let record = AppRecord {
        name: name?,
        domains,
        catch_all,
        maintenance: raw.maintenance.is_some_and(|written| written.value),
        routing,
        web: WebFormation { quantity, ..WebFormation::default() },
    };
    Some(DeclaredApp { record, dynos })
}

fn app_name(
    written: Option<At<String>>,
    place: &Range<usize>,
    owners: &mut Owners,
    complaints: &mut Complaints<'_>,
) -> Option<AppName> {
    let Some(written) = written else {
        complaints.add(place, "this app has no `name`; write name = \"…\"");
        return None;
    };
    let name: AppName = parsed("name", &written, complaints)?;
    if let Some(earlier) = owners.names.insert(name.clone(), written.at.clone()) {
        let line = complaints.line(&earlier);
        complaints.add(
            &written.at,
            format!("there is already an app {name} on line {line}; give one of them another name"),
        );
    }
    Some(name)
}

fn domains(
    written: Option<At<Vec<At<String>>>>,
    app: &str,
    owners: &mut Owners,
    complaints: &mut Complaints<'_>,
) -> Vec<Domain> {
    let mut domains = Vec::new();
    for text in written.map(|list| list.value).unwrap_or_default() {
        match text.value.parse::<Domain>() {
            Err(error) => complaints.add(&text.at, error.to_string()),
            Ok(domain) => match owners.domains.get(&domain) {
                Some((owner, at)) => {
                    let line = complaints.line(at);
                    complaints.add(
                        &text.at,
                        format!("domain {domain} belongs to {owner} since line {line}; remove one of them"),
                    );
                }
                None => {
                    let no_more = (domains.len() == MOST)
                        .then(|| format!("an app has at most {MOST} domains; use a wildcard"));
                    no_more.into_iter().for_each(|why| complaints.add(&text.at, why));
                    owners.domains.insert(domain.clone(), (app.to_owned(), text.at));
                    domains.push(domain);
                }
            },
        }
    }
    domains
}

fn catch_all(written: &At<bool>, app: &str, owners: &mut Owners, complaints: &mut Complaints<'_>) -> bool {
    if !written.value {
        return false;
    }
    if let Some((owner, at)) = &owners.catch_all {
        let line = complaints.line(at);
        complaints.add(
            &written.at,
            format!("`catch_all` belongs to {owner} since line {line}; only one app can have it"),
        );
    } else {
        owners.catch_all = Some((app.to_owned(), written.at.clone()));
    }
    true
}

fn dynos(
    written: Option<At<Vec<At<String>>>>,
    app: &str,
    listen: &[ListenAt],
    owners: &mut Owners,
    complaints: &mut Complaints<'_>,
) -> Vec<Address> {
    let mut dynos = Vec::new();
    for text in written.map(|list| list.value).unwrap_or_default() {
        match text
            .value
            .parse()
            .map_err(|error: BadAddress| error.to_string())
            .and_then(|it| reachable(it, listen))
        {
            Err(why) => complaints.add(&text.at, why),
            Ok(address) => match owners.dynos.get(&address) {
                Some((owner, at)) => {
                    let line = complaints.line(at);
                    complaints.add(
                        &text.at,
                        format!("dyno {address} is one of {owner} since line {line}; remove one of them"),
                    );
                }
                None => {
                    let no_more = (dynos.len() == MOST)
                        .then(|| format!("an app has at most {MOST} dynos; split the app"));
                    no_more.into_iter().for_each(|why| complaints.add(&text.at, why));
                    owners.dynos.insert(address.clone(), (app.to_owned(), text.at));
                    dynos.push(address);
                }
            },
        }
    }
    dynos
}

/// The address, if a dyno can be there.
fn reachable(address: Address, listen: &[ListenAt]) -> Result<Address, String> {
    match address {
        Address::Tcp(address) if address.port() == 0 || address.ip().is_unspecified() => {
            Err(format!("no dyno can be reached at {address}; write its own address and port"))
        }
        _ if listen.iter().any(|here| here.address == address) => {
            Err(format!("{address} is where this router listens; requests would go round in circles"))
        }
        address => Ok(address),
    }
}
