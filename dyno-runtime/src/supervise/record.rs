//! What is written down about one dyno, so that the next runtime can remove it, or go on with it.
//!
//! - [`Record`]: what removing needs. Its fields keep their names and meaning for ever, whatever version wrote them.
//! - [`LifeRecord`]: what going on needs, in a version of its own. Of a version that this runtime does not know nothing
//!   is adopted, and all is removed.
//! - [`Fingerprint`]: by which it is seen whether the dyno is what a definition would make now.
//!
//! Config vars are in none of it. A fingerprint is made with a random key that stays in the state directory: without
//! that, nobody who finds a record can try which config vars fit.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use busbar_registry::{AppName, DynoName, Lease};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::{
    cgroup::{Cgroup, Limits},
    config_vars::ConfigVars,
    definition::AppDefinition,
    life::Stage,
    options::RuntimeOptions,
    process::{Family, Identity, boot_id},
    sandbox::quarters::Quarters,
};

/// What is written down about one dyno.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Of another boot nothing can be left.
    boot: String,
    mark: String,
    leader: Option<Identity>,
    cgroup: Option<Cgroup>,
    #[serde(default)]
    apart: bool,
    #[serde(default)]
    stays: bool,
    #[serde(default)]
    quarters: Option<Quarters>,
    /// A [`LifeRecord`], once the dyno is launched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    life: Option<serde_json::Value>,
}

impl Record {
    pub(crate) fn of(family: &Family, quarters: Option<&Quarters>) -> Self {
        let Family { leader, mark, cgroup, apart, stays } = family.clone();
        Self { boot: boot_id(), mark, leader, cgroup, apart, stays, quarters: quarters.cloned(), life: None }
    }

    /// The same, of a dyno that lives.
    pub(crate) fn living(self, life: &LifeRecord) -> Self {
        Self { life: serde_json::to_value(life).ok(), ..self }
    }

    /// Whether something of it can be left.
    pub(crate) fn is_of_this_boot(&self) -> bool {
        self.boot == boot_id()
    }

    pub(crate) fn family(&self) -> Family {
        let Self { mark, leader, cgroup, apart, stays, .. } = self.clone();
        Family { leader, mark, cgroup, apart, stays }
    }

    pub(crate) fn quarters(&self) -> Option<&Quarters> {
        self.quarters.as_ref()
    }

    /// How to go on with it, if that can be done.
    pub(crate) fn life(&self) -> Option<LifeRecord> {
        let life = self.life.as_ref().filter(|_| self.stays)?;
        let known = life.get("version")?.as_u64()? == VERSION;
        known.then(|| LifeRecord::deserialize(life).ok()).flatten()
    }
}

/// Of [`LifeRecord`], and of what a first process holds ([`crate::sandbox::first`]).
const VERSION: u64 = 1;

/// How to go on with a dyno.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LifeRecord {
    version: u64,
    /// Which version of this library wrote it: for whoever wonders.
    written_by: String,
    pub(crate) app: AppName,
    pub(crate) dyno: DynoName,
    pub(crate) generation: u64,
    pub(crate) command: String,
    pub(crate) limits: Limits,
    pub(crate) fingerprint: Fingerprint,
    /// It waited to be let go (preboot).
    pub(crate) held: bool,
    /// It is to end by itself.
    pub(crate) task: bool,
    /// Whether it is worth going on with: nobody was attached to it who is gone now.
    pub(crate) outlives: bool,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) stage: Stage,
    /// When it was launched.
    pub(crate) began: SinceBoot,
    /// When it reached its stage.
    pub(crate) since: SinceBoot,
    /// Its place in the registry.
    pub(crate) lease: Option<Lease>,
}

impl LifeRecord {
    /// A life that begins.
    pub(crate) fn new(app: AppName, dyno: DynoName, generation: u64, command: String) -> Self {
        Self {
            version: VERSION,
            written_by: env!("CARGO_PKG_VERSION").to_owned(),
            app,
            dyno,
            generation,
            command,
            limits: Limits::default(),
            fingerprint: Fingerprint(String::new()),
            held: false,
            task: false,
            outlives: true,
            address: None,
            stage: Stage::Starting,
            began: SinceBoot::now(),
            since: SinceBoot::now(),
            lease: None,
        }
    }
}

/// A moment, by a clock that no runtime and no change of the time of day sets back: milliseconds since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SinceBoot(u64);

impl SinceBoot {
    pub(crate) fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let now = Duration::try_from(now).unwrap_or_default();
        Self(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
    }

    /// How long ago.
    pub(crate) fn age(self) -> Duration {
        self.until(Self::now())
    }

    pub(crate) fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }

    /// The same moment by the time of day, as that is now.
    pub(crate) fn by_the_wall(self) -> SystemTime {
        let now = SystemTime::now();
        now.checked_sub(self.age()).unwrap_or(now)
    }
}

