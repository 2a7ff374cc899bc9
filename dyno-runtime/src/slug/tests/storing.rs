//! Once per machine, whole or not at all.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, SystemTime},
};

use super::{super::*, *};

struct House {
    to: TempDir,
    store: SlugStore,
}

fn house() -> House {
    let to = tempfile::tempdir().unwrap();
    let store = SlugStore::open(&to.path().join("store")).unwrap();
    House { to, store }
}

impl House {
    fn slug(&self, content: &str) -> Packed {
        let made = packed(app(&[("Procfile", "web: x"), ("content", content)]).path(), self.to.path());
        let file = self.to.path().join(format!("{content}.slug"));
        fs::rename(&made.file, &file).unwrap();
        Packed { file, ..made }
    }

    fn add(&self, slug: &Packed) -> StoredSlug {
        self.store.add(&slug.file, &SlugLimits::default(), Some(slug.hash), &mut |_, _| ()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.to.path().join("store")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn a_slug_that_is_not_the_expected_one_is_r17_and_leaves_nothing() {
    let house = house();
    let (slug, other) = (house.slug("a"), house.slug("b"));
    let before = house.names();
    let refused = house.store.add(&slug.file, &SlugLimits::default(), Some(other.hash), &mut |_, _| ());
    let error = refused.unwrap_err();
    assert!(
        matches!(error, SlugError::Checksum { expected, actual } if (expected, actual) == (other.hash, slug.hash))
    );
    assert_eq!(
        error.to_string(),
        format!(
            "Checksum does match expected value. Expected: BLAKE3:{} Actual: BLAKE3:{}",
            other.hash, slug.hash
        )
    );
    assert_eq!(house.names(), before);
    // Damage is told as such when it is known what should be there.
    let mut bytes = fs::read(&slug.file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&slug.file, bytes).unwrap();
    let inspected = inspect(&slug.file, &SlugLimits::default(), Some(slug.hash));
    assert!(matches!(inspected, Err(SlugError::Checksum { .. })), "{inspected:?}");
}

#[test]
fn many_who_unpack_the_same_slug_get_one_directory() {
    let house = house();
    let slug = house.slug("a");
    let all = Barrier::new(8);
    let unpacked = std::sync::atomic::AtomicUsize::new(0);
    let one = || {
        all.wait();
        let mut began = false;
        let mut progress = |_, _| began = true;
        let stored = house.store.add(&slug.file, &SlugLimits::default(), None, &mut progress).unwrap();
        unpacked.fetch_add(usize::from(began), std::sync::atomic::Ordering::Relaxed);
        assert_eq!(fs::read_to_string(stored.tree().join("content")).unwrap(), "a");
        stored.tree()
    };
    let trees: Vec<_> = thread::scope(|scope| {
        let each: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        each.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(trees.iter().all(|tree| *tree == trees[0]));
    assert_eq!(unpacked.into_inner(), 1, "it was unpacked more than once");
    assert_eq!(house.names(), [slug.hash.to_string(), format!("{}.lock", slug.hash)]);
}

#[test]
fn what_a_killed_unpacker_has_left_is_never_seen_and_goes() {
    let house = house();
    let slug = house.slug("a");
    // As it is after SIGKILL in the middle: half a tree, and the lock's file without a holder.
    let half = house.to.path().join("store").join(format!(".new-{}", slug.hash));
    fs::create_dir_all(half.join("app/wrong")).unwrap();
    fs::write(half.join("app/content"), "ha").unwrap();
    assert!(house.store.get(slug.hash).unwrap().is_none());
    let stored = house.add(&slug);
    assert_eq!(fs::read_to_string(stored.tree().join("content")).unwrap(), "a");
    assert!(!stored.tree().join("wrong").exists() && !half.exists());
    drop(stored);
    fs::create_dir_all(half.join("app")).unwrap();
    house.store.collect(&StoreBounds::default(), SystemTime::now()).unwrap();
    assert_eq!(house.names(), [slug.hash.to_string(), format!("{}.lock", slug.hash)]);
}

#[test]
fn an_unpacker_that_is_killed_at_any_moment_leaves_nothing_that_is_taken_for_a_slug() {
    let house = house();
    let slug = house.slug("a");
    // A reader that fails after each number of bytes stands for every moment.
    let bytes = fs::read(&slug.file).unwrap();
    for end in 0..bytes.len() {
        let cut = house.to.path().join("cut.slug");
        fs::write(&cut, &bytes[..end]).unwrap();
        assert!(house.store.add(&cut, &SlugLimits::default(), None, &mut |_, _| ()).is_err(), "{end}");
        assert_eq!(house.names(), [] as [String; 0], "{end}");
    }
}

#[test]
fn what_is_used_stays_and_what_nobody_has_used_for_long_goes() {
    let house = house();
    let (used, idle) = (house.slug("used"), house.slug("idle"));
    let held = house.add(&used);
    drop(house.add(&idle));
    let bounds = StoreBounds::default();
    let now = SystemTime::now();
    assert_eq!(house.store.collect(&bounds, now).unwrap().removed, 0);
    let later = now + bounds.idle + Duration::from_secs(60);
    let collected = house.store.collect(&bounds, later).unwrap();
    assert_eq!((collected.removed, collected.kept), (1, 1));
    assert!(house.store.get(idle.hash).unwrap().is_none());
    assert!(held.tree().join("content").exists());
    // And it can be had again.
    assert!(house.add(&idle).tree().join("content").exists());
}

#[test]
fn a_store_that_is_too_large_loses_what_was_used_the_longest_ago() {
    let house = house();
    let slugs = ["one", "two", "three"].map(|content| house.slug(content));
    for slug in &slugs {
        drop(house.add(slug));
    }
    let now = SystemTime::now();
    for (slug, ago) in slugs.iter().zip([20, 30, 10]) {
        let lock = house.to.path().join("store").join(format!("{}.lock", slug.hash));
        fs::File::options()
            .write(true)
            .open(lock)
            .unwrap()
            .set_modified(now - Duration::from_secs(ago))
            .unwrap();
    }
    let two_fit = slugs[0].manifest.bytes + slugs[2].manifest.bytes;
    let collected = house.store.collect(&StoreBounds { bytes: two_fit, ..Default::default() }, now).unwrap();
    assert_eq!((collected.removed, collected.kept, collected.freed), (1, 2, slugs[1].manifest.bytes));
    let there = slugs.each_ref().map(|slug| house.store.get(slug.hash).unwrap().is_some());
    assert_eq!(there, [true, false, true]);
}

#[test]
fn a_store_that_others_can_write_to_is_refused() {
    let to = tempfile::tempdir().unwrap();
    fs::set_permissions(to.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(SlugStore::open(to.path()), Err(SlugError::UnsafeStore(_))));
}

#[test]
fn a_working_copy_can_be_written_to_and_goes_with_its_user_however_that_ends() {
    let house = house();
    let stored = house.add(&house.slug("a"));
    let copy = stored.working_copy("shop").unwrap();
    let place = copy.directory().to_owned();
    assert_eq!(everything(copy.directory()), everything(&stored.tree()));
    fs::write(copy.directory().join("content"), "changed").unwrap();
    assert_eq!(fs::read_to_string(stored.tree().join("content")).unwrap(), "a");
    house.store.sweep_copies().unwrap();
    assert!(place.exists(), "it was swept while it was used");
    drop(copy);
    assert!(!place.exists());
    // As after SIGKILL.
    fs::create_dir_all(place.join("app")).unwrap();
    house.store.sweep_copies().unwrap();
    assert!(!place.exists());
}
