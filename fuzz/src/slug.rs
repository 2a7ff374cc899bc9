//! A slug stays inside its directory: whatever an archive says, nothing is written, changed or removed beside it, and a slug
//! that is refused leaves nothing at all.
//!
//! The bytes are a tar archive, of which every header gets its right checksum, or a whole slug if they begin like one.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use dyno_runtime::slug::{SlugLimits, SlugStore, inspect};

/// See the page.
pub fn claim(bytes: &[u8]) {
    let slug = if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) { bytes.to_vec() } else { compressed(bytes) };
    let outer = outer();
    let file = outer.path().join("app.slug");
    fs::write(&file, slug).expect("it can be written");
    fs::write(outer.path().join("canary"), "alive").expect("it can be written");
    let store = SlugStore::open(&outer.path().join("store")).expect("a store");
    let before = everything(outer.path(), &outer.path().join("none"));
    let limits = SlugLimits { compressed: 1 << 20, unpacked: 1 << 20, entries: 100, ratio: 200 };
    let inspected = inspect(&file, &limits, None);
    let added = store.add(&file, &limits, None, &mut |_, _| ());
    assert_eq!(inspected.is_ok(), added.is_ok(), "{inspected:?} {added:?}");
    match added {
        Err(_) => assert_eq!(everything(outer.path(), &outer.path().join("none")), before),
        Ok(stored) => {
            let own = stored.tree().parent().expect("the store").to_owned();
            let mut after = everything(outer.path(), &own);
            after.retain(|path, _| path.extension().is_none_or(|extension| extension != "lock"));
            assert_eq!(after, before);
            nothing_special(&stored.tree());
        }
    }
}

/// In memory where that can be: a slug that is unpacked is synced.
fn outer() -> tempfile::TempDir {
    let shared = Path::new("/dev/shm");
    let place = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    tempfile::tempdir_in(place).expect("a directory")
}

fn compressed(tar: &[u8]) -> Vec<u8> {
    let mut tar = tar.to_vec();
    for block in tar.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    zstd::encode_all(tar.as_slice(), 1).expect("it can be compressed")
}

/// Whatever is below a directory, but not below `own`: its number, its mode, and what is in it.
fn everything(directory: &Path, own: &Path) -> BTreeMap<PathBuf, (u64, u32, Vec<u8>)> {
    let (mut found, mut open) = (BTreeMap::new(), vec![directory.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).expect("it is there") {
            let path = entry.expect("an entry").path();
            if path == own {
                continue;
            }
            let metadata = fs::symlink_metadata(&path).expect("it is there");
            let content = if metadata.is_file() { fs::read(&path).expect("it can be read") } else { vec![] };
            if metadata.is_dir() {
                open.push(path.clone());
            }
            found.insert(path, (metadata.ino(), metadata.mode(), content));
        }
    }
    found
}

/// A slug has plain files, directories and symlinks, and no rights of others.
fn nothing_special(tree: &Path) {
    for (path, (_, mode, _)) in everything(tree, Path::new("")) {
        let kind = mode & 0o170_000;
        assert!([0o100_000, 0o040_000, 0o120_000].contains(&kind), "{}: {mode:o}", path.display());
        assert_eq!(mode & 0o7000, 0, "{}: {mode:o}", path.display());
    }
}
