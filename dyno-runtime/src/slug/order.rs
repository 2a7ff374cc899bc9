//! Which names a slug may have, and in which order. Pure.
//!
//! - [`components`]: the names of a path, each of which is a plain name.
//! - [`Order`]: entries come sorted, each behind its directory. So none is there twice, nothing is below a symlink, and
//!   only the directories that are open have to be remembered.

use std::{cmp::Ordering, collections::HashMap};

use super::{
    error::Refusal,
    limits::{MAX_DEPTH, MAX_NAME, MAX_PATH},
};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    Symlink,
}

/// Where an entry goes: some directories end, then it is made in the last one that is open.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<'p> {
    /// So many of the open directories end before it.
    pub(super) closed: usize,
    /// Its name there.
    pub(super) name: &'p str,
}

/// The names of a path. A directory may be written with a slash at its end.
pub(super) fn components(path: &[u8], kind: Kind) -> Result<Vec<&str>, Refusal> {
    let path = match path.strip_suffix(b"/") {
        Some(directory) if kind == Kind::Directory => directory,
        _ => path,
    };
    if path.len() > MAX_PATH {
        return Err(Refusal::PathTooLong);
    }
    if path.starts_with(b"/") {
        return Err(Refusal::Absolute);
    }
    let path = std::str::from_utf8(path).map_err(|_| Refusal::NotUtf8)?;
    let names: Vec<&str> = path.split('/').collect();
    names.iter().try_for_each(|name| plain(name))?;
    if names.len() > MAX_DEPTH { Err(Refusal::TooDeep) } else { Ok(names) }
}

fn plain(name: &str) -> Result<(), Refusal> {
    match name {
        "" | "." => Err(Refusal::Dot),
        ".." => Err(Refusal::Parent),
        _ if name.len() > MAX_NAME => Err(Refusal::NameTooLong),
        _ if name.chars().any(char::is_control) => Err(Refusal::Control),
        _ => Ok(()),
    }
}

/// The directories that are open, and what came last in each.
#[derive(Debug)]
pub(super) struct Order {
    open: Vec<Directory>,
}

#[derive(Debug, Default)]
struct Directory {
    name: String,
    last: Option<(String, Kind)>,
    /// Each name as it is where case does not count, and as it is.
    folded: HashMap<String, String>,
}

impl Order {
    pub(super) fn new() -> Self {
        Self { open: vec![Directory::default()] }
    }

    /// Takes the next entry.
    pub(super) fn next<'p>(&mut self, names: &[&'p str], kind: Kind) -> Result<Place<'p>, Refusal> {
        let Some((name, parents)) = names.split_last() else { return Err(Refusal::Dot) };
        for (depth, parent) in parents.iter().enumerate() {
            let is_open = self.open.get(depth + 1).is_some_and(|directory| directory.name == *parent);
            if !is_open {
                return Err(self.open.get(depth).map_or(Refusal::NoParent, |above| above.why_closed(parent)));
            }
        }
        let closed = self.open.len().saturating_sub(parents.len() + 1);
        self.open.truncate(parents.len() + 1);
        let Some(directory) = self.open.last_mut() else { return Err(Refusal::NoParent) };
        directory.take(name, kind)?;
        if kind == Kind::Directory {
            self.open.push(Directory { name: (*name).to_owned(), ..Directory::default() });
        }
        Ok(Place { closed, name })
    }
}

impl Directory {
    fn take(&mut self, name: &str, kind: Kind) -> Result<(), Refusal> {
        match self.last.as_ref().map(|(last, _)| last.as_bytes().cmp(name.as_bytes())) {
            Some(Ordering::Equal) => return Err(Refusal::Duplicate),
            Some(Ordering::Greater) => return Err(Refusal::OutOfOrder),
            Some(Ordering::Less) | None => {}
        }
        if let Some(other) = self.folded.insert(name.to_lowercase(), name.to_owned()) {
            return Err(Refusal::CaseFold(other));
        }
        self.last = Some((name.to_owned(), kind));
        Ok(())
    }

    /// Why nothing can be made in `name` now.
    fn why_closed(&self, name: &str) -> Refusal {
        let Some((last, kind)) = &self.last else { return Refusal::NoParent };
        match last.as_bytes().cmp(name.as_bytes()) {
            Ordering::Greater => Refusal::OutOfOrder,
            Ordering::Less => Refusal::NoParent,
            Ordering::Equal => match kind {
                Kind::Symlink => Refusal::ThroughSymlink,
                Kind::File => Refusal::ThroughFile,
                Kind::Directory => Refusal::OutOfOrder,
            },
        }
    }
}
