//! The directory where a build happens, which goes with it.
//!
//! ```text
//! <workshop>/build/            the app's files, as they become the slug
//! <workshop>/env/              one file for each config var, for who builds only
//! <workshop>/packs/0-python/   each buildpack, copied, since it may write its `export` beside itself
//! <workshop>/home/, tmp/       where programs put what nobody keeps
//! <workshop>/cache/            a copy of the cache, if this is a disk
//! ```
//!
//! It can be a disk of its own, which the build can fill and no more. That is mounted nowhere but seen through a file that
//! this process holds open: nothing of it can be left behind.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, symlink},
    },
    path::{Path, PathBuf},
};

use super::{BuildError, Buildpack, PackSource};
use crate::{
    config_vars::ConfigVars,
    remove::remove_tree,
    sandbox::disk::Disk,
    slug::{self, SlugLimits, ignored::Ignored},
};

#[derive(Debug)]
pub(super) struct Workshop {
    root: PathBuf,
    disk: Option<(Disk, OwnedFd)>,
}

impl Workshop {
    /// Makes it, for nobody else to look into. What a build of this app that was killed has left is removed.
    pub(super) fn open(beside: &Path, app: &str, disk: Option<Disk>) -> Result<Self, BuildError> {
        fs::create_dir_all(beside).map_err(BuildError::file("make the directory", beside))?;
        let beside = fs::canonicalize(beside).map_err(BuildError::file("look at", beside))?;
        let prefix = format!("busbar-build-{app}-");
        sweep(&beside, &prefix).map_err(BuildError::file("sweep", &beside))?;
        let workshop = match disk {
            None => {
                let root = beside.join(format!("{prefix}{:016x}", fastrand::u64(..)));
                let made = DirBuilder::new().mode(0o700).create(&root);
                made.map_err(BuildError::file("make the directory", &root))?;
                Self { root, disk: None }
            }
            Some(disk) => {
                let mount = disk.mount().map_err(BuildError::file("mount", &disk.device))?;
                let root = format!("/proc/self/fd/{}", mount.as_raw_fd()).into();
                Self { root, disk: Some((disk, mount)) }
            }
        };
        let cache = workshop.cache();
        for directory in
            [workshop.build(), workshop.env(), workshop.home(), workshop.tmp()].iter().chain(&cache)
        {
            let made = DirBuilder::new().mode(0o700).create(directory);
            made.map_err(BuildError::file("make the directory", directory))?;
        }
        let packs = workshop.packs();
        fs::create_dir(&packs).map_err(BuildError::file("make the directory", packs))?;
        Ok(workshop)
    }

    pub(super) fn packs(&self) -> PathBuf {
        self.root.join("packs")
    }

    /// The disk that it is.
    pub(super) fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref().map(|(disk, _)| disk)
    }

    /// Where the cache is copied to, if this is a disk.
    pub(super) fn cache(&self) -> Option<PathBuf> {
        self.disk.as_ref().map(|_| self.root.join("cache"))
    }

    /// A path of the workshop as a step is told it: if this is a disk, the path there.
    pub(super) fn from(&self, path: PathBuf) -> PathBuf {
        match path.strip_prefix(&self.root) {
            Ok(there) if self.disk.is_some() => there.to_owned(),
            _ => path,
        }
    }

    pub(super) fn build(&self) -> PathBuf {
        self.root.join("build")
    }

    pub(super) fn env(&self) -> PathBuf {
        self.root.join("env")
    }

    pub(super) fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Copies the app's files to `build`, without what it ignores.
    pub(super) fn fill(&self, source: &Path, limits: &SlugLimits) -> Result<(), BuildError> {
        let ignored = Ignored::of(source).map_err(slug::SlugError::from)?;
        copy(source, &self.build(), &ignored, limits)
    }

    /// Copies a buildpack, and says what its directory in [`Self::packs`] is called.
    pub(super) fn bring(&self, nth: usize, pack: &Buildpack) -> Result<String, BuildError> {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = pack.name.chars().map(plain).take(40).collect();
        let name = format!("{nth}-{name}");
        let to = self.packs().join(&name);
        fs::create_dir(&to).map_err(BuildError::file("make the directory", &to))?;
        match &pack.from {
            PackSource::Directory(from) => copy(from, &to, &Ignored::nothing(), &SlugLimits::default())?,
            PackSource::Files(files) => {
                let written = files.iter().try_for_each(|file| write(&to.join(file.path), file.text));
                written.map_err(BuildError::file("write", &to))?;
            }
        }
        Ok(name)
    }

    /// Writes config vars where a buildpack reads them.
    pub(super) fn tell(&self, vars: &ConfigVars) -> Result<(), BuildError> {
        for (name, value) in vars.iter() {
            let path = self.env().join(name);
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            let written = file.and_then(|mut file| file.write_all(value.as_bytes()));
            written.map_err(BuildError::file("write", &path))?;
        }
        Ok(())
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // The disk goes with the last file that is open on it.
        if self.disk.is_none()
            && let Err(error) = remove_tree(&self.root)
        {
            tracing::warn!(%error, directory = %self.root.display(), "a build left its directory");
        }
    }
}

/// Removes this user's directories with that prefix and a number.
fn sweep(beside: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(beside)? {
        let entry = entry?;
        let is_number = |rest: &str| rest.len() == 16 && rest.bytes().all(|b| b.is_ascii_hexdigit());
        if !entry.file_name().to_str().and_then(|name| name.strip_prefix(prefix)).is_some_and(is_number) {
            continue;
        }
        // In a directory for everybody it may be somebody else's, and is not ours to touch then.
        let ours = |metadata: fs::Metadata| metadata.uid() == rustix::process::geteuid().as_raw();
        if entry.metadata().is_ok_and(ours) {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory)?;
    let mode = if directory.ends_with("bin") { 0o755 } else { 0o644 };
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(text.as_bytes())
}

fn copy(from: &Path, to: &Path, ignored: &Ignored, limits: &SlugLimits) -> Result<(), BuildError> {
    for (relative, source) in slug::files(from, ignored, limits)? {
        let target = to.join(&relative);
        let metadata = fs::symlink_metadata(&source).map_err(BuildError::file("look at", &source))?;
        let made = match () {
            () if metadata.is_dir() => fs::create_dir(&target),
            () if metadata.is_symlink() => fs::read_link(&source).and_then(|link| symlink(link, &target)),
            () => fs::copy(&source, &target).map(drop),
        };
        made.map_err(BuildError::file("copy", &source))?;
    }
    Ok(())
}
