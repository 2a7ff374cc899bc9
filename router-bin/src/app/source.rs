//! Where an app comes from: a directory, or a slug, which is unpacked into this machine's store.

use std::{
    env,
    path::{Path, PathBuf},
    time::SystemTime,
};

use busbar_registry::AppName;
use dyno_runtime::{
    AppDefinition,
    slug::{SlugHash, SlugLimits, SlugStore, StoreBounds, StoredSlug, WorkingCopy, stack_of_this_machine},
};

use crate::{failure::Failure, out};

/// A slug that an app runs from. It stays in the store for as long as this is held.
pub(crate) struct SlugInUse {
    store: SlugStore,
    slug: StoredSlug,
    copy: WorkingCopy,
}

impl SlugInUse {
    /// Unpacks the slug in `file` unless it is in the store already, and makes the files that its dynos share.
    ///
    /// # Errors
    /// [`Failure::Slug`].
    pub(super) fn take(file: &Path, store: Option<&Path>) -> Result<Self, Failure> {
        let store = SlugStore::open(&store.map_or_else(usual_store, Path::to_owned))?;
        let bar = out::progress("unpacking");
        let expected = SlugHash::of_file_name(file);
        let added = store.add(file, &SlugLimits::default(), expected, &mut |done, all| {
            bar.set_length(all);
            bar.set_position(done);
        });
        bar.finish_and_clear();
        let slug = added?;
        let (made_on, here) = (&slug.manifest().stack, stack_of_this_machine());
        if *made_on != here {
            out::note(format_args!(
                "the slug was made on {made_on}, and this is {here}; what was built there may not run"
            ));
        }
        let copy = slug.working_copy(slug.manifest().app.as_str())?;
        Ok(Self { store, slug, copy })
    }

    /// The app, under another name if one is given.
    ///
    /// # Errors
    /// [`Failure::App`].
    pub(super) fn definition(&self, name: Option<AppName>) -> Result<AppDefinition, Failure> {
        let manifest = self.slug.manifest();
        let name = name.unwrap_or_else(|| manifest.app.clone());
        Ok(AppDefinition::from_slug(name, manifest, self.copy.directory())?)
    }

    /// Removes what nobody needs any more: when the dynos of a runtime that was killed are gone, so are theirs.
    pub(super) fn tidy(&self) {
        let swept = self.store.sweep_copies();
        let collected = self.store.collect(&StoreBounds::default(), SystemTime::now());
        for error in [swept.err(), collected.err()].into_iter().flatten() {
            out::note(format_args!("the store of slugs is not tidy: {error}"));
        }
    }
}

/// `/var/lib/busbar/slugs` for root, otherwise `$XDG_CACHE_HOME/busbar/slugs`, which is mostly in `~/.cache`.
fn usual_store() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return "/var/lib/busbar/slugs".into();
    }
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let nowhere = || env::temp_dir().join(format!("busbar-{}", rustix::process::geteuid().as_raw()));
    cache.unwrap_or_else(nowhere).join("busbar/slugs")
}
