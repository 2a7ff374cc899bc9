//! The same files are the same bytes, and come out as they went in.

use std::{cell::Cell, os::unix::net::UnixListener, process::Command, time::Duration};

use proptest::prelude::*;

use super::{super::*, *};

const SHOP: [(&str, &str); 6] = [
    ("Procfile", "web: ./serve\n"),
    ("serve*", "#!/bin/sh\n"),
    ("lib/a.py", "a"),
    ("lib.py", "b"),
    ("lib/deep/er/c", ""),
    ("python -> /usr/bin/python3", ""),
];

#[test]
fn the_same_files_are_the_same_slug_whoever_wrote_them_when_in_which_order_and_on_how_many_cpus() {
    let to = tempfile::tempdir().unwrap();
    let first = packed(app(&SHOP).path(), to.path());
    let bytes = fs::read(&first.file).unwrap();
    let mut turned: Vec<_> = SHOP.to_vec();
    turned.reverse();
    let other = app(&turned);
    let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::open(other.path().join("lib.py")).unwrap().set_modified(time).unwrap();
    fs::set_permissions(other.path().join("lib.py"), fs::Permissions::from_mode(0o2664)).unwrap();
    for threads in [1, 2, 5] {
        let again = packed_with(other.path(), &PackOptions { threads, ..options() }, to.path()).unwrap();
        assert_eq!(again.hash, first.hash);
        assert!(fs::read(&again.file).unwrap() == bytes, "other bytes with the same hash");
    }
    assert_eq!(first.hash, SlugHash::from(blake3::hash(&bytes)));
    assert_eq!(first.compressed, bytes.len() as u64);
    fs::set_permissions(other.path().join("lib.py"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_ne!(packed(other.path(), to.path()).hash, first.hash);
}

#[test]
fn many_megabytes_on_any_number_of_cpus_are_the_same_slug() {
    let (to, big) = (tempfile::tempdir().unwrap(), app(&[("Procfile", "web: x")]));
    // Three times what zstd gives one thread.
    let mut block = vec![7; 1 << 20];
    fastrand::Rng::with_seed(1).fill(&mut block[..1 << 16]);
    for number in 0..24 {
        block[0] = number;
        block.rotate_left(1 << 12);
        fs::write(big.path().join(number.to_string()), &block).unwrap();
    }
    let with =
        |threads| packed_with(big.path(), &PackOptions { threads, ..options() }, to.path()).unwrap().hash;
    assert_eq!(with(1), with(2));
    assert_eq!(with(1), with(7));
}

#[test]
fn a_slug_says_what_is_in_it() {
    let to = tempfile::tempdir().unwrap();
    let made = packed(app(&SHOP).path(), to.path());
    let mut seen = vec![];
    let found = inspect_with(&made.file, &SlugLimits::default(), Some(made.hash), &mut |entry| {
        seen.push(format!("{} {}", entry.kind, entry.path));
    });
    let found = found.unwrap();
    assert_eq!((found.hash, found.compressed, &found.manifest), (made.hash, made.compressed, &made.manifest));
    assert_eq!(found.manifest.process_types["web"], "./serve");
    assert_eq!((found.manifest.entries, found.manifest.bytes), (10, 25));
    let expected = [
        "d app",
        "- app/Procfile",
        "d app/lib",
        "- app/lib/a.py",
        "d app/lib/deep",
        "d app/lib/deep/er",
        "- app/lib/deep/er/c",
        "- app/lib.py",
        "l app/python",
        "x app/serve",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn tar_and_zstd_read_a_slug_too() {
    let to = tempfile::tempdir().unwrap();
    let made = packed(app(&SHOP).path(), to.path());
    let tar = zstd::decode_all(fs::File::open(&made.file).unwrap()).unwrap();
    fs::write(to.path().join("app.tar"), tar).unwrap();
    let listed = Command::new("tar").arg("-tf").arg(to.path().join("app.tar")).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.starts_with("slug.json\napp") && listed.contains("app/lib/deep/er/c\n"), "{listed}");
}

#[test]
fn what_is_ignored_is_not_packed() {
    let to = tempfile::tempdir().unwrap();
    let directory = app(&[
        ("Procfile", "web: x"),
        (".slugignore", "*.psd\n/docs\n"),
        (".git/config", "x"),
        (".env", "SECRET=hunter2"),
        ("log/a.log", "x"),
        ("docs/a", "x"),
        ("a.psd", "x"),
    ]);
    let made = packed(directory.path(), to.path());
    let mut seen = vec![];
    inspect_with(&made.file, &SlugLimits::default(), None, &mut |entry| seen.push(entry.path.to_owned()))
        .unwrap();
    assert_eq!(seen, ["app", "app/.slugignore", "app/Procfile", "app/log"]);
}

#[test]
fn what_no_slug_may_contain_is_refused_when_one_is_made() {
    let to = tempfile::tempdir().unwrap();
    let refusal = |directory: &Path, options: &PackOptions| {
        let error = packed_with(directory, options, to.path()).unwrap_err();
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0, "something is left");
        error.refusal().cloned().unwrap_or_else(|| panic!("{error}"))
    };
    let directory = app(&[("Procfile", "web: x"), ("README", ""), ("readme", "")]);
    assert_eq!(refusal(directory.path(), &options()), Refusal::CaseFold("README".into()));
    let directory = app(&[("Procfile", "web: x"), ("a\nb", "")]);
    assert_eq!(refusal(directory.path(), &options()), Refusal::Control);
    let directory = app(&[("Procfile", "web: x")]);
    let _listener = UnixListener::bind(directory.path().join("dev.sock")).unwrap();
    assert_eq!(refusal(directory.path(), &options()), Refusal::Socket);
    let directory = app(&[("Procfile", "web: x"), ("data", "0123456789")]);
    let limits = |limits| PackOptions { limits, ..options() };
    let usual = SlugLimits::default();
    let small = limits(SlugLimits { compressed: 100, ..usual });
    assert_eq!(refusal(directory.path(), &small), Refusal::Compressed(100));
    let small = limits(SlugLimits { unpacked: 9, ..usual });
    assert_eq!(refusal(directory.path(), &small), Refusal::Unpacked(9));
    let small = limits(SlugLimits { entries: 2, ..usual });
    assert_eq!(refusal(directory.path(), &small), Refusal::Entries(2));
}

#[test]
fn a_directory_without_process_types_is_no_app_and_a_buildpack_can_give_them() {
    let to = tempfile::tempdir().unwrap();
    let bare = app(&[("index.html", "x")]);
    assert!(matches!(packed_with(bare.path(), &options(), to.path()), Err(SlugError::App(_))));
    let given = |commands: &[(&str, &str)]| PackOptions {
        default_process_types: commands.iter().map(|(t, c)| (t.parse().unwrap(), (*c).to_owned())).collect(),
        ..options()
    };
    let made = packed_with(bare.path(), &given(&[("web", "serve")]), to.path()).unwrap();
    assert_eq!(made.manifest.process_types["web"], "serve");
    // What the Procfile says wins.
    write(bare.path(), "Procfile", "web: mine");
    let made = packed_with(bare.path(), &given(&[("web", "serve"), ("job", "work")]), to.path()).unwrap();
    let types: Vec<_> = made.manifest.process_types.iter().map(|(t, c)| format!("{t}={c}")).collect();
    assert_eq!(types, ["job=work", "web=mine"]);
}

#[test]
fn a_slug_that_is_stopped_while_it_is_made_leaves_nothing() {
    let (source, to) = (app(&[("Procfile", "web: x"), ("a", "a"), ("b", "b")]), tempfile::tempdir().unwrap());
    let file = to.path().join("app.slug");
    // Each time it is asked once more before that.
    for asked in 0..100 {
        let times = Cell::new(0);
        let stopped = || times.replace(times.get() + 1) == asked;
        let file = file.clone();
        match pack_unless(&stopped, source.path(), &options(), to.path(), |_| file, &mut |_, _| ()) {
            Err(SlugError::Stopped) => assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0),
            made => {
                made.unwrap();
                return assert!(asked > 3, "{asked}");
            }
        }
    }
    panic!("it is asked for ever");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn what_is_packed_comes_out_as_it_went_in(
        files in prop::collection::btree_map("[a-d]{1,3}(/[a-zäß_.]{1,150}){0,4}", prop::collection::vec(any::<u8>(), 0..3000), 0..12),
        executable in any::<bool>(),
    ) {
        let (source, to) = (app(&[("Procfile", "web: x")]), tempfile::tempdir().unwrap());
        for (name, content) in &files {
            let path = source.path().join(name);
            let plain = name.split('/').all(|part| part != "." && part != ".." && part.len() < 200);
            if !plain || fs::create_dir_all(path.parent().unwrap()).is_err() || path.exists() {
                continue;
            }
            fs::write(&path, content).unwrap();
            let mode = if executable { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        for (path, _) in everything(source.path()) {
            let directory = source.path().join(path);
            if directory.is_dir() {
                fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        let made = packed(source.path(), to.path());
        let store = SlugStore::open(&to.path().join("store")).unwrap();
        let stored = store.add(&made.file, &SlugLimits::default(), Some(made.hash), &mut |_, _| ()).unwrap();
        prop_assert_eq!(everything(&stored.tree()), everything(source.path()));
    }
}
