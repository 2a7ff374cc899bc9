//! What this machine allows, and what to do about what it does not: `busbar doctor`.
//!
//! A level of isolation is not deduced from versions and settings: a dyno is made at that level, which does nothing and is
//! gone again. What fails is named by its step and the system's error, as it would be for a real one.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{disk, quarters::Quarters, sys, uplink::Uplink, walls::Walls};
use crate::{
    cgroup::{Cgroup, Limits, Role, Site},
    init::{InitSpec, Stdin},
    life::Exit,
    options::{InitProgram, Isolation, Network, RuntimeOptions, Sandbox},
    process::Family,
    remove::remove_tree,
    spawn::{Embryo, LaunchOrder, OpenProgram, Process},
    stdio::Stdio,
    supervise::remove_group,
};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// What.
    pub name: &'static str,
    /// Whether it is there.
    pub there: bool,
    /// What was found.
    pub found: String,
    /// What to do to have it; empty when it is there, or when nothing can be done.
    pub advice: &'static str,
}

impl Probe {
    fn of(name: &'static str, outcome: Result<String, String>, advice: &'static str) -> Self {
        match outcome {
            Ok(found) => Self { name, there: true, found, advice: "" },
            Err(found) => Self { name, there: false, found, advice },
        }
    }
}

/// Looks at everything. Nothing is left behind.
pub async fn probes(init: &InitProgram) -> Vec<Probe> {
    let root = rustix::process::geteuid().is_root();
    let mut probes = vec![Probe::of("isolation plain", Ok("always".into()), "")];
    let advice = if root {
        "root has isolation full"
    } else {
        "allow user namespaces: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1, \
         kernel.apparmor_restrict_unprivileged_userns=0"
    };
    probes.push(Probe::of("isolation user", trial(Isolation::User, init).await, advice));
    let advice = if root {
        "take Linux 5.19 or newer with overlayfs, veth and nf_tables; not within a container"
    } else {
        "run as root"
    };
    probes.push(Probe::of("isolation full", trial(Isolation::Full, init).await, advice));
    let advice = "run as root on a machine with nf_tables and a default route; until then dynos can be called and call nobody";
    probes.push(Probe::of("network outbound", outbound(), advice));
    let advice = "mount cgroup v2 at /sys/fs/cgroup, or be given a group (systemd: Delegate=yes); until then without limits";
    probes.push(Probe::of("control groups", groups(), advice));
    let advice = "run as root with e2fsprogs and loop devices; until then what dynos write has no limit";
    probes.push(Probe::of("disk quota", disk::trial(), advice));
    probes.push(Probe::of(
        "landlock",
        landlock(),
        "boot with lsm=landlock,…; the other walls hold without it",
    ));
    probes
}

async fn trial(isolation: Isolation, init: &InitProgram) -> Result<String, String> {
    let trial = Trial::open(isolation, Network::Inbound, init)?;
    let made = trial.once("exit 0").await;
    made.and(trial.close()).map(|()| "a dyno was made so, and is gone".to_owned())
}

/// A place where dynos are made, one after the other, and are gone again: to try whether that can be done, and to
/// measure how long it takes.
#[derive(Debug)]
pub struct Trial {
    place: PathBuf,
    isolation: Isolation,
    walls: Option<Walls>,
    site: Option<Site>,
    program: OpenProgram,
}

impl Trial {
    /// Prepares for dynos of this level. They are in control groups where these can be made.
    ///
    /// # Errors
    /// What cannot be had, in words.
    pub fn open(isolation: Isolation, network: Network, init: &InitProgram) -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let instance = format!("trial-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        // In a directory of everybody's: nobody knows its name before, and one that is there already is somebody else's.
        let place = std::env::temp_dir().join(format!("busbar-{instance}-{:016x}", fastrand::u64(..)));
        let words = |error: io::Error| error.to_string();
        let make = |path: &Path| DirBuilder::new().mode(0o700).create(path).map_err(words);
        make(&place).and_then(|()| make(&place.join("app")))?;
        let sandbox = Sandbox { scratch: Some(place.join("scratch")), network, ..Sandbox::default() };
        let options =
            RuntimeOptions { instance: instance.clone(), isolation, sandbox, ..RuntimeOptions::default() };
        let walls = Walls::raise(&options, &place, &[]).map_err(|error| {
            let _nothing_in_it = remove_tree(&place);
            error.to_string()
        })?;
        let site = Site::here(&instance).ok().filter(|site| site.prepare().is_ok());
        Ok(Self { place, isolation, walls, site, program: OpenProgram::open(init) })
    }

