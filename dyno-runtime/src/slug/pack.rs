//! A directory becomes a slug: tar, compressed by zstd. The same files are the same bytes, on any number of CPUs.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    thread::available_parallelism,
};

use busbar_registry::{AppName, ProcessType};
use tar::{EntryType, Header};

use super::{
    MANIFEST_NAME, Manifest, SlugError, SlugHash, SlugLimits,
    error::Refusal,
    ignored::Ignored,
    stack::stack_of_this_machine,
    walk::{Found, What, walk},
};
use crate::{
    definition::{DefinitionError, procfile_of},
    procfile::Procfile,
};

/// How hard zstd tries. Beyond 3 a slug takes twice the time and is a seventh smaller.
const LEVEL: i32 = 3;
/// 1 January 2000. When a file was written is not part of what it is.
const TIME: u64 = 946_684_800;
/// Files are read in pieces of this size.
const PIECE: usize = 128 << 10;

/// What goes into a slug besides the files.
#[derive(Debug, Clone)]
pub struct PackOptions {
    /// The app.
    pub app: AppName,
    /// The stack. Default: this machine's.
    pub stack: String,
    /// How large it may be.
    pub limits: SlugLimits,
    /// Process types that a buildpack gave; those of the Procfile win.
    pub default_process_types: BTreeMap<ProcessType, String>,
    /// Config vars that a buildpack gave.
    pub config_vars: BTreeMap<String, String>,
    /// The buildpacks that were used.
    pub buildpacks: Vec<String>,
    /// What the source was.
    pub source_version: Option<String>,
    /// How many threads compress; the bytes are the same. Default: one per CPU, at most 8.
    pub threads: u32,
}

impl PackOptions {
    /// For this app, on this machine.
    pub fn new(app: AppName) -> Self {
        let threads = available_parallelism().map_or(1, |n| n.get().min(8));
        Self {
            app,
            stack: stack_of_this_machine(),
            limits: SlugLimits::default(),
            default_process_types: BTreeMap::new(),
            config_vars: BTreeMap::new(),
            buildpacks: Vec::new(),
            source_version: None,
            threads: u32::try_from(threads).unwrap_or(1),
        }
    }
}

/// A slug that was made.
#[derive(Debug, Clone)]
pub struct Packed {
    /// Its file.
    pub file: PathBuf,
    /// Its name.
    pub hash: SlugHash,
    /// Its size in bytes.
    pub compressed: u64,
    /// What it says about itself.
    pub manifest: Manifest,
}

