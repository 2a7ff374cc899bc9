//! Where an app comes from: a directory, or a slug, which is unpacked into this machine's store.

use std::{
    env,
    path::{Path, PathBuf},
    time::SystemTime,
};

use busbar_registry::AppName;
use dyno_runtime::{
    AppDefinition, Isolation,
    slug::{SlugHash, SlugLimits, SlugStore, StoreBounds, StoredSlug, WorkingCopy, stack_of_this_machine},
    temporary_directory,
};

use crate::{failure::Failure, out};

/// A slug that an app runs from. It stays in the store for as long as this is held.
pub(crate) struct SlugInUse {
    store: SlugStore,
    slug: StoredSlug,
    /// Where dynos have the machine's files. Those that are kept apart change a layer of their own.
    copy: Option<WorkingCopy>,
}

impl SlugInUse {
    /// Unpacks the slug in `file` unless it is in the store already; for dynos that are not kept apart it makes the files
    /// that these share.
    ///
    /// # Errors
    /// [`Failure::Slug`].
    pub(super) fn take(file: &Path, store: Option<&Path>, isolation: Isolation) -> Result<Self, Failure> {
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
        let shared = isolation == Isolation::Plain;
        let copy = shared.then(|| slug.working_copy(slug.manifest().app.as_str())).transpose()?;
        Ok(Self { store, slug, copy })
    }

    /// The app, under another name if one is given.
    ///
    /// # Errors
    /// [`Failure::App`].
    pub(super) fn definition(&self, name: Option<AppName>) -> Result<AppDefinition, Failure> {
        let manifest = self.slug.manifest();
        let name = name.unwrap_or_else(|| manifest.app.clone());
        let (directory, hold) = match &self.copy {
            Some(copy) => (copy.directory().to_owned(), copy.directory().to_owned()),
            None => (self.slug.tree(), self.slug.lock_file()),
        };
        let definition = AppDefinition::from_slug(name, manifest, &directory)?;
        let contents = Some(self.slug.hash().to_string());
        Ok(AppDefinition { hold: Some(hold), contents, ..definition })
    }

    /// Removes what nobody needs any more. What dynos use that a killed runtime left, they hold.
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
    cache.unwrap_or_else(temporary_directory).join("busbar/slugs")
}
