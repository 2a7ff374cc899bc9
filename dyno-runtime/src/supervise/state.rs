//! The state directory: what runs, written down before it runs, so that the next runtime can remove it or go on with it.
//!
//! `<directory>/lock` is held by the runtime that uses it; `<directory>/dynos/<app>.<dyno>.<generation>.json` is one
//! dyno's [`Record`], and `….exit` beside it tells how its command ended. `<directory>/key`: see [`Fingerprints`]. It holds
//! no secret of an app.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use super::{
    KILL_LIMIT, Swept,
    record::{Fingerprints, LifeRecord, Record},
};
use crate::{
    cgroup::{Cgroup, CgroupError},
    options::RuntimeOptions,
    private::{is_at, private_directory, temporary_directory},
};

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file or directory refused.
    #[error("cannot {deed} {path}: {source}; give another state directory, or the right to use this one")]
    File {
        /// What was tried.
        deed: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else's.
    #[error("state directory {0} belongs to another user; give another one")]
    Foreign(PathBuf),
    /// In use.
    #[error("a runtime is running with state directory {0}; stop it, or give this one another instance name")]
    InUse(PathBuf),
}

fn failed(deed: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    move |source| StateError::File { deed, path: path.to_owned(), source }
}

/// The state directory, held by this runtime.
#[derive(Debug)]
pub(crate) struct StateDirectory {
    directory: PathBuf,
    dynos: PathBuf,
    _lock: File,
}

impl StateDirectory {
    /// Where it is.
    pub(crate) fn of(options: &RuntimeOptions) -> PathBuf {
        options.state_directory.clone().unwrap_or_else(|| default_directory(&options.instance))
    }

    /// Makes the directory if need be, and takes its lock.
    pub(crate) fn open(options: &RuntimeOptions) -> Result<Self, StateError> {
        let directory = Self::of(options);
        let shared = temporary_directory();
        if options.state_directory.is_none() && directory.starts_with(&shared) {
            private_directory(&shared).map_err(failed("use", &shared))?;
        }
        let make = |path: &Path| {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(failed("create", path))
        };
        let lock_path = directory.join("lock");
        let lock = loop {
            make(&directory)?;
            let owner = fs::metadata(&directory).map_err(failed("read", &directory))?.uid();
            if owner != rustix::process::geteuid().as_raw() {
                return Err(StateError::Foreign(directory));
            }
            let lock = match File::create(&lock_path) {
                // Who had it takes it away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                made => made.map_err(failed("create", &lock_path))?,
            };
            match lock.try_lock() {
                // Whose directory vanished has a lock that nobody else will ever see.
                Ok(()) if is_at(&lock, &lock_path) => break lock,
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(StateError::InUse(directory)),
                Err(TryLockError::Error(source)) => return Err(failed("lock", &lock_path)(source)),
            }
        };
        let dynos = directory.join("dynos");
        make(&dynos)?;
        Ok(Self { directory, dynos, _lock: lock })
    }

    /// Removes the directory, unless something is written down in it. For who will not come back.
    pub(crate) fn vanish(&self) {
        if fs::remove_dir(&self.dynos).is_err() {
            return;
        }
        let _not_made = fs::remove_dir(self.directory.join("mountpoint"));
        let _next_time = fs::remove_file(self.directory.join("lock"));
        let _next_time = fs::remove_dir(&self.directory);
    }

    /// Writes down a dyno, whole or not at all.
    pub(crate) fn write(&self, key: &str, record: &Record) -> Result<(), StateError> {
        let (path, new) = (self.path(key), self.dynos.join(format!("{key}.new")));
        let text = serde_json::to_vec(record).map_err(|error| failed("write", &new)(error.into()))?;
        fs::write(&new, text).map_err(failed("write", &new))?;
        fs::rename(&new, &path).map_err(failed("rename", &new))
    }

    /// The file where a dyno's first process writes how its command ended.
    pub(crate) fn exit_file(&self, key: &str) -> Result<File, StateError> {
        let path = self.dynos.join(format!("{key}.exit"));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        file.map_err(failed("create", &path))
    }

    /// Forgets a dyno.
    pub(crate) fn remove(&self, key: &str) {
        let _not_written = fs::remove_file(self.dynos.join(format!("{key}.exit")));
        let _not_written = fs::remove_file(self.path(key));
    }

    fn path(&self, key: &str) -> PathBuf {
        self.dynos.join(format!("{key}.json"))
    }

    /// Where a dyno's first process has written how its command ended.
    pub(crate) fn told_file(&self, key: &str) -> io::Result<File> {
        File::open(self.dynos.join(format!("{key}.exit")))
    }

    /// What makes fingerprints that only this directory's records have.
    pub(crate) fn fingerprints(&self) -> Result<Fingerprints, StateError> {
        let path = self.directory.join("key");
        Fingerprints::open(&path).map_err(failed("open", &path))
    }

