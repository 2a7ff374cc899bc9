//! Takes a slug apart: every byte is checked before anything is made of it.
//!
//! - [`inspect`]: what is in it. [`read`]: the same, and a [`Sink`] gets the entries.
//!
//! The way of the bytes: file → [`Hashing`] (size, hash) → zstd (one frame, with its checksum) → [`Bounded`] (size, ratio) →
//! tar headers as they are → [`Order`] → the sink. An error of the checksum wins over everything that follows from it.

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
    path::Path,
    rc::Rc,
};

use tar::EntryType;

use super::{
    MANIFEST_NAME, Manifest, ManifestError, SlugError, SlugHash, SlugLimits, TREE,
    error::Refusal,
    limits::{MAX_MANIFEST, MAX_PATH},
    order::{Kind, Order, Place, components},
    tree::{Nowhere, Sink},
    walk::link_target,
};

/// A tar archive consists of these, and ends with two of zeros.
const BLOCK: u64 = 512;
/// A window of 128 MiB is the largest that zstd grants unasked.
const WINDOW_LOG_MAX: u32 = 27;

/// What is in a slug.
#[derive(Debug, Clone)]
pub struct Contents {
    /// Its name.
    pub hash: SlugHash,
    /// Its size in bytes.
    pub compressed: u64,
    /// What it says about itself; its sizes are true.
    pub manifest: Manifest,
}

/// An entry of a slug, for who looks at all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Its path, below `app/`.
    pub path: &'a str,
    /// `d`, `l`, `x` for a file that can be executed, or `-`.
    pub kind: char,
    /// The bytes of a file.
    pub size: u64,
}

/// Reads a slug and checks all of it.
///
/// # Errors
/// [`SlugError`]; [`SlugError::Checksum`] when it is not the one that is expected.
pub fn inspect(file: &Path, limits: &SlugLimits, expected: Option<SlugHash>) -> Result<Contents, SlugError> {
    inspect_with(file, limits, expected, &mut |_| ())
}

