//! What `[acme]` means, and `acme = true` in an app.

use std::{collections::BTreeSet, ops::Range, path::Path, time::Duration};

use busbar_registry::Domain;
use http::Uri;

use super::{
    super::{
        ListenAt,
        acme::{Acme, Challenge, ExternalAccount, Hook, KeyType, Wanted},
        complaint::Complaints,
        raw::RawAcme,
        table::At,
    },
    all, bounded, parsed, positive,
};

/// Let's Encrypt, whose certificates browsers trust.
const PRODUCTION: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Let's Encrypt for trying things: looser limits, and nobody trusts its certificates.
const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
const STORAGE: &str = "/var/lib/busbar/acme";
const HOOK_TIMEOUT: Duration = Duration::from_secs(120);
const ON_DEMAND_PER_HOUR: u32 = 20;

/// An app that wants certificates: its name, its domains, and where it says so.
pub(super) type WantingApp = (String, Vec<Domain>, Range<usize>);

/// What `[acme]` says, and which names have to do with it.
pub(super) fn check(
    raw: Option<RawAcme>,
    apps: Vec<WantingApp>,
    listen: &[ListenAt],
    complaints: &mut Complaints<'_>,
) -> (Option<Acme>, Wanted) {
    let Some(mut raw) = raw else {
        for (app, _, place) in apps {
            let said = format!(
                "app {app} wants certificates, but there is no [acme]; write one with `agree_to_terms = true`"
            );
            complaints.add(&place, said);
        }
        return (None, Wanted::default());
    };
    let place = raw.place.clone();
    let listed = raw.domains.take();
    let acme = settings(raw, complaints);
    let mut wanted = Wanted::default();
    for written in listed.iter().flat_map(|list| &list.value) {
        if let Ok(domain) = written.value.parse::<Domain>() {
            want(&domain, &acme, false, &written.at, &mut wanted.names, complaints);
        }
    }
    let _the_same = all(listed, "domain", str::parse::<Domain>, complaints);
    for (app, domains, place) in apps {
        for domain in &domains {
            want(domain, &acme, acme.on_demand, &place, &mut wanted.names, complaints);
        }
        wanted.hosts.extend(domains.iter().map(ToString::to_string));
        wanted.apps.insert(app);
    }
    if wanted == Wanted::default() {
        complaints.add(
            &place,
            "[acme] has no name to request certificates for; write acme = true in an [[app]], or `domains` here",
        );
    }
    reachable(&acme, listen, &place, complaints);
    (Some(acme), wanted)
}

/// A wildcard can only be validated through the DNS; on demand, its hosts get certificates one by one instead.
fn want(
    domain: &Domain,
    acme: &Acme,
    on_demand: bool,
    place: &Range<usize>,
    names: &mut BTreeSet<String>,
    complaints: &mut Complaints<'_>,
) {
    let name = domain.to_string();
    if !name.starts_with("*.") || acme.challenges.contains(&Challenge::Dns) {
        names.insert(name);
    } else if !on_demand {
        let said = format!(
            "a certificate for {name} needs the challenge \"dns-01\"; add it to `challenges` in [acme] with a `hook`, or write \
             on_demand = true there"
        );
        complaints.add(place, said);
    }
}

fn settings(raw: RawAcme, complaints: &mut Complaints<'_>) -> Acme {
    if !raw.agree_to_terms.as_ref().is_some_and(|written| written.value) {
        let at = raw.agree_to_terms.as_ref().map_or(&raw.place, |written| &written.at);
        complaints.add(
            at,
            "[acme] needs agree_to_terms = true: read the terms of the certificate authority (Let's Encrypt: \
             https://letsencrypt.org/repository/), and say that you agree",
        );
    }
    let external_account = external_account(&raw, complaints);
    let challenges = challenges(raw.challenges, &raw.place, complaints);
    let folder = complaints.folder();
    let path = |written: At<String>| folder.join(written.value);
    let hook = hook(raw.hook, raw.hook_timeout.as_ref(), &challenges, &raw.place, complaints);
    let per_hour = raw
        .on_demand_per_hour
        .and_then(|n| bounded("on_demand_per_hour", &n, 1..=100_000, "write 1 to 100000", complaints));
    let ca_file = raw.ca_file.map(|written| {
        let place = written.at.clone();
        let file = path(written);
        if let Err(why) = crate::acme::roots_of(&file) {
            complaints.add(&place, why);
        }
        file
    });
    Acme {
        directory: directory(raw.directory, raw.staging, complaints),
        contact: contact(raw.contact, complaints),
        challenges,
        hook,
        key_type: raw
            .key_type
            .and_then(|key| parsed::<KeyType>("key_type", &key, complaints))
            .unwrap_or_default(),
        storage: raw.storage.map_or_else(|| STORAGE.into(), path),
        external_account,
        ca_file,
        profile: raw.profile.map(|written| written.value),
        on_demand: raw.on_demand.is_some_and(|written| written.value),
        on_demand_per_hour: per_hour.unwrap_or(ON_DEMAND_PER_HOUR),
    }
}

