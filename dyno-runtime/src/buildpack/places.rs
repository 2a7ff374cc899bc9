//! Where the steps of a build find what.
//!
//! On the machine all of it is in the workshop, but the cache. A step that is kept apart has it at fixed places of its own
//! root instead, and nothing else of the machine's: what it may change is the app, the cache, and, while it compiles, its
//! own buildpack, which may leave an `export` beside its `bin`.

use std::path::{Path, PathBuf};

use super::workshop::Workshop;
use crate::sandbox::content::{Content, Place};

/// In the root of a build dyno.
const BUILD: &str = "build";
const CACHE: &str = "cache";
const ENV: &str = "env";
const PACKS: &str = "buildpacks";
/// What of it has to be there to mount to; the others every dyno has.
pub(super) const IN_ROOT: [&str; 4] = [BUILD, CACHE, ENV, PACKS];

/// The directories of a build as its steps see them.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) build: PathBuf,
    pub(super) cache: PathBuf,
    pub(super) env: PathBuf,
    pub(super) home: PathBuf,
    pub(super) tmp: PathBuf,
    pub(super) packs: PathBuf,
}

impl Places {
    /// For steps that have the machine's files.
    pub(super) fn of_machine(workshop: &Workshop, cache: &Path) -> Self {
        Self {
            build: workshop.build(),
            cache: cache.to_owned(),
            env: workshop.env(),
            home: workshop.home(),
            tmp: workshop.tmp(),
            packs: workshop.packs(),
        }
    }

    /// For steps with a root of their own.
    pub(super) fn of_dyno() -> Self {
        let at = |name: &str| Path::new("/").join(name);
        Self {
            build: at(BUILD),
            cache: at(CACHE),
            env: at(ENV),
            home: at("app"),
            tmp: at("tmp"),
            packs: at(PACKS),
        }
    }
}

/// What is mounted for a step; `compiling`: the directory of the buildpack that may write beside itself.
pub(super) fn content(workshop: &Workshop, cache: &Path, compiling: Option<&str>) -> Content {
    let place =
        |from: PathBuf, at: &str, writable| Place { from: workshop.from(from), at: at.to_owned(), writable };
    let mut places = vec![
        place(workshop.build(), BUILD, true),
        place(cache.to_owned(), CACHE, true),
        place(workshop.env(), ENV, false),
        place(workshop.home(), "app", true),
        place(workshop.tmp(), "tmp", true),
        place(workshop.packs(), PACKS, false),
    ];
    let own = compiling.map(|pack| place(workshop.packs().join(pack), &format!("{PACKS}/{pack}"), true));
    places.extend(own);
    Content::Places(places)
}
