//! Each claim, attacked a few thousand times: every seed of `seeds/`, then descendants of them, the same in each run.

use std::{fs, path::Path};

use busbar_fuzz::{
    chunks, host, http2_head, mutate, proxy_header, registration, request_head, response_head, slug,
};
use fastrand::Rng;

/// Says what it was when the claim did not hold.
struct Attack<'a>(&'a [u8]);

impl Drop for Attack<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the claim does not hold for b\"{}\"", self.0.escape_ascii());
        }
    }
}

fn attack(name: &str, claim: fn(&[u8]), descendants: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort_unstable();
    let seeds: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let mut rng = Rng::with_seed(7);
    let descendants = (0..descendants).map(|_| mutate::descendant(&seeds, &mut rng));
    for bytes in seeds.iter().cloned().chain(descendants) {
        let attack = Attack(&bytes);
        claim(attack.0);
    }
}

#[test]
fn a_request_head_has_one_meaning() {
    attack("a_request_head_has_one_meaning", request_head::claim, 20_000);
}

#[test]
fn a_request_over_http2_has_one_meaning() {
    attack("a_request_over_http2_has_one_meaning", http2_head::claim, 40_000);
}

#[test]
fn a_response_head_has_one_meaning() {
    attack("a_response_head_has_one_meaning", response_head::claim, 20_000);
}

#[test]
fn chunks_mean_the_same_however_they_are_cut() {
    attack("chunks_mean_the_same_however_they_are_cut", chunks::claim, 40_000);
}

#[test]
fn a_host_is_a_host() {
    attack("a_host_is_a_host", host::claim, 50_000);
}

#[test]
fn a_proxy_header_says_one_thing() {
    attack("a_proxy_header_says_one_thing", proxy_header::claim, 20_000);
}

#[test]
fn registration_messages_are_refused_or_understood() {
    attack("registration_messages_are_refused_or_understood", registration::claim, 20_000);
}

#[test]
fn a_slug_stays_inside_its_directory() {
    attack("a_slug_stays_inside_its_directory", slug::claim, 2_000);
}
