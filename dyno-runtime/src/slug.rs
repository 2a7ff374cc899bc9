//! Slugs: an app's files in one file that is the same everywhere, named by its hash. docs/slugs.md describes the format.
//!
//! - [`pack()`]: a directory becomes a slug; the same files are the same bytes. [`ignored`]: what is left out.
//! - [`inspect`]: what is in a slug; everything is checked, nothing is written.
//! - [`SlugStore`]: each slug is unpacked once per machine, and shared by all dynos that run it.
//! - [`Manifest`]: what a slug says about itself. [`SlugHash`]: its name. [`SlugLimits`]: how large it may be.
//! - [`SlugError`], [`Refusal`]: why it was refused.
//!
//! Within: [`order`] decides about names, without side effects; [`read`](mod@read) takes a slug apart and checks it;
//! [`tree`] writes what was found, relative to directories that are open, never along a path.

mod error;
mod hash;
pub mod ignored;
mod limits;
mod manifest;
mod order;
mod pack;
mod read;
mod stack;
mod store;
mod tree;
mod walk;

#[cfg(test)]
mod tests;

pub use self::{
    error::{Refusal, SlugError},
    hash::SlugHash,
    limits::SlugLimits,
    manifest::{Manifest, ManifestError},
    pack::{PackOptions, Packed, pack},
    read::{Contents, inspect, inspect_with},
    stack::stack_of_this_machine,
    store::{Collected, SlugStore, StoreBounds, StoredSlug, WorkingCopy},
};
pub(crate) use self::{pack::pack_unless, walk::files};

/// What a slug's first entry is called.
pub const MANIFEST_NAME: &str = "slug.json";
/// The directory of the app's files within a slug, as within a dyno.
pub const TREE: &str = "app";
