//! Why a slug was refused.
//!
//! - [`SlugError`]: the deed and the thing. [`Refusal`]: what no slug may contain; a closed list.

use std::{io, path::PathBuf};

use super::{
    SlugHash,
    ignored::IgnoreError,
    limits::{MAX_DEPTH, MAX_NAME, MAX_PATH},
    manifest::ManifestError,
};
use crate::definition::DefinitionError;

/// Why a slug was not made, not read, or not unpacked. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum SlugError {
    /// It contains what no slug may contain.
    #[error("{entry:?} {refusal}")]
    Refused {
        /// Which entry, as it is written in the slug; "the slug" for the whole.
        entry: String,
        /// Why.
        refusal: Refusal,
    },
    /// It is not the slug that was asked for: R17.
    #[error("Checksum does match expected value. Expected: BLAKE3:{expected} Actual: BLAKE3:{actual}")]
    Checksum {
        /// What was asked for.
        expected: SlugHash,
        /// What is there.
        actual: SlugHash,
    },
    /// It is no slug, is cut off, or was damaged.
    #[error("this is no whole slug: {0}; get it again, or make it with `busbar slug build`")]
    Damaged(#[source] io::Error),
    /// What it says about itself makes no sense.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file or directory of this machine.
    #[error("cannot {deed} {}: {source}", path.display())]
    File {
        /// What was tried.
        deed: &'static str,
        /// With which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file was written to while it was packed.
    #[error("{} changed while it was packed; try again when nothing writes there", .0.display())]
    Changed(PathBuf),
    /// Somebody stopped it.
    #[error("the slug was not made: that was stopped")]
    Stopped,
    /// The store belongs to somebody else, or others may write there.
    #[error("{} is not safe as a store of slugs: it must belong to this user, and only they may write there", .0.display())]
    UnsafeStore(PathBuf),
    /// `.slugignore` has mistakes.
    #[error(transparent)]
    Ignore(#[from] IgnoreError),
    /// The directory is no app.
    #[error(transparent)]
    App(#[from] Box<DefinitionError>),
}

impl SlugError {
    /// Says which entry was refused.
    pub(super) fn refused(entry: &[u8], refusal: Refusal) -> Self {
        let entry: String = String::from_utf8_lossy(entry).chars().take(200).collect();
        Self::Refused { entry, refusal }
    }

    /// Says what could not be done with a file.
    pub(super) fn file(deed: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { deed, path, source }
    }

    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal),
            _ => None,
        }
    }
}

/// What no slug may contain. Who packs is told the same as who unpacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `/etc/passwd`
    #[error("is an absolute path")]
    Absolute,
    /// `a/../../b`
    #[error("leads out of its directory by ..")]
    Parent,
    /// `a/./b`, `a//b`, an empty name.
    #[error("has an empty name or . in it")]
    Dot,
    /// Beside `app/`.
    #[error("is not below app/")]
    Outside,
    /// A name that is not UTF-8.
    #[error("is not UTF-8; rename it")]
    NotUtf8,
    /// A control character in a name, such as a line end.
    #[error("has a control character in its name; rename it")]
    Control,
    /// See the text.
    #[error("has a name longer than {MAX_NAME} bytes")]
    NameTooLong,
    /// See the text.
    #[error("is a path longer than {MAX_PATH} bytes")]
    PathTooLong,
    /// See the text.
    #[error("is more than {MAX_DEPTH} directories deep")]
    TooDeep,
    /// Twice the same name.
    #[error("is there twice")]
    Duplicate,
    /// Two names that are one where case does not count.
    #[error("differs from {0:?} only by upper and lower case; rename one of them")]
    CaseFold(String),
    /// Not in the order in which slugs are made.
    #[error("is not in order: a slug is sorted by name")]
    OutOfOrder,
    /// Its directory does not come before it.
    #[error("comes without its directory before it")]
    NoParent,
    /// Something below a symlink.
    #[error("would be written through a symlink")]
    ThroughSymlink,
    /// Something below a file.
    #[error("is below something that is no directory")]
    ThroughFile,
    /// A second name of a file, inside or outside of the slug.
    #[error("is a hard link; a slug has files, directories and symlinks")]
    HardLink,
    /// A block or character device.
    #[error("is a device; a slug has files, directories and symlinks")]
    Device,
    /// See the text.
    #[error("is a named pipe; a slug has files, directories and symlinks (list it in .slugignore)")]
    Fifo,
    /// See the text.
    #[error("is a socket; a slug has files, directories and symlinks (list it in .slugignore)")]
    Socket,
    /// A file with holes.
    #[error("is a sparse file, which a slug has not")]
    Sparse,
    /// A header that changes what the next one says.
    #[error("has an extended header (pax), which a slug has not")]
    Pax,
    /// Another type of entry.
    #[error("is of a type that a slug has not ({0:?})")]
    Type(char),
    /// The rights of somebody else.
    #[error("has a set-user-ID, set-group-ID or sticky bit")]
    SetId,
    /// A symlink to nothing, or to too long a name, or with a NUL.
    #[error("is a symlink without a proper target")]
    LinkTarget,
    /// Data where none belongs.
    #[error("has data, and is no file")]
    Data,
    /// See the text.
    #[error("has more than {0} entries")]
    Entries(u64),
    /// See the text.
    #[error("has more than {0} bytes unpacked")]
    Unpacked(u64),
    /// See the text.
    #[error("has more than {0} bytes; leave more out by .slugignore")]
    Compressed(u64),
    /// A decompression bomb.
    #[error("unpacks to more than {0} bytes for each byte")]
    Ratio(u64),
    /// Something after the end.
    #[error("goes on after its end")]
    Trailing,
    /// No end.
    #[error("has no end")]
    NoEnd,
}
