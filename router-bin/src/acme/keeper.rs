//! Keeps a good certificate for each name that wants one.
//!
//! - [`Keeper`]: one task. It knows of each name what is kept, when it is due, and how the last attempt went; it starts
//!   attempts, a few at a time, and learns from them. What it has is what it had until something better is on the disk.
//! - [`Order`]: what it is told. [`Status`]: what it tells.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use router_core::{
    route::table::RouteTable,
    tls::{Certificate, CertificateError},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{Id, JoinError, JoinSet},
    time::{MissedTickBehavior, interval},
};

use super::{
    error::OrderError,
    files::{Files, Trouble},
    https,
    order::{self, Orders, Replaced},
    plan::{self, Allowance, Failed},
};
use crate::{
    config::acme::{Acme, Wanted},
    out,
};

/// So many attempts at a time.
const AT_ONCE: usize = 4;
/// How often it looks whether something is due, or another router has written something.
const LOOK: Duration = Duration::from_secs(2);
/// So many names at most get certificates because somebody asked for them.
const MOST_ON_DEMAND: usize = 1000;
/// A host that somebody asked for is forgotten after so many failures, so that others find a place.
const MOST_FAILURES: u32 = 5;
/// A server that wants to be left alone about one name is asked nothing at all for so long at most: the reason may be that name's
/// alone, and strangers may have caused it.
const ALL_LEFT_ALONE: Duration = Duration::from_secs(300);
/// How often it is said that too many were asked for.
const SAID: Duration = Duration::from_secs(60);
/// The clock has been put back when it is so far behind what it was.
const PUT_BACK: Duration = Duration::from_secs(60);
/// A new certificate is not renewed before it is so old, whatever it and the server say: a wrong clock must not lead to
/// one order after the other.
const LEAST_AGE: Duration = Duration::from_secs(600);
/// How long another router is given to do it.
const ANOTHER_DOES_IT: Duration = Duration::from_secs(30);
/// How often the server is asked when it wants a certificate renewed, at least and at most.
const ASK: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(86_400));

/// What the keeper is told.
pub(crate) enum Order {
    /// For which names certificates are wanted from now on, but for those in `has`, which have one.
    Want(Wanted, BTreeSet<String>),
    /// This one, now.
    Renew(String, oneshot::Sender<Result<(), String>>),
}

/// What there is to say about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    /// The name.
    pub(crate) name: String,
    /// When the next attempt is made.
    pub(crate) due: SystemTime,
    /// An attempt is under way.
    pub(crate) is_busy: bool,
    /// It has a certificate.
    pub(crate) has_one: bool,
    /// So many attempts have failed in a row.
    pub(crate) failures: u32,
    /// Why the last one failed.
    pub(crate) error: Option<String>,
}

struct Entry {
    kept: Option<Held>,
    trouble: Trouble,
    due: SystemTime,
    /// The attempt under way.
    task: Option<Id>,
    is_forced: bool,
    chance: f64,
}

struct Held {
    certificate: Certificate,
    stamp: SystemTime,
    replaced: Option<Replaced>,
    window: Option<(SystemTime, SystemTime)>,
    ask_again: SystemTime,
}

/// What an attempt came to.
enum Came {
    /// There is another certificate on the disk.
    Another,
    /// Somebody else makes one.
    Elsewhere,
    /// There is none.
    Nothing(OrderError),
    /// The server has said when it wants one renewed, or nothing.
    Window(Option<((SystemTime, SystemTime), Duration)>),
}

/// Keeps a good certificate for each name.
pub(super) struct Keeper {
    acme: Arc<Acme>,
    files: Files,
    orders: Arc<Orders>,
    table: RouteTable,
    wanted: Wanted,
    has: BTreeSet<String>,
    names: BTreeMap<String, Entry>,
    allowance: Allowance,
    /// When it was last said that too many were asked for.
    said: Option<Instant>,
    /// The server wants to be left alone until then.
    left_alone_until: SystemTime,
    /// What the time was when it was last looked at.
    clock: SystemTime,
    running: JoinSet<(String, Came, Option<SystemTime>)>,
    certificates: watch::Sender<Vec<Certificate>>,
    status: watch::Sender<Vec<Status>>,
}

impl Keeper {
    pub(super) fn new(
        (acme, files, orders): (Arc<Acme>, Files, Orders),
        table: RouteTable,
        certificates: watch::Sender<Vec<Certificate>>,
        status: watch::Sender<Vec<Status>>,
    ) -> Self {
        let now = SystemTime::now();
        Self {
            allowance: Allowance::new(acme.on_demand_per_hour, now),
            acme,
            files,
            orders: Arc::new(orders),
            table,
            wanted: Wanted::default(),
            has: BTreeSet::new(),
            names: BTreeMap::new(),
            said: None,
            left_alone_until: now,
            clock: now,
            running: JoinSet::new(),
            certificates,
            status,
        }
    }

