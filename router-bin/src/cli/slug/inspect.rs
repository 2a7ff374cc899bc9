//! `busbar slug inspect`

use std::path::PathBuf;

use dyno_runtime::slug::{Contents, SlugHash, SlugLimits, inspect_with};
use serde::Serialize;

use super::build::MaxSize;
use crate::{failure::Failure, out, say};

/// Check a slug, every byte of it, and show what is in it
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// The slug
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Every entry too
    #[arg(long)]
    entries: bool,
    /// The hash it must have [default: the one that is its file's name]
    #[arg(long, value_name = "HASH")]
    hash: Option<SlugHash>,
    /// The largest slug that is read, like 1GiB [default: 500MiB]
    #[arg(long, value_name = "SIZE")]
    max_size: Option<MaxSize>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    hash: String,
    compressed: u64,
    manifest: &'a dyno_runtime::slug::Manifest,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<Entry>>,
}

#[derive(Serialize)]
struct Entry {
    path: String,
    kind: &'static str,
    size: u64,
}

impl Inspect {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut limits = SlugLimits::default();
        limits.compressed = self.max_size.map_or(limits.compressed, |MaxSize(most)| most);
        let expected = self.hash.or_else(|| SlugHash::of_file_name(&self.file));
        let mut entries = Vec::new();
        let found = inspect_with(&self.file, &limits, expected, &mut |entry| {
            if self.entries {
                entries.push(Entry { path: entry.path.to_owned(), kind: kind(entry.kind), size: entry.size });
            }
        });
        let Contents { hash, compressed, manifest } = found?;
        if self.json {
            let entries = self.entries.then_some(entries);
            return out::print_json(&Shown {
                hash: hash.to_string(),
                compressed,
                manifest: &manifest,
                entries,
            });
        }
        let mut text = say::slug::summary(&self.file, &hash, compressed, &manifest);
        text.extend(
            entries.iter().map(|entry| format!("{:>12}  {:<10}  {}\n", entry.size, entry.kind, entry.path)),
        );
        out::print(&text)
    }
}

fn kind(letter: char) -> &'static str {
    match letter {
        'd' => "directory",
        'l' => "symlink",
        'x' => "executable",
        _ => "file",
    }
}
