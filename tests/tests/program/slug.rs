//! An app as a slug: made, looked into, run.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use crate::busbar::{Busbar, Place, app};

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
    busbar.signal(rustix::process::Signal::INT);
    assert_eq!(busbar.ended().code(), Some(0));
    let store = busbar.place.path("slugs");
    let there = |what: &str| {
        let entries = fs::read_dir(store.join(what)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(there("work"), [] as [String; 0], "a working copy is left");
    let hash = there("").into_iter().find(|name| name.len() == 64).expect("it is in the store");
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
