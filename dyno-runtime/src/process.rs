//! Processes seen through `/proc`: who they are, whether they belong to a dyno, and how to signal just them.
//!
//! - [`Identity`]: a pid together with the moment its process started: never another process.
//! - [`Family`]: all processes of one dyno: the members of its group, or, where there is none, its session and
//!   whatever carries its mark in the environment.

use std::{collections::HashSet, fs, path::PathBuf, time::Duration};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroup;

/// Every process of a dyno inherits this variable; its value is the dyno's mark.
pub(crate) const MARK: &str = "BUSBAR_DYNO_INSTANCE";

/// One process, for ever: a pid alone may be given to another process later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// In clock ticks since boot: field 22 of `/proc/PID/stat`.
    pub(crate) started: u64,
}

/// What `/proc/PID/stat` says.
struct Stat {
    zombie: bool,
    group: i32,
    session: i32,
    started: u64,
}

impl Identity {
    /// The process that has this pid now.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, started: stat(pid)?.started })
    }

    /// Whether that very process is still there, if only as a zombie.
    pub(crate) fn is_there(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started)
    }

    /// The same, and it is no zombie.
    pub(crate) fn runs(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && !stat.zombie)
    }

    /// Sends it, and no other process, SIGKILL.
    pub(crate) fn kill(self) {
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty())
            && self.is_there()
        {
            let _gone = pidfd_send_signal(&pidfd, Signal::KILL);
        }
    }
}

/// All processes of one dyno.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    /// Its first process. While it is there, its session is the dyno's.
    pub(crate) leader: Option<Identity>,
    pub(crate) mark: String,
    pub(crate) cgroup: Option<Cgroup>,
    /// Whether that first process is one of the runtime's, in a pid namespace where the kernel ends all others with it.
    pub(crate) apart: bool,
    /// Whether it is one of the runtime's and stays when the command has ended: then it is none of the dyno's.
    pub(crate) stays: bool,
}

impl Family {
    /// Sends `signal` once to each process there is, also to those that are just being forked. Returns to how many.
    pub(crate) fn signal(&self, signal: Signal) -> usize {
        let mut reached = HashSet::new();
        // A process can fork while the list is read; a few rounds find its children.
        for _ in 0..5 {
            let fresh: Vec<Pid> = self.members().into_iter().filter(|pid| !reached.contains(pid)).collect();
            if fresh.is_empty() {
                break;
            }
            self.signal_each(&fresh, signal);
            reached.extend(fresh);
        }
        reached.len()
    }

    fn signal_each(&self, pids: &[Pid], signal: Signal) {
        // A pid read from a list can have changed hands. Held by a pidfd it cannot; and whoever is still a member
        // after that is who we meant.
        let hold = |pid: &Pid| Some((*pid, pidfd_open(*pid, PidfdFlags::empty()).ok()?));
        let held: Vec<_> = pids.iter().filter_map(hold).collect();
        let still = self.members();
        for (_, pidfd) in held.iter().filter(|(pid, _)| still.contains(pid)) {
            let _gone = pidfd_send_signal(pidfd, signal);
        }
    }

    /// Kills every process, also such as start meanwhile, for at most `limit`. Whether none is left.
    pub(crate) async fn kill(&self, limit: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            if let Some(cgroup) = &self.cgroup
                && let Err(error) = cgroup.control().kill()
            {
                tracing::warn!(%error, "cannot kill by cgroup");
            }
            match self.leader.filter(|_| self.apart) {
                Some(leader) => leader.kill(),
                None => self.relatives().into_iter().for_each(|pid| self.kill_relative(pid)),
            }
            if self.is_empty() {
                return true;
            }
            if tokio::time::Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Kills its first process, when none of the others is left. Whether it is gone, within `limit`.
    pub(crate) async fn kill_leader(&self, limit: Duration) -> bool {
        let Some(leader) = self.leader else { return true };
        leader.kill();
        let gone = async {
            while leader.runs() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(limit, gone).await.is_ok()
    }

    /// Returns when no process is left. Cancel safe.
    pub(crate) async fn gone(&self) {
        let mut pause = Duration::from_millis(2);
        while !self.is_empty() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    fn is_empty(&self) -> bool {
        self.members().is_empty() && !self.leader.is_some_and(|leader| self.apart && leader.runs())
    }

    fn members(&self) -> Vec<Pid> {
        match &self.cgroup {
            Some(cgroup) => cgroup.control().members().unwrap_or_else(|error| {
                tracing::warn!(%error, "cannot list a cgroup; looking through /proc");
                self.relatives()
            }),
            None => self.relatives(),
        }
    }

    /// The processes that `/proc` shows to be of this dyno, without zombies.
    fn relatives(&self) -> Vec<Pid> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        if self.apart {
            let own = self.leader.filter(|leader| leader.runs()).and_then(|leader| pid_namespace(leader.pid));
            let others = pids.filter(|pid| self.leader.is_none_or(|leader| leader.pid != *pid));
            let fellow = |pid: &i32| own.is_some() && pid_namespace(*pid) == own;
            return others.filter(fellow).filter_map(Pid::from_raw).collect();
        }
        let session = self.leader.filter(|leader| leader.is_there()).map(|leader| leader.pid);
        let pids = pids.filter(|pid| !self.stays || Some(*pid) != session);
        pids.filter(|pid| self.is_relative(*pid, session)).filter_map(Pid::from_raw).collect()
    }

    fn is_relative(&self, pid: i32, session: Option<i32>) -> bool {
        let Some(stat) = stat(pid).filter(|stat| !stat.zombie) else { return false };
        session.is_some_and(|session| stat.session == session || stat.group == session)
            || carries(pid, &self.mark)
    }

    fn kill_relative(&self, pid: Pid) {
        let session = self.leader.filter(|leader| leader.is_there()).map(|leader| leader.pid);
        if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty())
            && self.is_relative(pid.as_raw_pid(), session)
        {
            let _gone = pidfd_send_signal(&pidfd, Signal::KILL);
        }
    }
}

/// Which pid namespace a process is in.
fn pid_namespace(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

/// Whether the process was started with this mark. Of other users' processes nothing can be read: not ours.
fn carries(pid: i32, mark: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let mut variables = environment.split(|byte| *byte == 0);
    variables.any(|variable| variable.strip_prefix(MARK.as_bytes()) == Some(format!("={mark}").as_bytes()))
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses, and may itself contain both spaces and parentheses.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    let group = fields.nth(1)?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    let started = fields.nth(15)?.parse().ok()?;
    Some(Stat { zombie, group, session, started })
}

/// Tells one boot of the machine from another: pids and start times mean nothing across them.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_itself_and_no_other() {
        let own = Identity::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.is_there());
        assert!(!Identity { started: own.started + 1, ..own }.is_there());
    }

    #[test]
    fn a_pid_that_changed_hands_is_not_the_leader_and_gets_no_signal() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let real = Identity::of(i32::try_from(child.id()).unwrap()).unwrap();
        let other = Identity { started: real.started - 1, ..real };
        let family = Family {
            leader: Some(other),
            mark: "none/such".into(),
            cgroup: None,
            apart: false,
            stays: false,
        };
        assert_eq!(family.signal(Signal::KILL), 0);
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_is_found_by_its_mark() {
        let mark = format!("test/{}", std::process::id());
        let mut child = std::process::Command::new("sleep").arg("60").env(MARK, &mark).spawn().unwrap();
        let family = Family { leader: None, mark, cgroup: None, apart: false, stays: false };
        assert_eq!(family.signal(Signal::KILL), 1);
        child.wait().unwrap();
    }
}
