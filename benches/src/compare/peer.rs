//! The proxies: how each is found, what it cannot do, and how it is told its duties.
//!
//! The duties are the same for all: one worker; `app.test` goes to the dynos, `other.test` to others; fewest connections
//! decide; connections to the dynos are kept; `X-Forwarded-For`, `X-Request-Id` and `Via` are added; nothing is buffered on
//! disk; the access log is off, or with `+log` goes to a file in each one's usual form.
//!
//! - [`Kind`]: a proxy. [`Peer`]: a proxy with or without its access log, by name. [`all`]: those there are.
//! - [`Variant`], [`variants`]: Busbar balancing in other ways.

mod busbar;
mod caddy;
mod cannot;
mod envoy;
mod haproxy;
mod hyper;
mod nginx;
mod pingora;
mod sozu;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
};

use super::{Scenario, stage::Stage};
use crate::{
    load::plan::Protocol,
    process::child::{Child, Program},
};

/// A proxy.
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// The command that brings it.
    pub install: &'static str,
    /// What its program is called, and the argument that makes it say its version; nothing for `direct`.
    program: Option<(&'static str, &'static str)>,
    /// Whether it is part of `busbar-bench` or built beside it.
    beside: bool,
    /// What it cannot do.
    cannot: fn(&Scenario) -> Option<&'static str>,
    /// Writes its configuration and says how to start it.
    tell: fn(&Stage) -> io::Result<Told>,
    /// Whether it has an access log.
    has_log: bool,
    /// Changes a route while it runs.
    pub(super) change: Option<Change>,
}

/// Changes a route; the number grows by one each time.
type Change = fn(&Stage, &Child, u64) -> io::Result<()>;

/// How to start a proxy that was told its duties.
#[derive(Default)]
struct Told {
    arguments: Vec<std::ffi::OsString>,
    variables: Vec<(&'static str, std::ffi::OsString)>,
}

/// A proxy with or without its access log.
#[derive(Clone, Copy)]
pub struct Peer {
    /// Its name, with `+log` if it writes one.
    pub name: &'static str,
    /// Which.
    pub kind: &'static Kind,
    /// Whether it writes an access log.
    pub access_log: bool,
    /// How it balances, if not in the way all others are told to.
    pub variant: Option<Variant>,
}

/// Another way of balancing that is compared with the usual one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// By this policy, in busbar's words.
    Policy(&'static str),
    /// As usual, but a dyno gets only as many requests as it serves at once, and the proxy queues the rest.
    Queue,
}

/// A proxy that is on this machine.
#[derive(Debug)]
pub struct Found {
    /// Which.
    pub peer: Peer,
    /// Its program.
    pub path: PathBuf,
    /// What it says its version is.
    pub version: String,
}

static DIRECT: Kind = Kind {
    name: "direct",
    install: "nothing: it is the origin itself",
    program: None,
    beside: true,
    cannot: |scenario| {
        let is_plain = scenario.is_plain()
            || scenario.load.protocol == Protocol::WebSocket && scenario.load.tls.is_none();
        match (is_plain, scenario.is_instant()) {
            (false, _) => Some("the origin is asked in clear HTTP/1.1 or WebSocket only"),
            (true, false) => Some("without a proxy there is one dyno only"),
            (true, true) if scenario.change_every.is_some() => Some("it has no routes"),
            (true, true) => None,
        }
    },
    tell: |_| Ok(Told::default()),
    has_log: false,
    change: None,
};

/// In the order of the table.
static KINDS: [&Kind; 9] = [
    &DIRECT,
    &busbar::BUSBAR,
    &nginx::NGINX,
    &haproxy::HAPROXY,
    &envoy::ENVOY,
    &caddy::CADDY,
    &sozu::SOZU,
    &pingora::PINGORA,
    &hyper::HYPER,
];

/// Each proxy without its access log, and each that has one also with it.
#[must_use]
pub fn all() -> Vec<Peer> {
    let with_log = |kind: &&'static Kind| {
        let name = match kind.name {
            "busbar" => "busbar+log",
            "nginx" => "nginx+log",
            "haproxy" => "haproxy+log",
            "envoy" => "envoy+log",
            _ => "caddy+log",
        };
        kind.has_log.then_some(Peer { name, kind, access_log: true, variant: None })
    };
    let bare = KINDS.iter().map(|kind| Peer { name: kind.name, kind, access_log: false, variant: None });
    bare.chain(KINDS.iter().filter_map(with_log)).collect()
}

/// Busbar with each of its policies: measured only when they are asked for.
#[must_use]
pub fn variants() -> Vec<Peer> {
    let policy = |name, policy| (name, Variant::Policy(policy));
    let all = [
        policy("busbar:random", "random"),
        policy("busbar:round_robin", "round_robin"),
        policy("busbar:p2c", "p2c"),
        policy("busbar:peak_ewma", "peak_ewma"),
        policy("busbar:least", "least"),
        ("busbar:queue", Variant::Queue),
    ];
    let peer =
        |(name, variant)| Peer { name, kind: &busbar::BUSBAR, access_log: false, variant: Some(variant) };
    all.map(peer).into()
}

impl Peer {
    /// Whether there is no proxy at all.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.kind.program.is_none()
    }

    /// Why it is not measured in a scenario, if so.
    #[must_use]
    pub fn cannot(&self, scenario: &Scenario) -> Option<&'static str> {
        if scenario.change_every.is_some() && self.kind.change.is_none() && !self.is_direct() {
            return Some("it cannot change a route without reading everything again in new processes");
        }
        (self.kind.cannot)(scenario)
    }

    /// Looks for it: where `places` says, beside `launcher` if it is built there, on the `PATH`, and in `/usr/sbin`.
    #[must_use]
    pub fn find(&self, places: &BTreeMap<String, PathBuf>, launcher: &Path) -> Option<Found> {
        let Some((program, version)) = self.kind.program else {
            return Some(Found {
                peer: *self,
                path: PathBuf::new(),
                version: "the origin of busbar-bench".into(),
            });
        };
        let beside = self.kind.beside.then(|| launcher.parent().map(Path::to_owned)).flatten();
        let on_path = std::env::var_os("PATH").unwrap_or_default();
        let folders =
            beside.into_iter().chain(std::env::split_paths(&on_path)).chain([PathBuf::from("/usr/sbin")]);
        let usual = || folders.map(|folder| folder.join(program)).find(|path| path.is_file());
        let path = places.get(self.kind.name).cloned().or_else(usual)?;
        let path = path.canonicalize().ok()?;
        let version = ask_version(&path, version)?;
        Some(Found { peer: *self, path, version })
    }

    /// How to start it on a stage; none for `direct`.
    pub(super) fn program(&self, path: &Path, stage: &Stage) -> Option<io::Result<Program>> {
        let tell = |told: Told| Program {
            path: path.to_owned(),
            arguments: told.arguments,
            variables: told.variables,
        };
        (!self.is_direct()).then(|| (self.kind.tell)(stage).map(tell))
    }
}

/// The first line it says, on whichever stream.
fn ask_version(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("unknown");
    let own_name = program.display().to_string();
    Some(line.trim_start_matches(&own_name).trim().to_owned())
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || all().into_iter().chain(variants());
        known().find(|peer| peer.name == name).ok_or_else(|| {
            let names: Vec<&str> = known().map(|peer| peer.name).collect();
            format!("`{name}` is not in the comparison; there are {}", names.join(", "))
        })
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