fn directory(
    written: Option<At<String>>,
    staging: Option<At<bool>>,
    complaints: &mut Complaints<'_>,
) -> String {
    let staging = staging.filter(|staging| staging.value);
    let Some(written) = written else {
        return if staging.is_some() { STAGING } else { PRODUCTION }.to_owned();
    };
    if let Some(staging) = staging {
        complaints.add(
            &staging.at,
            "`staging` is Let's Encrypt's, and `directory` names another server; remove one",
        );
    }
    let good = written.value.parse::<Uri>().ok().filter(|uri| uri.scheme_str() == Some("https"));
    if good.and_then(|uri| uri.host().map(str::len)).is_none() {
        let advice = "write the address of the server's directory, which begins with https://";
        complaints.add(&written.at, format!("`directory` is {:?}; {advice}", written.value));
    }
    written.value
}

/// A bare address is a `mailto:`.
fn contact(written: Option<At<Vec<At<String>>>>, complaints: &mut Complaints<'_>) -> Vec<String> {
    let list = written.map(|list| list.value).unwrap_or_default();
    list.into_iter()
        .map(|one| {
            let address = one.value.strip_prefix("mailto:").unwrap_or(&one.value);
            let good =
                address.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'));
            if !good || address.contains([' ', ',', '?', '<']) {
                let said = format!(
                    "contact {:?} is no e-mail address; write one, like \"ops@example.com\"",
                    one.value
                );
                complaints.add(&one.at, said);
            }
            format!("mailto:{address}")
        })
        .collect()
}

fn challenges(
    written: Option<At<Vec<At<String>>>>,
    place: &Range<usize>,
    complaints: &mut Complaints<'_>,
) -> Vec<Challenge> {
    let Some(written) = written else { return vec![Challenge::Http, Challenge::TlsAlpn] };
    let read =
        |text: &str| text.parse::<Challenge>().map_err(|advice| format!("challenge {text:?}: {advice}"));
    let is_empty = written.value.is_empty();
    let found = all(Some(written), "challenge", read, complaints).unwrap_or_default();
    if is_empty {
        complaints.add(place, "`challenges` has none; write some, like [\"http-01\", \"tls-alpn-01\"]");
    }
    found
}

fn hook(
    written: Option<At<String>>,
    timeout: Option<&At<String>>,
    challenges: &[Challenge],
    place: &Range<usize>,
    complaints: &mut Complaints<'_>,
) -> Option<Hook> {
    let timeout = timeout.and_then(|span| positive("hook_timeout", span, complaints)).unwrap_or(HOOK_TIMEOUT);
    let wants = challenges.contains(&Challenge::Dns);
    let Some(written) = written else {
        if wants {
            complaints.add(
                place,
                "the challenge \"dns-01\" needs a `hook`: a program that changes the DNS (docs/acme.md)",
            );
        }
        return None;
    };
    if !wants {
        complaints.add(
            &written.at,
            "`hook` is for the challenge \"dns-01\"; add that to `challenges`, or remove it",
        );
    }
    let program = complaints.folder().join(&written.value);
    if let Err(why) = runs(&program) {
        complaints.add(&written.at, format!("the hook {} {why}", program.display()));
    }
    Some(Hook { program, timeout })
}

/// Whether the file is a program.
fn runs(program: &Path) -> Result<(), &'static str> {
    use std::os::unix::fs::PermissionsExt as _;
    match std::fs::metadata(program) {
        Ok(data) if data.is_file() && data.permissions().mode() & 0o111 != 0 => Ok(()),
        Ok(data) if data.is_file() => Err("may not be run; chmod +x it"),
        Ok(_) => Err("is no file; name a program"),
        Err(_) => Err("cannot be found; check its path"),
    }
}

fn external_account(raw: &RawAcme, complaints: &mut Complaints<'_>) -> Option<ExternalAccount> {
    match (&raw.eab_key_id, &raw.eab_key_file) {
        (None, None) => None,
        (Some(id), Some(file)) => {
            let key_file = complaints.folder().join(&file.value);
            if let Err(failure) = crate::acme::external_key(&key_file) {
                complaints.add(&file.at, failure);
            }
            Some(ExternalAccount { id: id.value.clone(), key_file })
        }
        (Some(one), None) | (None, Some(one)) => {
            complaints.add(&one.at, "`eab_key_id` and `eab_key_file` go together; write both");
            None
        }
    }
}

/// A challenge is answered by a listener.
fn reachable(acme: &Acme, listen: &[ListenAt], place: &Range<usize>, complaints: &mut Complaints<'_>) {
    let plain = listen.iter().any(|here| here.tls.is_none());
    let encrypted = listen.iter().any(|here| here.tls.is_some());
    let can = |challenge: &Challenge| match challenge {
        Challenge::Http => plain,
        Challenge::TlsAlpn => encrypted,
        Challenge::Dns => true,
    };
    if !encrypted {
        complaints.add(place, "[acme] requests certificates, but no listener speaks TLS; write tls = \"intermediate\" in a [[listener]]");
    } else if !acme.challenges.iter().any(can) {
        complaints.add(
            place,
            "the challenge \"http-01\" needs a listener without TLS, which others reach at port 80",
        );
    }
}
