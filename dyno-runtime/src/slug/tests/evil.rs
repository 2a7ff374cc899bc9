//! Archives that nobody should unpack. Each test is one of them.

use std::{fs, io::Write as _};

use tar::{EntryType, Header};

use super::{super::*, everything};

/// An archive made byte by byte, as no honest tool makes it.
pub(super) struct Evil {
    entries: Vec<u8>,
    said: (u64, u64),
    end: Vec<u8>,
}

impl Evil {
    pub(super) fn new() -> Self {
        Self { entries: vec![], said: (0, 0), end: vec![0; 1024] }.dir(b"app")
    }

    pub(super) fn entry(mut self, kind: EntryType, path: &[u8], mode: u32, link: &[u8], data: &[u8]) -> Self {
        self.said.0 += 1;
        if kind == EntryType::Regular {
            self.said.1 += data.len() as u64;
        }
        self.raw(kind, path, mode, link, data.len() as u64, data);
        self
    }

    fn raw(&mut self, kind: EntryType, path: &[u8], mode: u32, link: &[u8], size: u64, data: &[u8]) {
        for (kind, text) in [(EntryType::GNULongName, path), (EntryType::GNULongLink, link)] {
            if text.len() > 100 {
                self.header(kind, b"././@LongLink", 0o644, b"", text.len() as u64 + 1);
                self.data(&[text, b"\0"].concat());
            }
        }
        let short = |text: &[u8]| text[..text.len().min(100)].to_vec();
        self.header(kind, &short(path), mode, &short(link), size);
        self.data(data);
    }

    fn header(&mut self, kind: EntryType, path: &[u8], mode: u32, link: &[u8], size: u64) {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_cksum();
        self.entries.extend_from_slice(header.as_bytes());
    }

    fn data(&mut self, data: &[u8]) {
        self.entries.extend_from_slice(data);
        self.entries.resize(self.entries.len().next_multiple_of(512), 0);
    }

    pub(super) fn dir(self, path: &[u8]) -> Self {
        self.entry(EntryType::Directory, path, 0o755, b"", b"")
    }

    pub(super) fn file(self, path: &[u8]) -> Self {
        self.entry(EntryType::Regular, path, 0o644, b"", b"evil")
    }

    pub(super) fn link(self, path: &[u8], target: &[u8]) -> Self {
        self.entry(EntryType::Symlink, path, 0o777, target, b"")
    }

    /// The archive before it is compressed.
    pub(super) fn tar(self) -> Vec<u8> {
        let manifest = Manifest {
            process_types: [("web".parse().unwrap(), "x".to_owned())].into(),
            entries: self.said.0,
            bytes: self.said.1,
            ..Manifest::new("shop".parse().unwrap(), "test-1".into())
        };
        let mut first = Self { entries: vec![], said: (0, 0), end: vec![] };
        let json = manifest.to_json().unwrap();
        first.raw(EntryType::Regular, b"slug.json", 0o644, b"", json.len() as u64, &json);
        [first.entries, self.entries, self.end].concat()
    }

    fn slug(self) -> Vec<u8> {
        zstd::encode_all(self.tar().as_slice(), 1).unwrap()
    }
}

/// Unpacks it beside a file that must stay as it is, into a store that must stay empty.
pub(super) fn unpack(slug: &[u8], limits: &SlugLimits) -> Result<StoredSlug, SlugError> {
    let outer = tempfile::tempdir().unwrap();
    fs::write(outer.path().join("canary"), "alive").unwrap();
    fs::write(outer.path().join("app.slug"), slug).unwrap();
    let store = SlugStore::open(&outer.path().join("store")).unwrap();
    let before = everything(outer.path());
    let added = store.add(&outer.path().join("app.slug"), limits, None, &mut |_, _| ());
    let mut after = everything(outer.path());
    let hash = SlugHash::from(blake3::hash(slug)).to_string();
    if added.is_err() {
        assert_eq!(after, before, "something was written");
        let inspected = inspect(&outer.path().join("app.slug"), limits, None);
        assert!(inspected.is_err(), "inspection lets through what the store refuses: {added:?}");
    } else {
        after.retain(|path, _| !path.starts_with(format!("store/{hash}")));
        after.retain(|path, _| !path.ends_with(format!("{hash}.lock")));
        assert_eq!(after, before, "something was written elsewhere");
    }
    added
}