/// What a dyno was made from. Two dynos with the same one, of one runtime's state directory, were made from the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Fingerprint(String);

/// Makes fingerprints.
#[derive(Clone)]
pub(crate) struct Fingerprints([u8; 32]);

impl std::fmt::Debug for Fingerprints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fingerprints")
    }
}

impl Fingerprints {
    /// With the key in this file. If there is none, a new one is made, and no earlier fingerprint will be met again.
    ///
    /// # Errors
    /// It cannot be read or made.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut key = [0; 32];
        let kept = File::open(path).and_then(|mut file| file.read_exact(&mut key));
        if kept.is_err() {
            File::open("/dev/urandom")?.read_exact(&mut key)?;
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
            file.write_all(&key)?;
        }
        Ok(Self(key))
    }

    /// Of a dyno with this command. What the runtime does with it, its limits and times, is not among it: that changes
    /// while it runs.
    pub(crate) fn of(
        &self,
        definition: &AppDefinition,
        command: &str,
        options: &RuntimeOptions,
    ) -> Fingerprint {
        let AppDefinition { name, directory, contents, profile, config_vars, .. } = definition;
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(name.as_str().as_bytes());
        // What is in a directory may have another place than before.
        match contents {
            Some(contents) => part(contents.as_bytes()),
            None => part(directory.as_os_str().as_encoded_bytes()),
        }
        part(command.as_bytes());
        part(&[u8::from(contents.is_some()), u8::from(*profile)]);
        all(config_vars, &mut part);
        let RuntimeOptions { isolation, sandbox, environment, .. } = options;
        part(format!("{isolation} {environment:?}").as_bytes());
        // No dyno of the level `Plain` has any of it.
        if *isolation != crate::options::Isolation::Plain {
            let crate::options::Sandbox { stack, shm, disk, network, dynos, .. } = sandbox;
            part(format!("{} {shm} {disk:?} {network:?} {dynos}", stack.display()).as_bytes());
        }
        Fingerprint(hasher.finalize().to_hex().to_string())
    }
}

fn all(config_vars: &ConfigVars, part: &mut impl FnMut(&[u8])) {
    for (name, value) in config_vars.iter() {
        part(name.as_bytes());
        part(value.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfile::Procfile;

    fn life() -> LifeRecord {
        let (app, dyno) = ("shop".parse().unwrap(), "web.1".parse().unwrap());
        LifeRecord::new(app, dyno, 7, "serve".into())
    }

    fn family(stays: bool) -> Family {
        Family { leader: None, mark: "x".into(), cgroup: None, apart: false, stays }
    }

    #[test]
    fn a_record_of_a_version_nobody_knows_says_how_to_remove_the_dyno_and_not_how_to_go_on() {
        let record = Record::of(&family(true), None).living(&life());
        let mut text = serde_json::to_value(&record).unwrap();
        let read = |text: &serde_json::Value| Record::deserialize(text).unwrap();
        assert_eq!(read(&text).life(), Some(life_like(&record)));
        text["life"]["version"] = 2.into();
        text["life"]["stage"] = "something new".into();
        text["something"] = "new".into();
        assert_eq!((read(&text).life(), read(&text).family().mark), (None, "x".to_owned()));
        // Nobody holds its output.
        assert_eq!(Record::of(&family(false), None).living(&life()).life(), None);
    }

    fn life_like(record: &Record) -> LifeRecord {
        LifeRecord::deserialize(record.life.as_ref().unwrap()).unwrap()
    }

    #[test]
    fn the_same_definition_has_the_same_fingerprint_in_one_state_directory_only_and_shows_no_config_var() {
        let place = tempfile::tempdir().unwrap();
        let key = place.path().join("key");
        let definition = |vars: &[(&str, &str)], directory: &str| {
            let procfile = Procfile::parse("web: serve").unwrap();
            let mut definition = AppDefinition::new("shop".parse().unwrap(), directory.into(), procfile);
            definition.config_vars = vars.iter().copied().collect();
            definition
        };
        let options = RuntimeOptions::default();
        let of =
            |definition: &AppDefinition| Fingerprints::open(&key).unwrap().of(definition, "serve", &options);
        let first = of(&definition(&[("PIN", "1234")], "/app"));
        assert_eq!(first, of(&definition(&[("PIN", "1234")], "/app")));
        assert_ne!(first, of(&definition(&[("PIN", "1235")], "/app")));
        assert_ne!(first, of(&definition(&[("PI", "N1234")], "/app")));
        assert_ne!(first, of(&definition(&[("PIN", "1234")], "/other")));
        let slug = |directory| AppDefinition { contents: Some("abc".into()), ..definition(&[], directory) };
        assert_eq!(of(&slug("/one")), of(&slug("/two")));
        std::fs::remove_file(&key).unwrap();
        assert_ne!(first, of(&definition(&[("PIN", "1234")], "/app")));
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!(std::fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
    }
}
