//! The disk behind a directory, as block controllers name it.

use std::{fmt, fs, os::unix::fs::MetadataExt as _, path::Path};

use super::error::CgroupError;

/// A whole disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    major: u32,
    minor: u32,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl Disk {
    /// The disk that holds `directory`; of a partition, the disk it is part of, because only that can be limited.
    ///
    /// # Errors
    /// [`CgroupError::NoDisk`].
    pub fn of(directory: &Path) -> Result<Self, CgroupError> {
        let none = || CgroupError::NoDisk(directory.to_owned());
        let device = fs::metadata(directory).map_err(|_| none())?.dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let entry = Path::new("/sys/dev/block").join(format!("{major}:{minor}"));
        if !entry.exists() {
            return Err(none());
        }
        let whole = if entry.join("partition").exists() { entry.join("../dev") } else { entry.join("dev") };
        let text = fs::read_to_string(whole).map_err(|_| none())?;
        let (major, minor) = text.trim().split_once(':').ok_or_else(none)?;
        let number = |text: &str| text.parse().map_err(|_| none());
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_on_no_disk() {
        assert!(matches!(Disk::of(Path::new("/proc")), Err(CgroupError::NoDisk(_))));
        assert!(matches!(Disk::of(Path::new("/no/such/directory")), Err(CgroupError::NoDisk(_))));
    }
}