/// Like [`inspect`]; `each` sees every entry as it comes. What it has seen counts only when all is well.
///
/// # Errors
/// [`SlugError`].
pub fn inspect_with(
    file: &Path,
    limits: &SlugLimits,
    expected: Option<SlugHash>,
    each: &mut dyn FnMut(Listed<'_>),
) -> Result<Contents, SlugError> {
    let opened = File::open(file).map_err(SlugError::file("open", file))?;
    read(opened, limits, expected, &mut Nowhere, each, &mut |_| ())
}

/// Reads a slug, checks all of it, and gives its entries to `sink`. `progress` hears of compressed bytes.
pub(super) fn read(
    from: impl Read,
    limits: &SlugLimits,
    expected: Option<SlugHash>,
    sink: &mut dyn Sink,
    each: &mut dyn FnMut(Listed<'_>),
    progress: &mut dyn FnMut(u64),
) -> Result<Contents, SlugError> {
    let count = Rc::new(Cell::new(0));
    let source = Hashing {
        from,
        hasher: blake3::Hasher::new(),
        count: Rc::clone(&count),
        most: limits.compressed,
        progress,
    };
    let mut source = BufReader::with_capacity(128 << 10, source);
    let taken = take_apart(&mut source, limits, &count, sink, each);
    if expected.is_some() || taken.is_ok() {
        // The rest counts for the hash; after a success there is none.
        let drained = io::copy(&mut source, &mut io::sink());
        let hash = SlugHash::from(source.get_ref().hasher.finalize());
        if let (Ok(_), Some(expected)) = (drained, expected.filter(|expected| *expected != hash)) {
            return Err(SlugError::Checksum { expected, actual: hash });
        }
        return taken.map(|manifest| Contents { hash, compressed: count.get(), manifest });
    }
    Err(taken.err().unwrap_or_else(|| SlugError::Damaged(io::ErrorKind::UnexpectedEof.into())))
}

fn take_apart<R: Read>(
    source: &mut BufReader<R>,
    limits: &SlugLimits,
    compressed: &Rc<Cell<u64>>,
    sink: &mut dyn Sink,
    each: &mut dyn FnMut(Listed<'_>),
) -> Result<Manifest, SlugError> {
    let mut decoder = zstd::Decoder::with_buffer(&mut *source).map_err(damaged)?.single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(damaged)?;
    let bounded = Bounded { from: decoder, count: 0, compressed: Rc::clone(compressed), limits: *limits };
    let mut archive = tar::Archive::new(bounded);
    let (manifest, end) = Walk { limits, sink, each, order: Order::new(), entries: 0, bytes: 0 }
        .all(archive.entries().map_err(damaged)?.raw(true))?;
    let mut rest = archive.into_inner();
    ends_properly(&mut rest, end)?;
    drop(rest);
    match source.fill_buf().map_err(damaged)? {
        [] => Ok(manifest),
        _ => Err(SlugError::refused(b"the slug", Refusal::Trailing)),
    }
}

/// Two blocks of zeros and nothing else; the first one was read already, if it is there.
fn ends_properly<R: Read>(rest: &mut Bounded<R>, end_of_entries: u64) -> Result<(), SlugError> {
    let first_is_there = rest.count == end_of_entries + BLOCK;
    let mut last = Vec::new();
    rest.take(BLOCK + 1).read_to_end(&mut last).map_err(damaged)?;
    let refusal = match (first_is_there, last.len() as u64) {
        (true, BLOCK) if last.iter().all(|byte| *byte == 0) => return Ok(()),
        (true, BLOCK..) => Refusal::Trailing,
        _ => Refusal::NoEnd,
    };
    Err(SlugError::refused(b"the slug", refusal))
}

/// Goes through the entries.
struct Walk<'a> {
    limits: &'a SlugLimits,
    sink: &'a mut dyn Sink,
    each: &'a mut dyn FnMut(Listed<'_>),
    order: Order,
    entries: u64,
    bytes: u64,
}

/// What stood in extra entries before the one that it belongs to.
#[derive(Default)]
struct Long {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

impl Walk<'_> {
    /// The manifest, and where the last entry ended.
    fn all<R: Read>(mut self, entries: tar::Entries<'_, R>) -> Result<(Manifest, u64), SlugError> {
        let (mut manifest, mut long, mut end) = (None, Long::default(), 0);
        for entry in entries {
            let mut entry = entry.map_err(damaged)?;
            end = (entry.raw_file_position() + entry.size()).next_multiple_of(BLOCK);
            if manifest.is_none() {
                manifest = Some(first(&mut entry)?);
                continue;
            }
            match entry.header().entry_type() {
                EntryType::GNULongName => long.path = Some(long_text(&mut entry, Refusal::PathTooLong)?),
                EntryType::GNULongLink => long.target = Some(long_text(&mut entry, Refusal::LinkTarget)?),
                _ => self.one(&mut entry, std::mem::take(&mut long))?,
            }
        }
        if long.path.is_some() || long.target.is_some() {
            return Err(SlugError::refused(b"the slug", Refusal::NoEnd));
        }
        let manifest = manifest.ok_or(ManifestError::Missing)?;
        manifest.check(self.entries, self.bytes)?;
        Ok((manifest, end))
    }

    fn one<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>, long: Long) -> Result<(), SlugError> {
        let path = long.path.unwrap_or_else(|| entry.path_bytes().into_owned());
        let refused = |refusal| SlugError::refused(&path, refusal);
        let kind = kind(entry.header().entry_type()).map_err(refused)?;
        let mode = entry.header().mode().map_err(damaged)?;
        if mode & 0o7000 != 0 {
            return Err(refused(Refusal::SetId));
        }
        let names = components(&path, kind).map_err(refused)?;
        if names.first() != Some(&TREE) || names.len() == 1 && kind != Kind::Directory {
            return Err(refused(Refusal::Outside));
        }
        let place = self.order.next(&names, kind).map_err(refused)?;
        self.count(entry.size(), kind).map_err(refused)?;
        let size = entry.size();
        let target = long.target.or_else(|| entry.link_name_bytes().map(Into::into)).unwrap_or_default();
        self.make(entry, kind, &place, mode & 0o100 != 0, &target, &path)?;
        let kind = match kind {
            Kind::Directory => 'd',
            Kind::Symlink => 'l',
            Kind::File if mode & 0o100 != 0 => 'x',
            Kind::File => '-',
        };
        (self.each)(Listed { path: &names.join("/"), kind, size });
        Ok(())
    }

    fn count(&mut self, size: u64, kind: Kind) -> Result<(), Refusal> {
        if kind != Kind::File && size > 0 {
            return Err(Refusal::Data);
        }
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(size);
        match () {
            () if self.entries > self.limits.entries => Err(Refusal::Entries(self.limits.entries)),
            () if self.bytes > self.limits.unpacked => Err(Refusal::Unpacked(self.limits.unpacked)),
            () => Ok(()),
        }
    }

    fn make<R: Read>(
        &mut self,
        entry: &mut tar::Entry<'_, R>,
        kind: Kind,
        place: &Place<'_>,
        executable: bool,
        target: &[u8],
        path: &[u8],
    ) -> Result<(), SlugError> {
        let unwritten = |source| {
            let path = String::from_utf8_lossy(path).into_owned();
            SlugError::File { deed: "unpack", path: path.into(), source }
        };
        match kind {
            Kind::Directory => self.sink.directory(place).map_err(unwritten),
            Kind::Symlink => {
                link_target(target).map_err(|refusal| SlugError::refused(path, refusal))?;
                self.sink.symlink(place, target).map_err(unwritten)
            }
            Kind::File => {
                self.sink.file(place, executable).map_err(unwritten)?;
                let (mut left, mut piece) = (entry.size(), vec![0; 64 << 10]);
                while left > 0 {
                    let read = entry.read(&mut piece).map_err(damaged)?;
                    if read == 0 {
                        return Err(damaged(io::ErrorKind::UnexpectedEof.into()));
                    }
                    let bytes = piece.get(..read).unwrap_or_default();
                    self.sink.bytes(bytes).map_err(unwritten)?;
                    left -= read as u64;
                }
                Ok(())
            }
        }
    }
}

