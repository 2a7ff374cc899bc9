//! What a dyno has on the machine besides its processes.
//!
//! - A number that no other dyno on this machine has ([`Quarters::take`]). Its user, its address and the name of its
//!   network interface follow from it, so that none of them is ever shared.
//! - A directory on a disk, for what it writes ([`Quarters::furnish`]), and, if it is to have a limit, a disk image.
//!
//! All of it can be written down, and be removed by a later runtime ([`Quarters::remove`]).

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File},
    io,
    io::Write as _,
    net::Ipv4Addr,
    os::{
        fd::AsRawFd as _,
        unix::{
            ffi::OsStringExt as _,
            fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, linkat, openat},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::{network, skeleton};
use crate::{process::boot_id, remove::remove_tree};

/// The first of the users that dynos have: systemd's list of number ranges gives these to nobody.
const FIRST_USER: u32 = 0x7000_0000;
/// As many dynos can one machine have.
const NUMBERS: u16 = 65_000;

/// What a dyno has on the machine besides its processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quarters {
    /// The file that says that its number is taken. Without one it shares its runtime's user and network.
    number: Option<(u16, PathBuf)>,
    /// Whether it has an interface.
    cabled: bool,
    pub(crate) scratch: PathBuf,
}

impl Quarters {
    /// Chooses what is free: a number, if a user of its own is wanted, below `numbers`; a directory below `scratch`.
    ///
    /// # Errors
    /// No number is free, or the directories refuse.
    pub(crate) fn take(numbers: Option<&Path>, cabled: bool, scratch: PathBuf) -> io::Result<Self> {
        let number = numbers.map(|numbers| take_number(numbers, &scratch)).transpose()?;
        Ok(Self { number, cabled, scratch })
    }

    /// Makes its directory: nobody else may look into it.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub(crate) fn furnish(&self, user: u32, shell: &str) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.scratch)?;
        skeleton::accounts(user, shell).iter().try_for_each(|(name, text)| {
            let path = self.scratch.join(name);
            fs::write(&path, text)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o644))
        })
    }

    /// The user of its own.
    pub(crate) fn user(&self) -> Option<u32> {
        self.number.as_ref().map(|(number, _)| FIRST_USER + u32::from(*number))
    }

    /// Its address in the network of all dynos.
    pub(crate) fn address(&self, dynos: Ipv4Addr) -> Option<Ipv4Addr> {
        let (number, _) = self.number.as_ref().filter(|_| self.cabled)?;
        Some(Ipv4Addr::from_bits(dynos.to_bits() + u32::from(*number)))
    }

    /// The machine's end of its cable.
    pub(crate) fn interface(&self) -> Option<String> {
        let (number, _) = self.number.as_ref().filter(|_| self.cabled)?;
        Some(format!("{}{number}", network::PREFIX))
    }

    /// Removes all of it, once no process of the dyno is left.
    ///
    /// # Errors
    /// The first thing that stays; it can be tried again.
    pub(crate) fn remove(&self) -> io::Result<()> {
        if let Some(interface) = self.interface() {
            network::remove(&interface)?;
        }
        remove_tree(&self.scratch)?;
        match &self.number {
            Some((_, file)) => unless_gone(fs::remove_file(file)),
            None => Ok(()),
        }
    }
}

/// A number without a file, which it has from now on. Those of an earlier boot mean nothing.
fn take_number(numbers: &Path, scratch: &Path) -> io::Result<(u16, PathBuf)> {
    let numbers = numbers.join(boot_id());
    DirBuilder::new().recursive(true).mode(0o700).create(&numbers)?;
    let owner = fs::metadata(&numbers)?.uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!("{} belongs to another user", numbers.display())));
    }
    // Whose it is stands there before it is taken: see `forget_numbers`.
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut whose = File::from(openat(CWD, &numbers, flags, Mode::from_raw_mode(0o600))?);
    whose.write_all(scratch.as_os_str().as_encoded_bytes())?;
    let unnamed = format!("/proc/self/fd/{}", whose.as_raw_fd());
    // Not the lowest one: a number that was just given back rests for a while.
    let first = fastrand::u16(..NUMBERS);
    for offset in 0..NUMBERS {
        let number = 1 + first.wrapping_add(offset) % NUMBERS;
        let file = numbers.join(number.to_string());
        match linkat(CWD, &unnamed, CWD, &file, AtFlags::SYMLINK_FOLLOW) {
            Err(Errno::EXIST) => {}
            taken => {
                taken?;
                return Ok((number, file));
            }
        }
    }
    Err(io::Error::other(format!("this machine has {NUMBERS} dynos, and no number for another one")))
}

/// Gives back the numbers of dynos that nobody knows any more, by the directories that were to be theirs.
///
/// # Errors
/// The first one that stays.
pub(super) fn forget_numbers(numbers: &Path, is_lost: impl Fn(&Path) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(numbers.join(boot_id())).into_iter().flatten().flatten() {
        let file = entry.path();
        let whose = PathBuf::from(OsString::from_vec(fs::read(&file).unwrap_or_default()));
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<u16>().ok()) else {
            continue;
        };
        if is_lost(&whose) {
            network::remove(&format!("{}{number}", network::PREFIX))?;
            unless_gone(fs::remove_file(&file))?;
        }
    }
    Ok(())
}

fn unless_gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_have_a_number_or_what_follows_from_it_until_it_is_given_back() {
        let place = tempfile::tempdir().unwrap();
        let take = |name: &str| {
            Quarters::take(Some(&place.path().join("numbers")), true, place.path().join(name)).unwrap()
        };
        let all: Vec<Quarters> = (0..200).map(|nth: i32| take(&nth.to_string())).collect();
        let base = Ipv4Addr::new(10, 253, 0, 0);
        let users: HashSet<_> = all.iter().map(|one| one.user().unwrap()).collect();
        let addresses: HashSet<_> = all.iter().map(|one| one.address(base).unwrap()).collect();
        assert_eq!((users.len(), addresses.len()), (200, 200));
        let interfaces = all.iter().map(|one| one.interface().unwrap());
        assert!(interfaces.into_iter().all(|name| name.len() < 16 && name.starts_with("busbar")));
        forget_numbers(&place.path().join("numbers"), |of| of != place.path().join("7")).unwrap();
        let there = |one: &Quarters| one.number.clone().unwrap().1.exists();
        assert_eq!(all.iter().filter(|one| there(one)).count(), 1);
        assert!(there(&all[7]));
        all[7].remove().unwrap();
        assert!(!there(&all[7]));
    }
}