    /// Makes a dyno, has its shell run `command`, and waits for its end.
    ///
    /// # Errors
    /// The step that failed, or that the command did not end with status 0, in words.
    pub async fn once(&self, command: &str) -> Result<(), String> {
        self.timed(command).await.map(|_| ())
    }

    /// The same; how long it took until the command was executed.
    ///
    /// # Errors
    /// As [`Trial::once`].
    pub async fn timed(&self, command: &str) -> Result<Duration, String> {
        let began = Instant::now();
        let words = |error: io::Error| error.to_string();
        let quarters = self.walls.as_ref().map(|walls| walls.quarters("trial")).transpose().map_err(words)?;
        let group = self.site.as_ref().map(|site| site.plan("trial"));
        let process = self.make(command, quarters.as_ref(), group.as_ref()).await;
        let took = began.elapsed();
        let ended = match process {
            Ok(process) => {
                process.ended().await;
                let exit = process.peek();
                process.reap();
                if exit == Exit::Code(0) {
                    Ok(took)
                } else {
                    Err(format!("its shell ended with status {exit}"))
                }
            }
            Err(error) => Err(error),
        };
        if let Some(group) = &group {
            remove_group(group).await.map_err(|error| error.to_string())?;
        }
        quarters.map_or(Ok(()), |quarters| quarters.remove()).map_err(words)?;
        ended
    }

    async fn make(
        &self,
        command: &str,
        quarters: Option<&Quarters>,
        group: Option<&Cgroup>,
    ) -> Result<Process, String> {
        let app = self.place.join("app");
        let apart = self.walls.as_ref().zip(quarters);
        let sandbox = apart.map(|(walls, own)| walls.spec(own, None, &app, "trial".into())).transpose();
        let sandbox = sandbox.map_err(|error| error.to_string())?;
        if let Some(group) = group {
            group.control().create(&Limits::default()).map_err(|error| error.to_string())?;
        }
        let join = group.map(|group| group.control().join_files(Role::App)).unwrap_or_default();
        let directory = sandbox.as_ref().map_or(app, |_| "/app".into());
        let argv = vec!["/bin/sh".into(), "-c".into(), command.into()];
        let spec = InitSpec {
            join,
            hold: None,
            directory,
            argv,
            environment: 0,
            stdin: Stdin::Null,
            sandbox,
            fail: None,
        };
        let order = LaunchOrder::new(spec, vec![]).map_err(|error| error.to_string())?;
        let embryo = Embryo::create(&self.program, self.isolation, None, Stdio::Logged)
            .map_err(|error| error.to_string())?;
        let family = Family {
            leader: embryo.identity(),
            mark: self.place.display().to_string(),
            cgroup: group.cloned(),
            apart: quarters.is_some(),
            stays: false,
        };
        Ok(embryo.launch(&order, &family).await.map_err(|error| error.to_string())?.process)
    }

    /// Removes the place.
    ///
    /// # Errors
    /// What is left.
    pub fn close(self) -> Result<(), String> {
        drop(self.walls);
        if let Some(site) = &self.site {
            site.tidy();
        }
        remove_tree(&self.place).map_err(|error| format!("{}: {error}", self.place.display()))
    }
}

fn outbound() -> Result<String, String> {
    let forwarding = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default();
    let changes =
        if forwarding.trim() == "1" { "" } else { ", to which busbar would give leave to pass packets on" };
    Uplink::probe().map(|interface| format!("NAT by {interface}{changes}")).map_err(|error| error.to_string())
}

fn groups() -> Result<String, String> {
    let site = Site::here("doctor").map_err(|error| error.to_string())?;
    site.prepare().map_err(|error| error.to_string())?;
    site.tidy();
    Ok(match site {
        Site::V1(_) => "version 1".to_owned(),
        Site::V2(_) => "version 2".to_owned(),
    })
}

fn landlock() -> Result<String, String> {
    sys::landlock_version().map(|version| format!("version {version}")).map_err(|error| error.to_string())
}