/// The first entry is the manifest.
fn first<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Manifest, SlugError> {
    let is_manifest = entry.path_bytes().as_ref() == MANIFEST_NAME.as_bytes()
        && entry.header().entry_type() == EntryType::Regular
        && entry.size() <= MAX_MANIFEST;
    if !is_manifest {
        return Err(ManifestError::Missing.into());
    }
    let mut json = Vec::new();
    entry.read_to_end(&mut json).map_err(damaged)?;
    Ok(Manifest::parse(&json)?)
}

/// A path that did not fit into its header; a NUL ends it.
fn long_text<R: Read>(entry: &mut tar::Entry<'_, R>, too_long: Refusal) -> Result<Vec<u8>, SlugError> {
    if entry.size() > MAX_PATH as u64 + 1 {
        let mut begin = Vec::new();
        entry.take(64).read_to_end(&mut begin).map_err(damaged)?;
        return Err(SlugError::refused(&begin, too_long));
    }
    let mut text = Vec::new();
    entry.read_to_end(&mut text).map_err(damaged)?;
    if text.last() == Some(&0) {
        text.pop();
    }
    Ok(text)
}

fn kind(entry: EntryType) -> Result<Kind, Refusal> {
    match entry {
        EntryType::Regular => Ok(Kind::File),
        EntryType::Directory => Ok(Kind::Directory),
        EntryType::Symlink => Ok(Kind::Symlink),
        EntryType::Link => Err(Refusal::HardLink),
        EntryType::Char | EntryType::Block => Err(Refusal::Device),
        EntryType::Fifo => Err(Refusal::Fifo),
        EntryType::GNUSparse => Err(Refusal::Sparse),
        EntryType::XHeader | EntryType::XGlobalHeader => Err(Refusal::Pax),
        other => Err(Refusal::Type(char::from(other.as_byte()))),
    }
}

/// An error of reading is a limit that was reached, or the slug is damaged.
fn damaged(error: io::Error) -> SlugError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>()) {
        Some(refusal) => SlugError::refused(b"the slug", refusal.clone()),
        None => SlugError::Damaged(error),
    }
}

/// Counts and hashes what comes from the file.
struct Hashing<'a, R> {
    from: R,
    hasher: blake3::Hasher,
    count: Rc<Cell<u64>>,
    most: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.hasher.update(buffer.get(..read).unwrap_or_default());
        let count = self.count.get() + read as u64;
        self.count.set(count);
        (self.progress)(count);
        if count > self.most { Err(io::Error::other(Refusal::Compressed(self.most))) } else { Ok(read) }
    }
}

/// Counts what was unpacked.
struct Bounded<R> {
    from: R,
    count: u64,
    compressed: Rc<Cell<u64>>,
    limits: SlugLimits,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.count += read as u64;
        // Headers and padding: at most so much for each entry, with a long path and a long target.
        let overhead = self.limits.entries.saturating_add(2).saturating_mul(8 * BLOCK) + MAX_MANIFEST;
        if self.count > self.limits.unpacked.saturating_add(overhead) {
            return Err(io::Error::other(Refusal::Unpacked(self.limits.unpacked)));
        }
        if self.limits.is_bomb(self.count, self.compressed.get()) {
            return Err(io::Error::other(Refusal::Ratio(self.limits.ratio)));
        }
        Ok(read)
    }
}
