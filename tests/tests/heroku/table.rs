//! `HEROKU.md` is complete and names what there is.

use std::collections::BTreeSet;

const TABLE: &str = include_str!("../../HEROKU.md");
const SOURCES: [&str; 10] = [
    include_str!("bodyless.rs"),
    include_str!("chunked.rs"),
    include_str!("continues.rs"),
    include_str!("headers.rs"),
    include_str!("http10.rs"),
    include_str!("keepalive.rs"),
    include_str!("large_bodies.rs"),
    include_str!("limits_and_lookup.rs"),
    include_str!("proxy_headers.rs"),
    include_str!("timeouts.rs"),
];

#[test]
fn the_table_has_every_statement_and_names_exactly_the_tests_there_are() {
    let numbers: Vec<_> =
        TABLE.lines().filter_map(|l| l.strip_prefix("| ")?.split(' ').next()?.parse::<u32>().ok()).collect();
    assert_eq!(numbers, (1..=113).collect::<Vec<u32>>());
    let tests: BTreeSet<_> = SOURCES
        .iter()
        .flat_map(|source| source.split("#[test]\nfn ").skip(1))
        .filter_map(|t| t.split('(').next())
        .collect();
    let named: BTreeSet<_> = TABLE
        .lines()
        .filter(|line| line.starts_with(['|', '-']))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|name| name.matches('_').count() > 2)
        .collect();
    assert_eq!(named, tests);
}
