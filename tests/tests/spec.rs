//! SPEC.md and MATRIX.md name tests that exist.

use std::{
    collections::HashSet,
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

/// The names of the functions that are marked as tests in this source.
fn marked(source: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    source.lines().map(str::trim_start).filter_map(move |line| {
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let (_, function) = line.split_once("fn ").filter(|(before, _)| ["", "async "].contains(before))?;
        std::mem::take(&mut is_test).then(|| function.split('(').next())?
    })
}

/// What is run within the virtual machine, and a test awaits the verdicts.
fn checks(source: &str) -> impl Iterator<Item = &str> {
    let list = source.split("const CHECKS:").nth(1).and_then(|rest| rest.split("];").next());
    list.expect("a list of checks").split('"').skip(1).step_by(2)
}

/// The workspace, and all of its tests by name.
fn workspace() -> (&'static Path, HashSet<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut files = Vec::new();
    sources(root, &mut files);
    let read = |file: &Path| fs::read_to_string(file).expect("it is text");
    let mut tests: HashSet<String> =
        files.iter().flat_map(|file| marked(&read(file)).map(str::to_owned).collect::<Vec<_>>()).collect();
    tests.extend(checks(&read(&root.join("dyno-runtime/tests/version_2.rs"))).map(str::to_owned));
    (root, tests)
}

#[test]
fn only_what_is_marked_is_a_test() {
    let source = "#[test]\nfn one() {\n    helper();\n}\nfn helper() {}\n\
                  #[tokio::test(start_paused = true)]\n#[ignore]\nasync fn two() {}\n\
                  proptest! {\n    #[test]\n    fn three(it in 0..9) {}\n}\npub fn four() {}\n";
    assert_eq!(marked(source).collect::<Vec<_>>(), ["one", "two", "three"]);
}

#[test]
fn every_cell_of_the_matrix_names_tests_that_exist_or_says_why_there_is_none() {
    let (root, known) = workspace();
    let matrix = fs::read_to_string(root.join("tests/MATRIX.md")).expect("it is there");
    let rows = matrix.lines().filter(|line| line.starts_with("| HTTP/"));
    let mut checked = 0;
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').skip(1).map(str::trim).collect();
        assert_eq!(cells.len(), 7, "{row}");
        for cell in cells {
            assert!(!cell.is_empty(), "an empty cell: {row}");
            for test in cell.split('`').skip(1).step_by(2) {
                assert!(known.contains(test), "{test}: {row}");
                checked += 1;
            }
        }
    }
    assert!(checked > 25, "only {checked} tests were found in MATRIX.md");
}

#[test]
fn every_promise_names_tests_that_exist() {
    let (root, known) = workspace();
    let spec = fs::read_to_string(root.join("SPEC.md")).expect("it is there");
    let promises = spec.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise"));
    let mut checked = 0;
    for line in promises {
        let tests = line.trim_end_matches(" |").rsplit(" | ").next().expect("a last column");
        for test in tests.split('`').skip(1).step_by(2) {
            assert!(known.contains(test), "{test}: {line}");
            checked += 1;
        }
    }
    assert!(checked > 80, "only {checked} tests were found in SPEC.md");
}
