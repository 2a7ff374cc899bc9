//! SPEC.md and MATRIX.md name tests that exist.

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

/// The workspace, and all of its source as one text.
fn workspace() -> (&'static Path, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut files = Vec::new();
    sources(root, &mut files);
    (root, files.iter().map(|file| fs::read_to_string(file).expect("it is text")).collect())
}

#[test]
fn every_cell_of_the_matrix_names_tests_that_exist_or_says_why_there_is_none() {
    let (root, text) = workspace();
    let matrix = fs::read_to_string(root.join("tests/MATRIX.md")).expect("it is there");
    let rows = matrix.lines().filter(|line| line.starts_with("| HTTP/"));
    let mut checked = 0;
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').skip(1).map(str::trim).collect();
        assert_eq!(cells.len(), 7, "{row}");
        for cell in cells {
            assert!(!cell.is_empty(), "an empty cell: {row}");
            for test in cell.split('`').skip(1).step_by(2) {
                assert!(text.contains(&format!("fn {test}(")), "{test}: {row}");
                checked += 1;
            }
        }
    }
    assert!(checked > 25, "only {checked} tests were found in MATRIX.md");
}

#[test]
fn every_promise_names_tests_that_exist() {
    let (root, text) = workspace();
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