    /// Works until nobody tells it anything any more.
    pub(super) async fn keep(mut self, mut told: mpsc::Receiver<Order>, mut missed: mpsc::Receiver<String>) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                order = told.recv() => match order {
                    Some(Order::Want(wanted, has)) => self.want(wanted, has),
                    Some(Order::Renew(name, answer)) => {
                        let _whoever_asked_is_gone = answer.send(self.renew(&name));
                    }
                    None => return,
                },
                Some(name) = missed.recv() => if !self.on_demand(&name) {
                    continue;
                },
                Some(done) = self.running.join_next() => match done {
                    Ok((name, came, left_alone)) => self.learn(&name, came, left_alone),
                    Err(broken) => self.is_broken(&broken),
                },
                _ = look.tick() => self.look(),
            }
            self.begin_what_is_due();
            self.tell();
        }
    }

    /// From now on these names want certificates; `has` have others.
    pub(super) fn want(&mut self, wanted: Wanted, has: BTreeSet<String>) {
        (self.wanted, self.has) = (wanted, has);
        let mut names: BTreeSet<String> = self.wanted.names.clone();
        if self.acme.on_demand {
            names.extend(self.files.names());
        }
        names.retain(|name| self.is_wanted(name));
        self.names.retain(|name, _| names.contains(name));
        for name in names {
            if !self.names.contains_key(&name) {
                let entry = self.found(&name);
                self.names.insert(name, entry);
            }
        }
        self.publish();
        self.tell();
    }

    fn is_wanted(&self, name: &str) -> bool {
        !covers(&self.has, name) && (self.wanted.names.contains(name) || self.is_ours(name))
    }

    /// Whether the host is one that an app with `acme = true` claims, and no other app.
    fn is_ours(&self, host: &str) -> bool {
        let app = || self.table.find(host).map(|app| app.name.to_string());
        self.acme.on_demand
            && covers(&self.wanted.hosts, host)
            && app().is_some_and(|app| self.wanted.apps.contains(&app))
    }

    /// Somebody has asked for a host that has no certificate. Whether it is to get one.
    fn on_demand(&mut self, host: &str) -> bool {
        if self.names.contains_key(host) || !self.is_wanted(host) {
            return false;
        }
        let others = self.names.keys().filter(|name| !self.wanted.names.contains(*name)).count();
        if others >= MOST_ON_DEMAND || !self.allowance.take(SystemTime::now()) {
            if self.said.is_none_or(|said| said.elapsed() >= SAID) {
                self.said = Some(Instant::now());
                tracing::warn!(
                    host,
                    "no certificate on demand: too many were asked for (on_demand_per_hour)"
                );
            }
            return false;
        }
        out::note(format_args!("somebody asks for {host}: a certificate is requested"));
        let entry = self.found(host);
        self.names.insert(host.to_owned(), entry);
        true
    }

    /// What the disk says about a name.
    fn found(&self, name: &str) -> Entry {
        let now = SystemTime::now();
        let trouble = self.files.trouble(name);
        let mut entry =
            Entry { kept: None, due: now, task: None, is_forced: false, chance: fastrand::f64(), trouble };
        match held(&self.files, name) {
            Ok(kept) => entry.kept = kept,
            Err(error) => tracing::warn!(
                "the certificate kept for {name} is of no use: {error}; another one is requested"
            ),
        }
        entry.plan(now);
        entry
    }

    fn renew(&mut self, name: &str) -> Result<(), String> {
        let known = self.names.keys().cloned().collect::<Vec<_>>().join(", ");
        let Some(entry) = self.names.get_mut(name) else {
            return Err(match known.as_str() {
                "" => format!("no certificate is requested for {name}, nor for any other name"),
                known => format!("no certificate is requested for {name}; the names are: {known}"),
            });
        };
        entry.is_forced = true;
        Ok(())
    }

    /// Looks whether another router has written a certificate, and whether the clock was put back.
    fn look(&mut self) {
        let now = SystemTime::now();
        if now + PUT_BACK < std::mem::replace(&mut self.clock, now) {
            let idle = self.names.values_mut().filter(|entry| entry.task.is_none());
            idle.for_each(|entry| entry.plan(now));
        }
        let mut changed = false;
        for (name, entry) in self.names.iter_mut().filter(|(_, entry)| entry.task.is_none()) {
            let stamp = std::fs::metadata(self.files.certificate_file(name)).and_then(|data| data.modified());
            let Ok(stamp) = stamp else { continue };
            if entry.kept.as_ref().map(|kept| kept.stamp) != Some(stamp)
                && let Ok(Some(kept)) = held(&self.files, name)
            {
                entry.kept = Some(kept);
                entry.trouble = self.files.trouble(name);
                entry.plan(now);
                changed = true;
            }
        }
        if changed {
            self.publish();
        }
    }

    /// Starts what is due, the longest due first, a few at a time.
    fn begin_what_is_due(&mut self) {
        let now = SystemTime::now();
        let left_alone = self.is_left_alone(now);
        let is_due = |entry: &Entry| {
            let may = entry.is_forced || (entry.due <= now && !left_alone);
            may && entry.task.is_none()
        };
        let mut due: Vec<_> = self
            .names
            .iter()
            .filter(|(_, entry)| is_due(entry))
            .map(|(name, entry)| (entry.due, name.clone()))
            .collect();
        due.sort();
        for (_, name) in due.into_iter().take(AT_ONCE.saturating_sub(self.running.len())) {
            self.begin(name);
        }
        self.ask_for_windows(now);
    }

    /// When the server may be asked about other names than those that it wants to hear nothing of.
    fn left_alone_until(&self, now: SystemTime) -> SystemTime {
        plan::put_off(self.left_alone_until, ALL_LEFT_ALONE, now)
    }

    fn is_left_alone(&self, now: SystemTime) -> bool {
        self.left_alone_until(now) > now
    }

    fn begin(&mut self, name: String) {
        let Some(entry) = self.names.get_mut(&name) else { return };
        entry.is_forced = false;
        let known = entry.kept.as_ref().map(|kept| kept.stamp);
        let replaced = entry.kept.as_ref().and_then(|kept| kept.replaced.clone());
        let (files, orders) = (self.files.clone(), Arc::clone(&self.orders));
        let begun = self.running.spawn(async move {
            let (came, left_alone) = https::noting(attempt(&files, &orders, &name, known, replaced)).await;
            (name, came.unwrap_or_else(Came::Nothing), left_alone)
        });
        entry.task = Some(begun.id());
    }

    /// Asks the server when it wants certificates to be renewed.
    fn ask_for_windows(&mut self, now: SystemTime) {
        if self.is_left_alone(now) {
            return;
        }
        for (name, entry) in self.names.iter_mut().filter(|(_, entry)| entry.task.is_none()) {
            if self.running.len() >= AT_ONCE {
                return;
            }
            let may_ask = |kept: &&mut Held| plan::put_off(kept.ask_again, ASK.1, now) <= now;
            let Some(kept) = entry.kept.as_mut().filter(may_ask) else { continue };
            let Some(replaced) = kept.replaced.clone() else { continue };
            kept.ask_again = now + ASK.1;
            let (name, orders) = (name.clone(), Arc::clone(&self.orders));
            self.running.spawn(async move {
                let (window, left_alone) = https::noting(orders.window(&replaced)).await;
                (name, Came::Window(window), left_alone)
            });
        }
    }

    fn learn(&mut self, name: &str, came: Came, left_alone: Option<SystemTime>) {
        let now = SystemTime::now();
        let all_left_alone = left_alone.map_or(now, |until| until.min(now + ALL_LEFT_ALONE));
        self.left_alone_until = self.left_alone_until(now).max(all_left_alone);
        let Some(entry) = self.names.get_mut(name) else { return };
        match came {
            Came::Window(window) => {
                let Some(kept) = &mut entry.kept else { return };
                if let Some((window, again)) = window {
                    kept.window = Some(window);
                    kept.ask_again = now + again.clamp(ASK.0, ASK.1);
                    entry.plan(now);
                }
                return;
            }
            Came::Elsewhere => entry.due = now + ANOTHER_DOES_IT,
            Came::Another => {
                let found = self.found(name);
                self.names.insert(name.to_owned(), found);
                return self.publish();
            }
            Came::Nothing(error) => return self.failed(name, &error, left_alone),
        }
        entry.task = None;
    }

    fn failed(&mut self, name: &str, error: &OrderError, left_alone: Option<SystemTime>) {
        let now = SystemTime::now();
        let Some(entry) = self.names.get_mut(name) else { return };
        entry.task = None;
        let (why, failures) = (error.failed(), entry.trouble.failures.saturating_add(1));
        entry.due = plan::retry(failures, why, now, left_alone, fastrand::f64());
        let not_before = entry.due.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        entry.trouble = Trouble { failures, not_before, error: error.to_string() };
        let is_on_demand = entry.kept.is_none() && !self.wanted.names.contains(name);
        let kept = if is_on_demand && why == Failed::Refused && failures >= MOST_FAILURES {
            out::note(format_args!(
                "no certificate for {name}: {error}; it is forgotten until somebody asks again"
            ));
            self.names.remove(name);
            self.files.forget(name)
        } else {
            let pause = entry.due.duration_since(now).unwrap_or_default().as_secs();
            let old = if entry.kept.is_some() { "the old one stays in force; " } else { "" };
            out::note(format_args!("no certificate for {name}: {error}; {old}next attempt in {pause} s"));
            self.files.keep_trouble(name, &entry.trouble)
        };
        if let Err(error) = kept {
            tracing::warn!("{error}");
        }
    }

    /// An attempt has panicked. Its name is tried again, not too soon.
    fn is_broken(&mut self, broken: &JoinError) {
        tracing::error!("a bug: an attempt to get a certificate broke: {broken}");
        let of_it = |entry: &&mut Entry| entry.task == Some(broken.id());
        if let Some(entry) = self.names.values_mut().find(of_it) {
            (entry.task, entry.due) = (None, SystemTime::now() + LEAST_AGE);
        }
    }

    fn publish(&self) {
        let kept = self.names.values().filter_map(|entry| entry.kept.as_ref());
        self.certificates.send_replace(kept.map(|kept| kept.certificate.clone()).collect());
    }

    fn tell(&self) {
        let left_alone_until = self.left_alone_until(SystemTime::now());
        let one = |(name, entry): (&String, &Entry)| Status {
            name: name.clone(),
            due: entry.due.max(left_alone_until),
            is_busy: entry.task.is_some(),
            has_one: entry.kept.is_some(),
            failures: entry.trouble.failures,
            error: (entry.trouble.failures > 0).then(|| entry.trouble.error.clone()),
        };
        let all: Vec<_> = self.names.iter().map(one).collect();
        self.status.send_if_modified(|told| {
            let differs = *told != all;
            *told = all;
            differs
        });
    }
}