/// Makes a slug of the app in `directory`. It is written beside `name(hash)` first and takes its place when it is whole.
/// `progress` hears how many bytes of how many are packed.
///
/// # Errors
/// [`SlugError`]; then no file is left.
pub fn pack(
    directory: &Path,
    options: &PackOptions,
    beside: &Path,
    name: impl FnOnce(&SlugHash) -> PathBuf,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Packed, SlugError> {
    pack_unless(&|| false, directory, options, beside, name, progress)
}

/// The same, until it is `stopped`: then it is [`SlugError::Stopped`].
pub(crate) fn pack_unless(
    stopped: &dyn Fn() -> bool,
    directory: &Path,
    options: &PackOptions,
    beside: &Path,
    name: impl FnOnce(&SlugHash) -> PathBuf,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Packed, SlugError> {
    let ignored = Ignored::of(directory)?;
    let mut found = walk(directory, &ignored, &options.limits)?;
    let draft = beside.join(format!(".busbar-slug-{}-{:08x}", std::process::id(), fastrand::u32(..)));
    // A slug that is made within the app's directory is no part of itself.
    found.retain(|found| found.source != draft);
    let manifest = manifest(directory, options, &found)?;
    let goes_on = || if stopped() { Err(SlugError::Stopped) } else { Ok(()) };
    let made = write(&draft, &manifest, &found, options, &mut |done, all| {
        progress(done, all);
        goes_on()
    });
    let placed = made.and_then(|(hash, compressed)| {
        goes_on()?;
        let file = name(&hash);
        fs::rename(&draft, &file).map_err(SlugError::file("write", &file))?;
        Ok(Packed { file, hash, compressed, manifest })
    });
    if placed.is_err() {
        let _not_there = fs::remove_file(&draft);
    }
    placed
}

fn manifest(directory: &Path, options: &PackOptions, found: &[Found]) -> Result<Manifest, SlugError> {
    let procfile = procfile_of(directory).map_err(Box::new)?;
    let mut process_types = options.default_process_types.clone();
    if let Some(procfile) = procfile.as_ref().map(Procfile::entries) {
        process_types.extend(procfile.map(|(name, command)| (name.clone(), command.to_owned())));
    }
    if process_types.is_empty() {
        return Err(Box::new(DefinitionError::NoProcfile(directory.to_owned())).into());
    }
    let size = |found: &Found| if let What::File { size, .. } = found.what { size } else { 0 };
    Ok(Manifest {
        process_types,
        config_vars: options.config_vars.clone(),
        buildpacks: options.buildpacks.clone(),
        source_version: options.source_version.clone(),
        entries: found.len() as u64,
        bytes: found.iter().map(size).sum(),
        ..Manifest::new(options.app.clone(), options.stack.clone())
    })
}

fn write(
    draft: &Path,
    manifest: &Manifest,
    found: &[Found],
    options: &PackOptions,
    progress: &mut dyn FnMut(u64, u64) -> Result<(), SlugError>,
) -> Result<(SlugHash, u64), SlugError> {
    let broken = |error: io::Error| written(error, draft);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(draft).map_err(broken)?;
    let hashing =
        Hashing { file, hasher: blake3::Hasher::new(), written: 0, most: options.limits.compressed };
    let mut encoder = zstd::Encoder::new(hashing, LEVEL).map_err(broken)?;
    encoder.include_checksum(true).map_err(broken)?;
    // With workers the bytes do not depend on their number; without any they would be other bytes.
    encoder.multithread(options.threads.max(1)).map_err(broken)?;
    let mut slug = tar::Builder::new(encoder);
    let json = manifest.to_json()?;
    let mut header = header(EntryType::Regular, false, json.len() as u64);
    slug.append_data(&mut header, MANIFEST_NAME, json.as_slice()).map_err(broken)?;
    let mut done = 0;
    for found in found {
        append(&mut slug, draft, found, &mut |bytes| {
            done += bytes;
            progress(done, manifest.bytes)
        })?;
    }
    let encoder = slug.into_inner().map_err(broken)?;
    let Hashing { file, hasher, written, .. } = encoder.finish().map_err(broken)?;
    file.sync_all().map_err(broken)?;
    Ok((hasher.finalize().into(), written))
}

fn append<W: Write>(
    slug: &mut tar::Builder<W>,
    draft: &Path,
    found: &Found,
    done: Done<'_>,
) -> Result<(), SlugError> {
    let appended = match &found.what {
        What::Directory => {
            let mut header = header(EntryType::Directory, true, 0);
            slug.append_data(&mut header, &found.path, io::empty())
        }
        What::Symlink { target } => {
            let mut header = header(EntryType::Symlink, true, 0);
            header.set_mode(0o777);
            slug.append_link(&mut header, &found.path, target)
        }
        What::File { size, executable } => {
            let mut header = header(EntryType::Regular, *executable, *size);
            let mut source = Whole::open(&found.source, *size, done)?;
            let appended = slug.append_data(&mut header, &found.path, &mut source);
            if let Some(refused) = source.refused {
                return Err(refused);
            }
            if let Err(error) = &appended
                && error.get_ref().is_some_and(|inner| inner.is::<HasChanged>())
            {
                return Err(SlugError::Changed(found.source.clone()));
            }
            appended
        }
    };
    appended.map_err(|error| written(error, draft))
}

fn header(kind: EntryType, executable: bool, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(if executable { 0o755 } else { 0o644 });
    header.set_mtime(TIME);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// An error of writing: the slug has become too large, or the disk is full.
fn written(error: io::Error, draft: &Path) -> SlugError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>()) {
        Some(refusal) => SlugError::refused(b"the slug", refusal.clone()),
        None => SlugError::file("write", draft)(error),
    }
}

/// Counts and hashes what is written.
struct Hashing {
    file: File,
    hasher: blake3::Hasher,
    written: u64,
    most: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written + bytes.len() as u64 > self.most {
            return Err(io::Error::other(Refusal::Compressed(self.most)));
        }
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Hears how many bytes more are packed, and says whether to go on.
type Done<'a> = &'a mut dyn FnMut(u64) -> Result<(), SlugError>;

/// A file that must have exactly the size it had.
struct Whole<'a> {
    file: io::BufReader<File>,
    left: u64,
    done: Done<'a>,
    /// Why it is not read on.
    refused: Option<SlugError>,
}

#[derive(Debug, thiserror::Error)]
#[error("the file has changed")]
struct HasChanged;

impl<'a> Whole<'a> {
    fn open(path: &Path, size: u64, done: Done<'a>) -> Result<Self, SlugError> {
        // What was a file a moment ago may be a symlink or a pipe now.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).unwrap_or(0);
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
        let file = file.map_err(SlugError::file("read", path))?;
        let metadata = file.metadata().map_err(SlugError::file("read", path))?;
        if !metadata.is_file() || metadata.len() != size {
            return Err(SlugError::Changed(path.to_owned()));
        }
        let capacity = usize::try_from(size).unwrap_or(PIECE).clamp(512, PIECE);
        Ok(Self { file: io::BufReader::with_capacity(capacity, file), left: size, done, refused: None })
    }
}

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        if read as u64 > self.left || read == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::other(HasChanged));
        }
        self.left -= read as u64;
        if let Err(refused) = (self.done)(read as u64) {
            self.refused = Some(refused);
            return Err(io::ErrorKind::Other.into());
        }
        Ok(read)
    }
}
