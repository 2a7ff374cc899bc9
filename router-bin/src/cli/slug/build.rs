//! `busbar slug build`

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use busbar_registry::AppName;
use dyno_runtime::slug::{PackOptions, Packed, SlugError, SlugHash, SlugLimits, pack};

use crate::{app::name_of, config::units::scaled, failure::Failure, out, say};

/// Make a slug of a directory as it is; `busbar build` runs buildpacks first
#[derive(Debug, clap::Args)]
pub(crate) struct Build {
    /// The directory with the Procfile; what .slugignore lists is left out
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// The slug [default: HASH.slug, here]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The app's name [default: the name of the directory]
    #[arg(long, env = "BUSBAR_APP", value_name = "NAME")]
    app: Option<AppName>,
    /// The largest slug that is made, like 300MiB [default: 500MiB]
    #[arg(long, value_name = "SIZE")]
    max_size: Option<MaxSize>,
    /// What was packed, like a commit; it is written into the slug
    #[arg(long, env = "SOURCE_VERSION", value_name = "TEXT")]
    source_version: Option<String>,
}

/// A number of bytes as written, up to 64 GiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaxSize(pub(crate) u64);

impl FromStr for MaxSize {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        scaled(text, &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)])
            .filter(|bytes| (1..=64 << 30).contains(bytes))
            .map(Self)
            .ok_or("write a whole number and KiB, MiB or GiB, up to 64GiB, like 500MiB")
    }
}

impl Build {
    pub(super) fn run(self) -> Result<(), Failure> {
        let app = self.app.map_or_else(|| name_of(&self.directory), Ok)?;
        let mut options = PackOptions { source_version: self.source_version, ..PackOptions::new(app) };
        if let Some(MaxSize(most)) = self.max_size {
            options.limits.compressed = most;
        }
        out::print(&packed(self.output, &options.limits, |beside, name, progress| {
            pack(&self.directory, &options, beside, name, progress)
        })?)
    }
}

/// What names a slug when its hash is known.
type Name = Box<dyn FnOnce(&SlugHash) -> PathBuf>;

/// Packs, showing how far it is. Returns what was made, in words. `output`: without, it is `<hash>.slug`.
pub(crate) fn packed(
    output: Option<PathBuf>,
    limits: &SlugLimits,
    pack: impl FnOnce(&Path, Name, &mut dyn FnMut(u64, u64)) -> Result<Packed, SlugError>,
) -> Result<String, Failure> {
    let beside = match output.as_deref().and_then(Path::parent) {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let bar = out::progress("packing");
    let name: Name = Box::new(|hash| output.unwrap_or_else(|| format!("{hash}.slug").into()));
    let made = pack(&beside, name, &mut |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let Packed { file, hash, compressed, manifest } = made?;
    if let Some(near) = nearly(compressed, limits) {
        out::note(near);
    }
    Ok(say::slug::summary(&file, &hash, compressed, &manifest))
}

/// Heroku says so from about two thirds on.
fn nearly(compressed: u64, limits: &SlugLimits) -> Option<String> {
    let near = compressed > limits.compressed / 3 * 2;
    near.then(|| format!("the slug is near its limit of {}", say::slug::bytes(limits.compressed)))
}