impl Entry {
    /// When it is due, by what is kept and by how the last attempts went.
    fn plan(&mut self, now: SystemTime) {
        let wanted = self.kept.as_ref().map(|kept| {
            let life = (kept.certificate.begins(), kept.certificate.expires());
            let is_new = plan::put_off(kept.stamp + LEAST_AGE, LEAST_AGE, now);
            plan::renewal(life, kept.window, self.chance).max(is_new)
        });
        let may = UNIX_EPOCH.checked_add(Duration::from_secs(self.trouble.not_before));
        let may = may.map_or(UNIX_EPOCH, |may| plan::put_off(may, https::LONGEST_PAUSE, now));
        self.due = wanted.unwrap_or(UNIX_EPOCH).max(may);
    }
}

/// Whether `name` is one of these, or stands below a wildcard that is.
fn covers(names: &BTreeSet<String>, name: &str) -> bool {
    let wildcard = || name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
    names.contains(name) || wildcard().is_some_and(|wildcard| names.contains(&wildcard))
}

/// The certificate on the disk.
fn held(files: &Files, name: &str) -> Result<Option<Held>, HeldError> {
    let Some(kept) = files.certificate(name)? else { return Ok(None) };
    let file = files.certificate_file(name).display().to_string();
    let certificate = Certificate::from_pem(&file, &kept.pem, &kept.pem)?;
    let replaced = order::identifier(&kept.pem);
    Ok(Some(Held { certificate, stamp: kept.stamp, replaced, window: None, ask_again: UNIX_EPOCH }))
}