#[track_caller]
fn refused(evil: Evil) -> Refusal {
    refused_bytes(&evil.slug(), &SlugLimits::default())
}

#[track_caller]
fn refused_bytes(slug: &[u8], limits: &SlugLimits) -> Refusal {
    match unpack(slug, limits) {
        Err(SlugError::Refused { refusal, .. }) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_honest_archive_made_the_same_way_is_unpacked() {
    let stored =
        unpack(&Evil::new().file(b"app/a").link(b"app/b", b"/etc/passwd").slug(), &SlugLimits::default());
    assert_eq!(stored.unwrap().manifest().entries, 3);
}

#[test]
fn a_path_with_dot_dot_is_refused() {
    for path in ["app/../canary", "../canary", "app/x/../../../canary", "app/.."] {
        assert_eq!(refused(Evil::new().file(path.as_bytes())), Refusal::Parent, "{path}");
    }
    assert_eq!(refused(Evil::new().dir(b"app/../x")), Refusal::Parent);
    assert_eq!(refused(Evil::new().file(b"app/./x")), Refusal::Dot);
    assert_eq!(refused(Evil::new().file(b"app//x")), Refusal::Dot);
}

#[test]
fn an_absolute_path_is_refused() {
    assert_eq!(refused(Evil::new().file(b"/tmp/busbar-evil")), Refusal::Absolute);
    assert_eq!(refused(Evil::new().dir(b"/app")), Refusal::Absolute);
    assert_eq!(refused(Evil::new().file(b"slug.txt")), Refusal::Outside);
}

#[test]
fn nothing_is_written_through_a_symlink() {
    assert_eq!(refused(Evil::new().link(b"app/d", b"../..").file(b"app/d/canary")), Refusal::ThroughSymlink);
    assert_eq!(refused(Evil::new().link(b"app/d", b"/tmp").dir(b"app/d/x")), Refusal::ThroughSymlink);
    // The link and then a file of the same name, which would be written to where the link points.
    assert_eq!(refused(Evil::new().link(b"app/d", b"../../canary").file(b"app/d")), Refusal::Duplicate);
    assert_eq!(refused(Evil::new().file(b"app/d").file(b"app/d/x")), Refusal::ThroughFile);
    assert_eq!(refused(Evil::new().file(b"app/d/x")), Refusal::NoParent);
}

#[test]
fn the_slug_itself_cannot_be_a_symlink() {
    let evil = Evil { entries: vec![], said: (0, 0), end: vec![0; 1024] };
    assert_eq!(refused(evil.link(b"app", b"/tmp").file(b"app/x")), Refusal::Outside);
}

#[test]
fn a_hard_link_is_refused_wherever_it_leads() {
    for target in [&b"/etc/passwd"[..], b"../../canary", b"app/a"] {
        let evil = Evil::new().file(b"app/a").entry(EntryType::Link, b"app/b", 0o644, target, b"");
        assert_eq!(refused(evil), Refusal::HardLink);
    }
}

#[test]
fn a_set_user_id_bit_is_refused() {
    for mode in [0o4755, 0o2755, 0o1755, 0o6755] {
        let evil = Evil::new().entry(EntryType::Regular, b"app/su", mode, b"", b"x");
        assert_eq!(refused(evil), Refusal::SetId, "{mode:o}");
    }
    assert_eq!(refused(Evil::new().entry(EntryType::Directory, b"app/d", 0o2755, b"", b"")), Refusal::SetId);
}

#[test]
fn devices_and_pipes_are_refused() {
    for (kind, refusal) in [
        (EntryType::Char, Refusal::Device),
        (EntryType::Block, Refusal::Device),
        (EntryType::Fifo, Refusal::Fifo),
        (EntryType::new(b'7'), Refusal::Type('7')),
        (EntryType::new(b'V'), Refusal::Type('V')),
    ] {
        assert_eq!(refused(Evil::new().entry(kind, b"app/x", 0o644, b"", b"")), refusal);
    }
}

#[test]
fn a_sparse_file_of_a_terabyte_is_refused() {
    let mut evil = Evil::new();
    evil.raw(EntryType::GNUSparse, b"app/hole", 0o644, b"", 1 << 40, b"");
    assert_eq!(refused(evil), Refusal::Sparse);
    let pax = Evil::new().entry(EntryType::XHeader, b"app/x", 0o644, b"", b"22 GNU.sparse.major=1\n");
    assert_eq!(refused(pax), Refusal::Pax);
}

#[test]
fn a_file_that_says_it_has_an_exabyte_is_refused_before_it_is_read() {
    for size in [1 << 50, u64::MAX >> 1] {
        let mut evil = Evil::new();
        evil.raw(EntryType::Regular, b"app/big", 0o644, b"", size, b"");
        assert_eq!(refused(evil), Refusal::Unpacked(SlugLimits::default().unpacked));
    }
}

fn a_million_directories() -> Vec<u8> {
    let mut one = Evil::new();
    let begin = one.entries.len();
    one.header(EntryType::Directory, b"app/0000000", 0o755, b"", 0);
    let mut block = one.entries.split_off(begin);
    let zeros: u32 = block.iter().map(|byte| u32::from(*byte)).sum::<u32>()
        - block[148..156].iter().map(|byte| u32::from(*byte)).sum::<u32>()
        + 8 * 32;
    one.end.clear();
    let slug = zstd::Encoder::new(Vec::new(), 1).unwrap();
    // A call for each block is what takes the time.
    let mut slug = std::io::BufWriter::with_capacity(1 << 20, slug);
    slug.write_all(&one.tar()).unwrap();
    for number in 0..1_000_000 {
        let digits = format!("{number:07}");
        block[4..11].copy_from_slice(digits.as_bytes());
        let sum = zeros + digits.bytes().map(|digit| u32::from(digit - b'0')).sum::<u32>();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        slug.write_all(&block).unwrap();
    }
    slug.write_all(&[0; 1024]).unwrap();
    slug.into_inner().ok().expect("it takes all").finish().unwrap()
}

#[test]
fn a_million_entries_are_refused() {
    let slug = a_million_directories();
    // Not a bomb by its ratio: it has to be the number that is refused.
    let limits = SlugLimits { ratio: u64::MAX, ..SlugLimits::default() };
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &slug).unwrap();
    let inspected = inspect(file.path(), &limits, None).unwrap_err();
    assert_eq!(inspected.refusal(), Some(&Refusal::Entries(200_000)));
    // With few entries allowed, what was unpacked of them before is gone.
    let few = SlugLimits { entries: 100, ..limits };
    assert_eq!(refused_bytes(&slug, &few), Refusal::Entries(100));
}

#[test]
fn names_of_4096_bytes_are_refused() {
    let long = [b"app/".as_slice(), &[b'a'; 4096]].concat();
    assert_eq!(refused(Evil::new().file(&long)), Refusal::PathTooLong);
    let many = [b"app".as_slice(), &b"/aaaaaaaaa".repeat(110)].concat();
    assert_eq!(refused(Evil::new().file(&many)), Refusal::PathTooLong);
    let name = [b"app/".as_slice(), &[b'a'; 256]].concat();
    assert_eq!(refused(Evil::new().file(&name)), Refusal::NameTooLong);
    let deep = [b"app".as_slice(), &b"/a".repeat(100)].concat();
    assert_eq!(refused(Evil::new().file(&deep)), Refusal::TooDeep);
    let target = Evil::new().link(b"app/l", &[b'a'; 4096]);
    assert_eq!(refused(target), Refusal::LinkTarget);
    assert_eq!(refused(Evil::new().link(b"app/l", b"")), Refusal::LinkTarget);
}

#[test]
fn a_name_that_is_there_twice_is_refused_also_when_only_its_case_differs() {
    assert_eq!(refused(Evil::new().file(b"app/a").file(b"app/a")), Refusal::Duplicate);
    assert_eq!(refused(Evil::new().dir(b"app/a").dir(b"app/a")), Refusal::Duplicate);
    assert_eq!(refused(Evil::new().dir(b"app/a").dir(b"app/b").file(b"app/a/x")), Refusal::OutOfOrder);
    assert_eq!(refused(Evil::new().file(b"app/b").file(b"app/a")), Refusal::OutOfOrder);
    assert_eq!(
        refused(Evil::new().file(b"app/README").file(b"app/readme")),
        Refusal::CaseFold("README".into())
    );
    let umlaut = Evil::new().dir("app/\u{c4}".as_bytes()).file("app/\u{e4}".as_bytes());
    assert_eq!(refused(umlaut), Refusal::CaseFold("\u{c4}".into()));
}

#[test]
fn a_name_that_is_not_utf8_or_has_a_line_end_is_refused() {
    assert_eq!(refused(Evil::new().file(b"app/\xff")), Refusal::NotUtf8);
    assert_eq!(refused(Evil::new().file(b"app/a\nb")), Refusal::Control);
    assert_eq!(refused(Evil::new().link(b"app/a", b"x\xff")), Refusal::LinkTarget);
}

#[test]
fn a_decompression_bomb_is_refused_early() {
    let mut evil = Evil::new();
    let zeros = vec![0; 200 << 20];
    evil.raw(EntryType::Regular, b"app/zeros", 0o644, b"", zeros.len() as u64, &zeros);
    evil.said = (2, zeros.len() as u64);
    assert_eq!(refused(evil), Refusal::Ratio(200));
}

#[test]
fn sizes_are_bounded() {
    let slug = Evil::new().file(b"app/a").slug();
    let small = SlugLimits { unpacked: 3, ..SlugLimits::default() };
    assert_eq!(refused_bytes(&slug, &small), Refusal::Unpacked(3));
    let small = SlugLimits { compressed: 40, ..SlugLimits::default() };
    assert_eq!(refused_bytes(&slug, &small), Refusal::Compressed(40));
}

#[test]
fn trailing_garbage_is_refused_wherever_it_is() {
    let honest = || Evil::new().file(b"app/a");
    let behind = [honest().slug(), b"garbage".to_vec()].concat();
    assert_eq!(refused_bytes(&behind, &SlugLimits::default()), Refusal::Trailing);
    let second = [honest().slug(), honest().slug()].concat();
    assert_eq!(refused_bytes(&second, &SlugLimits::default()), Refusal::Trailing);
    for (end, refusal) in [
        (vec![0; 1536], Refusal::Trailing),
        ([vec![0; 1024], vec![1; 512]].concat(), Refusal::Trailing),
        ([vec![0; 512], vec![1; 512]].concat(), Refusal::Trailing),
        (vec![0; 512], Refusal::NoEnd),
        (vec![], Refusal::NoEnd),
    ] {
        assert_eq!(refused(Evil { end, ..honest() }), refusal);
    }
}

#[test]
fn data_where_none_belongs_is_refused() {
    assert_eq!(refused(Evil::new().entry(EntryType::Directory, b"app/d", 0o755, b"", b"x")), Refusal::Data);
    assert_eq!(refused(Evil::new().entry(EntryType::Symlink, b"app/l", 0o777, b"t", b"x")), Refusal::Data);
}

#[test]
fn a_slug_that_is_cut_off_or_damaged_anywhere_is_refused() {
    let slug = Evil::new().file(b"app/a").slug();
    for end in 0..slug.len() {
        let error = unpack(&slug[..end], &SlugLimits::default()).unwrap_err();
        assert!(matches!(error, SlugError::Damaged(_)), "{end}: {error:?}");
    }
    let (file, hash) = (tempfile::NamedTempFile::new().unwrap(), SlugHash::from(blake3::hash(&slug)));
    for at in 0..slug.len() {
        let mut damaged = slug.clone();
        damaged[at] ^= 1;
        fs::write(file.path(), damaged).unwrap();
        let error = inspect(file.path(), &SlugLimits::default(), Some(hash)).unwrap_err();
        assert!(matches!(error, SlugError::Checksum { expected, .. } if expected == hash), "{at}: {error:?}");
    }
}

#[test]
fn a_manifest_must_come_first_be_known_and_be_true() {
    let manifest_error = |slug: &[u8]| match unpack(slug, &SlugLimits::default()) {
        Err(SlugError::Manifest(error)) => error,
        other => panic!("{other:?}"),
    };
    let mut none = Evil { entries: vec![], said: (0, 0), end: vec![] };
    none.raw(EntryType::Directory, b"app", 0o755, b"", 0, b"");
    let none = zstd::encode_all([none.entries, vec![0; 1024]].concat().as_slice(), 1).unwrap();
    assert!(matches!(manifest_error(&none), ManifestError::Missing));
    let untrue = Evil { said: (7, 4), ..Evil::new().file(b"app/a") };
    assert!(matches!(manifest_error(&untrue.slug()), ManifestError::Untrue { said: 7, found: 2, .. }));
    assert!(matches!(Manifest::parse(br#"{"format":2,"new":1}"#), Err(ManifestError::Format(2))));
    assert!(matches!(Manifest::parse(br#"{"format":1,"new":1}"#), Err(ManifestError::Json(_))));
}
