//! The root directory that all dynos of a runtime share, read-only: places to mount to, and a small `/etc`.
//!
//! [`Skeleton::make`] builds it once, when the runtime starts, from the stack: a directory with `/usr`, `/bin`, `/etc` …
//! (the machine's own root, unless another one is given). Directories of programs are not copied but mounted
//! ([`Skeleton::stack`]); of `/etc` only what programs need and everybody may read is copied.

use std::{
    fs, io,
    io::Read as _,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Directories of programs and what they share.
const PROGRAMS: [&str; 8] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "opt"];

/// Places to mount to.
const PLACES: [&str; 13] =
    ["app", "dev", "etc", "home", "mnt", "proc", "root", "run", "srv", "sys", "tmp", "var", "var/empty"];

/// What programs look for in `/etc`. None of it is secret; whatever not everybody may read is left out all the same.
const ETC: [&str; 38] = [
    "alternatives",
    "bash.bashrc",
    "bindresvport.blacklist",
    "ca-certificates",
    "ca-certificates.conf",
    "debian_version",
    "default/locale",
    "fonts",
    "gai.conf",
    "host.conf",
    "inputrc",
    "java",
    "java-11-openjdk",
    "java-17-openjdk",
    "java-21-openjdk",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime",
    "magic",
    "magic.mime",
    "mime.types",
    "networks",
    "nsswitch.conf",
    "os-release",
    "perl",
    "php",
    "pki",
    "profile",
    "protocols",
    "python3",
    "python3.11",
    "rpc",
    "services",
    "ssl",
    "timezone",
];

/// `/etc` may not be larger, in bytes.
const MAX_ETC: u64 = 32 << 20;

/// The shared root directory.
#[derive(Debug, Clone)]
pub(crate) struct Skeleton {
    /// Where it is.
    pub(crate) root: PathBuf,
    /// What is mounted read-only, and below which name.
    pub(crate) stack: Vec<(PathBuf, String)>,
}

impl Skeleton {
    /// Builds it at `root`, in place of one that is there. Besides the usual places there are `more`.
    ///
    /// # Errors
    /// A file or directory that cannot be made or read, with its path.
    pub(crate) fn make(root: PathBuf, stack: &Path, more: &[&str]) -> io::Result<Self> {
        match fs::remove_dir_all(&root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(naming(&root, &error)),
            _ => {}
        }
        for place in [""].iter().chain(&PLACES).chain(more) {
            let path = root.join(place);
            let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(&path);
            made.and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
                .map_err(|error| naming(&path, &error))?;
        }
        std::os::unix::fs::symlink("/tmp", root.join("var/tmp"))?;
        let mut mounts = Vec::new();
        for name in PROGRAMS {
            mounts.extend(program_directory(&root, stack, name)?);
        }
        let mut left = MAX_ETC;
        for name in ETC {
            copy(stack, &Path::new("etc").join(name), &root, &mut left)?;
        }
        own_etc(&root.join("etc"))?;
        Ok(Self { root, stack: mounts })
    }
}

/// A directory becomes a place to mount it to; a link (`bin` to `usr/bin`) is made again.
fn program_directory(root: &Path, stack: &Path, name: &str) -> io::Result<Option<(PathBuf, String)>> {
    let source = stack.join(name);
    let Ok(kind) = fs::symlink_metadata(&source) else { return Ok(None) };
    let here = root.join(name);
    if kind.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(&source)?, here)?;
        return Ok(None);
    }
    fs::create_dir(&here)?;
    Ok(kind.is_dir().then(|| (source, name.to_owned())))
}

/// Copies a file, a link or a directory with what is in it, as far as everybody may read it.
fn copy(stack: &Path, name: &Path, root: &Path, left: &mut u64) -> io::Result<()> {
    let (source, here) = (stack.join(name), root.join(name));
    let Ok(found) = fs::symlink_metadata(&source) else { return Ok(()) };
    let readable = |mode: u32| found.mode() & mode == mode;
    if let Some(above) = here.parent() {
        fs::create_dir_all(above)?;
    }
    if found.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(&source)?, here)?;
    } else if found.is_dir() && readable(0o005) {
        fs::create_dir_all(&here)?;
        for entry in fs::read_dir(&source)? {
            copy(stack, &name.join(entry?.file_name()), root, left)?;
        }
    } else if found.is_file() && readable(0o004) && found.len() <= *left {
        *left -= found.len();
        fs::copy(&source, &here).map_err(|error| naming(&source, &error))?;
        fs::set_permissions(&here, fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

/// What is the dynos' own.
fn own_etc(etc: &Path) -> io::Result<()> {
    let hosts = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";
    fs::write(etc.join("hosts"), hosts)?;
    fs::write(etc.join("resolv.conf"), resolvers())?;
    // Each dyno has its own of these.
    fs::write(etc.join("passwd"), "")?;
    fs::write(etc.join("group"), "")?;
    std::os::unix::fs::symlink("/proc/self/mounts", etc.join("mtab"))
}

/// The machine's name servers. Those on its loopback cannot be reached by a dyno; systemd-resolved tells which are
/// behind it.
fn resolvers() -> String {
    let read = |path: &str| {
        let mut text = String::new();
        fs::File::open(path).and_then(|file| file.take(1 << 16).read_to_string(&mut text)).ok()?;
        let local = |line: &str| line.starts_with("nameserver 127.") || line.starts_with("nameserver ::1");
        text.lines().any(|line| line.starts_with("nameserver") && !local(line)).then_some(text)
    };
    read("/etc/resolv.conf").or_else(|| read("/run/systemd/resolve/resolv.conf")).unwrap_or_default()
}

/// The text of `/etc/passwd` and `/etc/group` for a dyno whose user has this number.
pub(crate) fn accounts(user: u32, shell: &str) -> [(&'static str, String); 2] {
    let passwd = format!(
        "root:x:0:0:root:/root:/usr/sbin/nologin\ndyno:x:{user}:{user}:dyno:/app:{shell}\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    );
    [("passwd", passwd), ("group", format!("root:x:0:\ndyno:x:{user}:\nnogroup:x:65534:\n"))]
}

fn naming(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skeleton_has_places_links_and_of_etc_only_what_everybody_may_read() {
        let stack = tempfile::tempdir().unwrap();
        for directory in ["usr/bin", "etc/ssl/private", "etc/ssl/certs", "etc/secrets"] {
            fs::create_dir_all(stack.path().join(directory)).unwrap();
        }
        std::os::unix::fs::symlink("usr/bin", stack.path().join("bin")).unwrap();
        for (file, mode) in [("etc/services", 0o644), ("etc/ssl/private/key", 0o600), ("etc/shadow", 0o644)] {
            fs::write(stack.path().join(file), "x").unwrap();
            fs::set_permissions(stack.path().join(file), fs::Permissions::from_mode(mode)).unwrap();
        }
        let private = stack.path().join("etc/ssl/private");
        fs::set_permissions(private, fs::Permissions::from_mode(0o700)).unwrap();
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("skeleton");
        // Twice: the second one takes the place of the first.
        for _ in 0..2 {
            let made = Skeleton::make(root.clone(), stack.path(), &["more"]).unwrap();
            assert_eq!(made.stack, [(stack.path().join("usr"), "usr".to_owned())]);
        }
        let has = |path: &str| fs::symlink_metadata(root.join(path)).is_ok();
        assert!(
            has("bin")
                && has("usr")
                && has("app")
                && has("more")
                && has("etc/services")
                && has("etc/ssl/certs")
        );
        assert!(!has("etc/ssl/private") && !has("etc/shadow") && !has("etc/secrets"));
    }
}
