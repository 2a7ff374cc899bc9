//! An app as a slug: made, looked into, run.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use rustix::process::Signal;

use crate::{
    build::levels,
    busbar::{Busbar, Place, app},
    wait::skipped,
};

/// A slug of an app, in the place; its store is there too.
fn slug(place: &Place, directory: &Path, flags: &[&str]) -> PathBuf {
    let file = place.path("app.slug");
    let (directory, output) = (directory.display().to_string(), file.display().to_string());
    let mut arguments = vec!["slug", "build", &directory, "-o", &output];
    arguments.extend(flags);
    let ended = place.verb(&arguments);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.err, "", "a progress bar where no terminal is");
    file
}

fn up(place: Place, slug: &Path) -> Busbar {
    let store = place.path("slugs").display().to_string();
    place.up(slug, &["--slug-store", &store])
}

#[test]
fn an_app_runs_from_its_slug_as_from_its_directory_and_the_next_time_nothing_is_unpacked() {
    let place = Place::new();
    let file = slug(&place, &app("examples/hello"), &[]);
    let mut busbar = up(place, &file);
    busbar.runs(&["web.1", "web.2", "worker.1"]);
    let (status, body) = busbar.get("hello.example", "/");
    assert_eq!(status, 200);
    assert!(body.starts_with("Hello from web."), "{body}");
    busbar.signal(Signal::INT);
    assert_eq!(busbar.ended().code(), Some(0));
    let store = busbar.place.path("slugs");
    let there = |what: &str| {
        let entries = fs::read_dir(store.join(what)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(there("work"), [] as [String; 0], "a working copy is left");
    let hash = hash_in(&store);
    // Again, from the store: what is written there now is seen. (Nobody does that but this test.)
    fs::write(store.join(&hash).join("app/hello.py"), "import sys; print('from the store', flush=True)")
        .unwrap();
    busbar.left_nothing();
    let again = Place::new();
    let (file, store) = (file.display().to_string(), store.display().to_string());
    let flags = ["up", &file, "--app", &again.app, "--listen", "127.0.0.1:0", "--slug-store", &store];
    let command = again.command(&flags);
    Busbar::spawn(again, command).out.line("from the store");
}

/// What is below a directory: each path, and what is in it if it is a file.
fn everything(directory: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let (mut found, mut open) = (vec![], vec![directory.to_owned()]);
    while let Some(next) = open.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            found.push((path.clone(), fs::read(&path).ok()));
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The only slug in a store.
fn hash_in(store: &Path) -> String {
    let names = fs::read_dir(store).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.into_iter().find(|name| name.len() == 64).expect("it is in the store")
}

#[test]
fn dynos_that_are_kept_apart_share_the_files_in_the_store_and_never_change_them() {
    let Some(level) = levels().into_iter().find(|level| *level != "plain") else {
        return skipped("there is no other isolation than plain here");
    };
    let place = Place::new();
    let directory = place.app_with(
        "worker: cat file; echo of $DYNO > file; rm -r gone; mkdir new; touch new/file; chmod 600 kept; cat file; ls; \
         echo done; exec sleep 1000\n",
    );
    fs::create_dir(directory.join("gone")).unwrap();
    for name in ["file", "gone/file", "kept"] {
        fs::write(directory.join(name), "from the slug\n").unwrap();
    }
    let file = slug(&place, &directory, &[]);
    let store = place.path("slugs");
    let flags =
        ["--slug-store", &store.display().to_string(), "--isolation", level, "--formation", "worker=2"];
    let mut command = place.command(&["up", &file.display().to_string(), "--app", &place.app]);
    command.args(["--listen", "127.0.0.1:0"]).args(flags);
    let mut busbar = Busbar::start(place, command);
    busbar.runs(&["worker.1", "worker.2"]);
    for dyno in ["worker.1", "worker.2"] {
        busbar.out.find("it is done", |line| (line.contains(dyno) && line.ends_with("done")).then_some(()));
        let said: Vec<_> = busbar.out.lines().into_iter().filter(|line| line.contains(dyno)).collect();
        assert!(said.iter().any(|line| line.ends_with("from the slug")), "{said:?}");
        assert!(said.iter().any(|line| line.ends_with(&format!("of {dyno}"))), "{said:?}");
        assert!(!said.iter().any(|line| line.ends_with(" gone")), "{said:?}");
    }
    let tree = store.join(hash_in(&store)).join("app");
    let names: Vec<_> =
        everything(&tree).into_iter().map(|(path, _)| path.strip_prefix(&tree).unwrap().to_owned()).collect();
    assert_eq!(names, ["Procfile", "file", "gone", "gone/file", "kept"].map(PathBuf::from));
    for name in ["file", "gone/file", "kept"] {
        assert_eq!(fs::read_to_string(tree.join(name)).unwrap(), "from the slug\n", "{name}");
    }
    assert!(!store.join("work").exists(), "they need no copy");
    busbar.signal(Signal::INT);
    assert_eq!(busbar.ended().code(), Some(0));
    busbar.left_nothing();
}

#[test]
fn what_dynos_of_a_killed_runtime_run_from_is_held_until_they_end() {
    for level in levels() {
        let place = Place::new();
        let directory = place.app_with("worker: echo runs; exec sleep 1000\n");
        let file = slug(&place, &directory, &[]).display().to_string();
        let store = place.path("slugs");
        let stored = store.display().to_string();
        let up = |place: &Place| {
            let mut command = place.command(&["up", &file, "--app", &place.app, "--slug-store", &stored]);
            command.args(["--listen", "127.0.0.1:0", "--isolation", level, "--formation", "worker=1"]);
            command
        };
        let command = up(&place);
        let mut first = Busbar::start(place, command);
        first.out.line("runs");
        first.runs(&["worker.1"]);
        let held = if level == "plain" {
            fs::read_dir(store.join("work")).unwrap().next().unwrap().unwrap().path()
        } else {
            store.join(format!("{}.lock", hash_in(&store)))
        };
        first.signal(Signal::KILL);
        first.ended();
        let lock = fs::File::open(&held).unwrap();
        assert!(matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)), "{level}: nobody holds it");

        let app = first.place.app.clone();
        let next = Place { app, ..Place::new() };
        let command = up(&next);
        let mut next = Busbar::start(next, command);
        next.runs(&["worker.1"]);
        next.signal(Signal::INT);
        assert_eq!(next.ended().code(), Some(0));
        next.left_nothing();
        lock.try_lock().unwrap_or_else(|error| panic!("{level}: somebody holds it still: {error}"));
    }
}

#[test]
fn a_slug_is_shown_and_checked() {
    let place = Place::new();
    let file = slug(&place, &app("examples/hello"), &["--app", "shop", "--source-version", "abc123"]);
    let path = file.display().to_string();
    let shown = place.verb(&["slug", "inspect", &path, "--json", "--entries"]).json();
    assert_eq!(shown["manifest"]["app"], "shop");
    assert_eq!(shown["manifest"]["source_version"], "abc123");
    assert_eq!(shown["manifest"]["process_types"]["web"], "python3 hello.py web");
    assert_eq!(
        shown["entries"].as_array().unwrap().len() as u64,
        shown["manifest"]["entries"].as_u64().unwrap()
    );
    let hash = shown["hash"].as_str().unwrap();
    let told = place.verb(&["slug", "inspect", &path, "--hash", hash]);
    assert!(told.out.contains(hash) && told.out.contains("worker: python3 hello.py worker"), "{told:?}");
    // Made again it is the same, and without -o it is named after its hash.
    let mut again = place.command(&["slug", "build", &app("examples/hello").display().to_string()]);
    again.args(["--app", "shop", "--source-version", "abc123"]).current_dir(place.directory.path());
    assert!(again.status().unwrap().success());
    let named = place.path(&format!("{hash}.slug"));
    assert!(fs::read(&named).unwrap() == fs::read(&file).unwrap());

    // A file that is named after a hash must have it.
    let mut bytes = fs::read(&named).unwrap();
    bytes.pop();
    fs::write(&named, bytes).unwrap();
    let refused = place.verb(&["slug", "inspect", &named.display().to_string()]).failed(1);
    let r17 = format!(
        "busbar: Error R17 (Checksum error) -> Checksum does match expected value. Expected: BLAKE3:{hash} Actual: BLAKE3:"
    );
    assert!(refused.starts_with(&r17), "{refused}");
    let store = place.path("slugs").display().to_string();
    let refused = place.verb(&["up", &named.display().to_string(), "--slug-store", &store]).failed(1);
    assert!(refused.starts_with(&r17), "{refused}");
}

#[test]
fn what_cannot_be_a_slug_is_refused_with_what_to_do() {
    let place = Place::new();
    let build = |directory: &Path, flags: &[&str]| {
        let (directory, output) =
            (directory.display().to_string(), place.path("no.slug").display().to_string());
        let ended = place.verb(&[&["slug", "build", &directory, "-o", &output][..], flags].concat());
        assert!(!place.path("no.slug").exists());
        ended.failed(1)
    };
    let directory = place.app_with("web: x\n");
    let mut noise = vec![0; 5000];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    fs::write(directory.join("noise"), noise).unwrap();
    assert_eq!(
        build(&directory, &["--max-size", "1KiB"]),
        "busbar: \"the slug\" has more than 1024 bytes; leave more out by .slugignore\n"
    );
    fs::write(directory.join("NOISE"), "").unwrap();
    let said = build(&directory, &[]);
    assert!(said.contains("\"app/noise\" differs from \"NOISE\" only by upper and lower case"), "{said}");
    fs::write(directory.join(".slugignore"), "noise\n!noise\n").unwrap();
    let said = build(&directory, &[]);
    assert!(said.contains(".slugignore:2: what is ignored cannot be taken back by !"), "{said}");
    fs::remove_file(directory.join("Procfile")).unwrap();
    fs::remove_file(directory.join(".slugignore")).unwrap();
    fs::remove_file(directory.join("NOISE")).unwrap();
    assert!(build(&directory, &[]).contains("has no Procfile"));
    let said = place.verb(&["slug", "inspect", &directory.join("noise").display().to_string()]).failed(1);
    assert!(said.contains("this is no whole slug"), "{said}");
}
