//! Buildpacks: a source directory becomes a slug, by Heroku's classic contract. docs/buildpacks.md describes it.
//!
//! - [`build()`] with [`BuildOptions`]: detect, compile, release, in a build dyno; what is left is packed. [`BuildError`].
//! - [`Buildpack`]: a directory with `bin/detect`, `bin/compile` and perhaps `bin/release`.
//! - [`Release`]: what `bin/release` says.
//!
//! Within: [`step`] runs one program of a buildpack as a dyno; [`workshop`] is the directory where all of it happens, and
//! [`places`] says where a step sees it; [`cache`] is what a buildpack keeps from one build of an app to the next, and
//! [`voice`] what is said meanwhile.

mod build;
mod cache;
mod places;
mod release;
mod step;
mod voice;
mod workshop;

use std::path::PathBuf;

pub use self::{
    build::{BuildError, BuildOptions, Built, build},
    release::{Release, ReleaseError},
    step::{Ended, StepError, StepName},
};

/// A buildpack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buildpack {
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub from: PackSource,
}

/// Where a buildpack is. It is copied before it is used, so it may be shared and need not be writable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackSource {
    /// In a directory.
    Directory(PathBuf),
    /// In the program that uses it.
    Files(&'static [PackFile]),
}

/// A file of a buildpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackFile {
    /// Its path in the buildpack; what is in `bin/` can be executed.
    pub path: &'static str,
    /// What is in it.
    pub text: &'static str,
}