    /// What an earlier runtime wrote down and left: first what one could go on with, then all else. Of another boot
    /// nothing can be left, and that is forgotten.
    pub(crate) fn left(&self) -> (Vec<Stray>, Vec<Left>) {
        let (mut strays, mut others) = (vec![], vec![]);
        let entries = fs::read_dir(&self.dynos).into_iter().flatten().flatten().map(|entry| entry.path());
        let (records, files): (Vec<_>, Vec<_>) =
            entries.partition(|path| path.extension().is_some_and(|kind| kind == "json"));
        for path in records {
            let key = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let record = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Record>(&text).ok());
            match record.filter(Record::is_of_this_boot) {
                Some(record) => match record.life() {
                    Some(life) => strays.push(Stray { left: Left { key, record }, life }),
                    None => others.push(Left { key, record }),
                },
                None => self.remove(&key),
            }
        }
        // A record whose writing was interrupted, and the file of a dyno that was forgotten.
        let is_told = |file: &PathBuf| {
            file.extension().is_some_and(|kind| kind == "exit") && file.with_extension("json").exists()
        };
        for file in files.into_iter().filter(|file| !is_told(file)) {
            let _next_time = fs::remove_file(file);
        }
        (strays, others)
    }

    /// Kills all that an earlier runtime wrote down and left, and removes its control groups.
    pub(crate) async fn sweep(&self) -> Swept {
        let (strays, others) = self.left();
        self.sweep_these(strays.into_iter().map(|stray| stray.left).chain(others)).await
    }

    /// The same for these.
    pub(crate) async fn sweep_these(&self, these: impl IntoIterator<Item = Left>) -> Swept {
        let mut swept = Swept::default();
        for Left { key, record } in these {
            swept.dynos += 1;
            if !sweep_one(&record).await {
                swept.stuck += 1;
            }
            self.remove(&key);
        }
        if swept.dynos > 0 {
            tracing::warn!(
                dynos = swept.dynos,
                stuck = swept.stuck,
                "removed what an earlier runtime left behind"
            );
        }
        swept
    }
}

/// A dyno whose runtime was killed.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) key: String,
    pub(crate) record: Record,
}

/// One that this runtime could go on with.
#[derive(Debug)]
pub(crate) struct Stray {
    pub(crate) left: Left,
    pub(crate) life: LifeRecord,
}

async fn sweep_one(record: &Record) -> bool {
    let family = record.family();
    // The first process last: by its session the others are found.
    let killed = family.kill(KILL_LIMIT).await && family.kill_leader(KILL_LIMIT).await;
    let cleared = record.quarters().is_none_or(|quarters| {
        quarters.remove().map_err(|error| tracing::warn!(%error, "quarters are left behind")).is_ok()
    });
    let removed = match &family.cgroup {
        Some(cgroup) => {
            remove_group(cgroup).await.map_err(|error| tracing::warn!(%error, "a cgroup is left behind"))
        }
        None => Ok(()),
    };
    killed && cleared && removed.is_ok()
}

/// Removes a control group, with patience.
pub(crate) async fn remove_group(cgroup: &Cgroup) -> Result<(), CgroupError> {
    cgroup.remove().await
}

fn default_directory(instance: &str) -> PathBuf {
    let user = rustix::process::geteuid();
    let run = match std::env::var_os("XDG_RUNTIME_DIR") {
        _ if user.is_root() => PathBuf::from("/run/busbar"),
        Some(run) => PathBuf::from(run).join("busbar"),
        None => temporary_directory(),
    };
    run.join(instance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Family, Identity};

    fn options(directory: &Path) -> RuntimeOptions {
        RuntimeOptions { state_directory: Some(directory.to_owned()), ..RuntimeOptions::default() }
    }

    #[test]
    fn two_runtimes_cannot_have_one_state_directory() {
        let directory = tempfile::tempdir().unwrap();
        let held = StateDirectory::open(&options(directory.path())).unwrap();
        assert!(matches!(StateDirectory::open(&options(directory.path())), Err(StateError::InUse(_))));
        drop(held);
        StateDirectory::open(&options(directory.path())).unwrap();
    }

    #[test]
    fn a_state_directory_vanishes_when_nothing_is_written_down_in_it_and_its_lock_is_nobodys_then() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("state");
        let state = StateDirectory::open(&options(&directory)).unwrap();
        let family = Family { leader: None, mark: "x".into(), cgroup: None, apart: false, stays: false };
        state.write("one", &Record::of(&family, None)).unwrap();
        state.vanish();
        assert!(directory.join("dynos/one.json").exists());
        state.remove("one");
        state.vanish();
        assert!(!directory.exists());
        // The next one has a lock of its own, also while the first one still holds what it had.
        let next = StateDirectory::open(&options(&directory)).unwrap();
        assert!(matches!(StateDirectory::open(&options(&directory)), Err(StateError::InUse(_))));
        drop((state, next));
    }

    #[tokio::test]
    async fn a_record_of_another_boot_or_half_a_record_is_forgotten_without_a_signal() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(&options(directory.path())).unwrap();
        let own = Identity::of(i32::try_from(std::process::id()).unwrap());
        let family = Family { leader: own, mark: "x".into(), cgroup: None, apart: false, stays: false };
        let mut old = serde_json::to_value(Record::of(&family, None)).unwrap();
        old["boot"] = "another".into();
        state.write("old", &serde_json::from_value(old).unwrap()).unwrap();
        state.exit_file("old").unwrap();
        fs::write(state.path("half"), b"{\"boot\":").unwrap();
        assert_eq!(state.sweep().await, Swept::default());
        assert_eq!(fs::read_dir(&state.dynos).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_process_that_is_written_down_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(&options(directory.path())).unwrap();
        let mut child = std::process::Command::new("setsid").args(["sleep", "60"]).spawn().unwrap();
        let leader = Identity::of(i32::try_from(child.id()).unwrap());
        // `setsid` makes itself the leader of a session before it executes `sleep`.
        let comm = format!("/proc/{}/comm", child.id());
        while fs::read_to_string(&comm).unwrap().trim() != "sleep" {
            std::thread::yield_now();
        }
        let family = Family { leader, mark: "x".into(), cgroup: None, apart: false, stays: false };
        state.write("one", &Record::of(&family, None)).unwrap();
        assert_eq!(state.sweep().await, Swept { dynos: 1, stuck: 0 });
        assert!(!child.wait().unwrap().success());
    }
}
