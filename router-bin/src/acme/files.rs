//! What is kept of an ACME server: the account, a certificate for each name, and how the last attempts went.
//!
//! - [`Files`]: one directory for each server; only its owner may enter (0700), and read what is in it (0600). What is
//!   written is there whole or not at all, also after a crash.
//! - [`Files::lock`]: several routers may share the directory; one at a time deals with a name. The registry could be
//!   such a store, too: nothing else here knows that these are files.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// A directory for one server.
#[derive(Debug, Clone)]
pub(super) struct Files(PathBuf);

/// A certificate as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// Key and chain, in PEM.
    pub(super) pem: Vec<u8>,
    /// Another file in its place has another stamp.
    pub(super) stamp: SystemTime,
}

/// How attempts for one name went, so that a restart does not begin anew with them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trouble {
    /// So many failed in a row.
    pub(super) failures: u32,
    /// No further one before this (seconds since 1970).
    pub(super) not_before: u64,
    /// What went wrong last.
    pub(super) error: String,
}

/// Why something cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be {deed}: {}; check its permissions", .path.display(), crate::failure::reason(.source))]
pub(super) struct FileError {
    path: PathBuf,
    deed: &'static str,
    source: io::Error,
}

/// Nobody else deals with a name. Dropped, others may.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "it is held, not used")] File);

impl Files {
    /// Those of the server with this directory address, below `storage`.
    pub(super) fn open(storage: &Path, server: &str) -> Result<Self, FileError> {
        let name = server.strip_prefix("https://").unwrap_or(server);
        let clean = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
        let directory = storage.join(name.trim_end_matches('/').chars().map(clean).collect::<String>());
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(|source| FileError { path: directory.clone(), deed: "made", source })?;
        let files = Self(directory);
        files.check()?;
        Ok(files)
    }

    /// Whether they can be written, so that what is wrong is known before a certificate is lost for it.
    pub(super) fn check(&self) -> Result<(), FileError> {
        self.write("writable", b"")
    }

    /// Where they are.
    pub(super) fn directory(&self) -> &Path {
        &self.0
    }

    /// The file of a name's certificate.
    pub(super) fn certificate_file(&self, name: &str) -> PathBuf {
        self.path(name, "pem")
    }

    fn path(&self, name: &str, kind: &str) -> PathBuf {
        // Names have no slash, and `*` stands only at the beginning.
        self.0.join(format!("{}.{kind}", name.replace('*', "_wildcard")))
    }

    /// The account, as it was written; `None`: there is none yet.
    pub(super) fn account(&self) -> Result<Option<Vec<u8>>, FileError> {
        Ok(read(&self.0.join("account.json"))?.map(|kept| kept.pem))
    }

    /// Keeps an account.
    pub(super) fn keep_account(&self, text: &[u8]) -> Result<(), FileError> {
        self.write("account.json", text)
    }

    /// Puts the account aside.
    pub(super) fn forget_account(&self) -> Result<(), FileError> {
        let path = self.0.join("account.json");
        let moved = fs::rename(&path, self.0.join("account.lost.json"));
        moved.map_err(|source| FileError { path, deed: "put aside", source })
    }

    /// A name's key and chain; `None`: there are none yet.
    pub(super) fn certificate(&self, name: &str) -> Result<Option<Kept>, FileError> {
        read(&self.certificate_file(name))
    }

    /// Keeps them.
    pub(super) fn keep_certificate(&self, name: &str, pem: &[u8]) -> Result<(), FileError> {
        self.write(&file_name(&self.certificate_file(name)), pem)
    }

    /// How attempts for a name went so far.
    pub(super) fn trouble(&self, name: &str) -> Trouble {
        let kept = read(&self.path(name, "trouble")).ok().flatten();
        kept.and_then(|kept| serde_json::from_slice(&kept.pem).ok()).unwrap_or_default()
    }

