//! SPEC.md names tests that exist.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// All Rust source of the workspace.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("it is a folder").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "target" && name != ".git" {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_promise_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut files = Vec::new();
    sources(root, &mut files);
    let text: String = files.iter().map(|file| fs::read_to_string(file).expect("it is text")).collect();

    let spec = fs::read_to_string(root.join("SPEC.md")).expect("it is there");
    let promises = spec.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise"));
    let mut checked = 0;
    for line in promises {
        let tests = line.trim_end_matches(" |").rsplit(" | ").next().expect("a last column");
        for test in tests.split('`').skip(1).step_by(2) {
            assert!(text.contains(&format!("fn {test}(")), "{test}: {line}");
            checked += 1;
        }
    }
    assert!(checked > 80, "only {checked} tests were found in SPEC.md");
}
