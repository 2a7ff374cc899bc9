//! The buildpacks that are in this program, and those of directories.

use std::path::{Path, PathBuf};

use dyno_runtime::buildpack::{Buildpack, PackFile, PackSource};

use crate::failure::Failure;

macro_rules! pack {
    ($name:literal: $($path:literal),+ $(,)?) => {
        ($name, &[$(PackFile {
            path: $path,
            text: include_str!(concat!("../../buildpacks/", $name, "/", $path)),
        }),+])
    };
}

/// In the order in which an app is shown to them.
const SHIPPED: [(&str, &[PackFile]); 2] = [
    pack!("python": "bin/detect", "bin/compile", "bin/release"),
    pack!("static": "bin/detect", "bin/compile", "bin/release", "server.py"),
];

/// All of them.
pub(crate) fn shipped() -> Vec<Buildpack> {
    SHIPPED.iter().map(|(name, files)| in_program(name, files)).collect()
}

fn in_program(name: &str, files: &'static [PackFile]) -> Buildpack {
    Buildpack { name: name.to_owned(), from: PackSource::Files(files) }
}

/// The one that somebody names: one of ours, or a directory, relative to `base`.
///
/// # Errors
/// [`Failure::Usage`].
pub(crate) fn named(text: &str, base: &Path) -> Result<Buildpack, Failure> {
    if let Some((name, files)) = SHIPPED.iter().find(|(name, _)| *name == text) {
        return Ok(in_program(name, files));
    }
    let directory: PathBuf = base.join(text);
    if directory.join("bin").is_dir() {
        let name = directory.canonicalize().unwrap_or_else(|_| directory.clone());
        let name = name.file_name().unwrap_or(name.as_os_str()).to_string_lossy().into_owned();
        return Ok(Buildpack { name, from: PackSource::Directory(directory) });
    }
    let ours: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
    Err(Failure::Usage(format!(
        "there is no buildpack {text:?}: name one of {}, or a directory with bin/detect and bin/compile (get one from \
         elsewhere first, for example with git clone)",
        ours.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buildpack_is_one_of_ours_or_a_directory() {
        let base = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(base.path().join("mine/bin")).unwrap();
        assert_eq!(named("python", base.path()).unwrap(), shipped()[0]);
        assert_eq!(named("./mine", base.path()).unwrap().name, "mine");
        for unknown in ["heroku/python", "https://example.com/pack.git", ""] {
            assert!(matches!(named(unknown, base.path()), Err(Failure::Usage(_))), "{unknown}");
        }
    }
}