    /// Keeps that; no trouble is no file.
    pub(super) fn keep_trouble(&self, name: &str, trouble: &Trouble) -> Result<(), FileError> {
        let path = self.path(name, "trouble");
        if trouble.failures == 0 {
            return match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    Err(FileError { path, deed: "removed", source })
                }
                _ => Ok(()),
            };
        }
        self.write(&file_name(&path), &serde_json::to_vec(trouble).unwrap_or_default())
    }

    /// Keeps nothing for a name that has no certificate and is to get none.
    pub(super) fn forget(&self, name: &str) -> Result<(), FileError> {
        self.keep_trouble(name, &Trouble::default())?;
        if let Some(_lock) = self.lock(name)? {
            let path = self.path(name, "lock");
            fs::remove_file(&path).map_err(|source| FileError { path, deed: "removed", source })?;
        }
        Ok(())
    }

    /// The names that a certificate is kept for.
    pub(super) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| Some(name.strip_suffix(".pem")?.replace("_wildcard", "*"))).collect()
    }

    /// Nobody else deals with `name` while this is held; `None`: somebody does.
    pub(super) fn lock(&self, name: &str) -> Result<Option<Lock>, FileError> {
        let path = self.path(name, "lock");
        let failed = |source| FileError { path: path.clone(), deed: "locked", source };
        let mut how = File::options();
        let file = how.create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(failed(errno.into())),
        }
    }

    /// A new file beside the old one, on the disk, then in its place.
    fn write(&self, name: &str, text: &[u8]) -> Result<(), FileError> {
        let path = self.0.join(name);
        let new = self.0.join(format!(".{name}.{}", std::process::id()));
        let written = (|| {
            let _left_by_a_crash = fs::remove_file(&new);
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(text)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.0)?.sync_all()
        })();
        written.map_err(|source| FileError { path, deed: "written", source })
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<Option<Kept>, FileError> {
    let failed = |source| FileError { path: path.to_owned(), deed: "read", source };
    let stamp = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        data => data.and_then(|data| data.modified()).map_err(failed)?,
    };
    Ok(Some(Kept { pem: fs::read(path).map_err(failed)?, stamp }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn open(storage: &tempfile::TempDir) -> Files {
        Files::open(&storage.path().join("acme"), "https://ca.example:14000/dir").unwrap()
    }

    #[test]
    fn what_is_kept_is_for_its_owner_alone() {
        let storage = tempfile::tempdir().unwrap();
        let files = open(&storage);
        files.keep_certificate("*.a.example", b"pem").unwrap();
        files.keep_account(b"account").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(files.directory()), 0o700);
        for entry in fs::read_dir(files.directory()).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
        assert!(files.directory().ends_with("acme/ca.example_14000_dir"));
        assert_eq!(files.certificate("*.a.example").unwrap().unwrap().pem, b"pem");
        assert_eq!(files.names(), ["*.a.example"]);
        assert_eq!(files.certificate("a.example").unwrap(), None);
    }

    #[test]
    fn one_at_a_time_deals_with_a_name() {
        let storage = tempfile::tempdir().unwrap();
        let (one, other) = (open(&storage), open(&storage));
        let lock = one.lock("a.example").unwrap();
        assert!(lock.is_some() && other.lock("a.example").unwrap().is_none());
        assert!(other.lock("b.example").unwrap().is_some());
        drop(lock);
        assert!(other.lock("a.example").unwrap().is_some());
    }

    #[test]
    fn trouble_outlives_a_restart_and_ends_with_success() {
        let storage = tempfile::tempdir().unwrap();
        let trouble = Trouble { failures: 3, not_before: 7, error: "no".into() };
        open(&storage).keep_trouble("a.example", &trouble).unwrap();
        assert_eq!(open(&storage).trouble("a.example"), trouble);
        open(&storage).keep_trouble("a.example", &Trouble::default()).unwrap();
        open(&storage).keep_trouble("a.example", &Trouble::default()).unwrap();
        assert_eq!(open(&storage).trouble("a.example"), Trouble::default());
    }
}
