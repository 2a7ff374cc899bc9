//! What a slug keeps, and what it keeps out.
//!
//! - [`evil`]: archives that nobody should unpack: each is refused by name, and nothing is written. [`mutation`]: archives
//!   with random damage.
//! - [`packing`]: the same files are the same bytes, and come out as they went in.
//! - [`storing`]: once per machine, whole or not at all.

mod evil;
mod mutation;
mod packing;
mod storing;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{PackOptions, Packed, SlugError, pack};

/// A directory with these files; a name that ends in `*` is one that can be executed, `a -> b` a symlink.
fn app(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(directory.path(), name, text);
    }
    directory
}

fn write(directory: &Path, name: &str, text: &str) {
    if let Some((name, target)) = name.split_once(" -> ") {
        return symlink(target, directory.join(name)).unwrap();
    }
    let path = directory.join(name.trim_end_matches('*'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    let mode = if name.ends_with('*') { 0o755 } else { 0o644 };
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

fn options() -> PackOptions {
    PackOptions { stack: "test-1".into(), ..PackOptions::new("shop".parse().unwrap()) }
}

fn packed_with(directory: &Path, options: &PackOptions, to: &Path) -> Result<Packed, SlugError> {
    let slug = to.join("app.slug");
    pack(directory, options, to, |_| slug, &mut |_, _| ())
}

fn packed(directory: &Path, to: &Path) -> Packed {
    packed_with(directory, &options(), to).unwrap()
}

/// Everything below a directory: what it is, its mode, and what is in it.
fn everything(directory: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let mode = metadata.permissions().mode();
            let content = match () {
                () if metadata.is_symlink() => {
                    fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
                }
                () if metadata.is_file() => fs::read(&path).unwrap(),
                () => vec![],
            };
            if metadata.is_dir() {
                open.push(path.clone());
            }
            found.insert(path.strip_prefix(directory).unwrap().to_owned(), (mode, content));
        }
    }
    found
}
