//! A directory for this user alone, in one where everybody can make some, such as `/tmp`.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

/// `/tmp/busbar-UID`, for a user who has no other place. It is not made here.
#[must_use]
pub fn temporary_directory() -> PathBuf {
    std::env::temp_dir().join(format!("busbar-{}", rustix::process::geteuid().as_raw()))
}

/// Makes a directory that nobody else can change, if it is not there.
///
/// # Errors
/// There is something of that name which somebody else made or can change: what is in it could be anything.
pub fn private_directory(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    // Not what a link leads to, which can be another place the next time.
    let there = fs::symlink_metadata(directory)?;
    let own = there.uid() == rustix::process::geteuid().as_raw() && there.mode() & 0o022 == 0;
    if there.is_dir() && own {
        return Ok(());
    }
    Err(io::Error::other(format!("{} is not this user's alone; remove it", directory.display())))
}

/// Whether this file is what is at that path.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().map(inode).ok() == fs::symlink_metadata(path).map(inode).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_directory_that_others_can_change_or_that_is_a_link_is_not_private() {
        let place = tempfile::tempdir().unwrap();
        let (own, link, open) =
            (place.path().join("own"), place.path().join("link"), place.path().join("open"));
        private_directory(&own).unwrap();
        private_directory(&own).unwrap();
        assert_eq!(fs::metadata(&own).unwrap().mode() & 0o777, 0o700);
        std::os::unix::fs::symlink(&own, &link).unwrap();
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        for other in [link, open] {
            let refused = private_directory(&other).unwrap_err().to_string();
            assert!(refused.contains("is not this user's alone"), "{refused}");
        }
    }
}