/// Why what is on the disk is of no use.
#[derive(Debug, thiserror::Error)]
enum HeldError {
    #[error(transparent)]
    File(#[from] super::files::FileError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Gets a certificate for `name` and keeps it, unless another router does, or has done so since `known`.
async fn attempt(
    files: &Files,
    orders: &Orders,
    name: &str,
    known: Option<SystemTime>,
    replaced: Option<Replaced>,
) -> Result<Came, OrderError> {
    let Some(_lock) = files.lock(name)? else { return Ok(Came::Elsewhere) };
    let there = files.certificate(name)?;
    if there.is_some_and(|there| known != Some(there.stamp)) && held(files, name).is_ok() {
        return Ok(Came::Another);
    }
    files.check()?;
    let pem = orders.certificate(name, replaced.as_ref()).await?;
    let certificate =
        Certificate::from_pem(&format!("the answer for {name}"), pem.as_bytes(), pem.as_bytes())?;
    files.keep_certificate(name, pem.as_bytes())?;
    files.keep_trouble(name, &Trouble::default())?;
    let days = certificate.expires().duration_since(SystemTime::now()).unwrap_or_default().as_secs() / 86_400;
    out::note(format_args!("a new certificate for {name}, good for {days} days"));
    Ok(Came::Another)
}

#[cfg(test)]
mod tests;
