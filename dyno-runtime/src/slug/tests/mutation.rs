//! Archives with random damage, headers made valid again: nothing is ever written elsewhere.

use proptest::prelude::*;

use super::{
    super::*,
    evil::{Evil, unpack},
};

/// Gives each header block that has been changed its right checksum again, so that what it says is believed.
fn with_checksums(tar: &mut [u8]) {
    for block in tar.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

fn seed() -> Vec<u8> {
    let long = [b"app/e/".as_slice(), &[b'n'; 120]].concat();
    Evil::new()
        .file(b"app/a")
        .dir(b"app/d")
        .file(b"app/d/x")
        .dir(b"app/e")
        .file(&long)
        .link(b"app/l", b"../..")
        .file(b"app/z")
        .tar()
}

const WORDS: [&[u8]; 12] = [
    b"../",
    b"/",
    b"app",
    b"app/l/x",
    b"..",
    b"\0",
    b"0000777\0",
    b"0004755\0",
    b"77777777777\0",
    b"1",
    b"5",
    b"L",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_damaged_archive_never_writes_outside_of_its_directory(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
        moved in any::<Option<(prop::sample::Index, prop::sample::Index)>>(),
    ) {
        let mut tar = seed();
        for (at, word, kind) in changes {
            // Mostly where a header has its path, type, mode or size.
            let block = at.index(tar.len() / 512) * 512;
            let within = match kind % 5 { 0 => 0, 1 => 4, 2 => 100, 3 => 124, _ => 156 };
            let word = word.get(&WORDS);
            let word = &word[..if within == 156 { 1 } else { word.len() }];
            tar[block + within..block + within + word.len()].copy_from_slice(word);
        }
        if let Some((from, to)) = moved {
            let blocks = tar.len() / 512;
            let block: Vec<u8> = tar.drain(from.index(blocks) * 512..(from.index(blocks) + 1) * 512).collect();
            let to = to.index(blocks - 1) * 512;
            tar.splice(to..to, block);
        }
        with_checksums(&mut tar);
        let slug = zstd::encode_all(tar.as_slice(), 1).unwrap();
        // It fails if anything is written beside the slug's own directory.
        let _refused_or_not = unpack(&slug, &SlugLimits::default());
    }
}
