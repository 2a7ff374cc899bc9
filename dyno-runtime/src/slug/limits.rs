//! How large a slug may be.

/// A path within a slug, `app/` included, has at most so many bytes.
pub(super) const MAX_PATH: usize = 1024;
/// One name in a path has at most so many bytes, as on every Linux file system.
pub(super) const MAX_NAME: usize = 255;
/// So many directories may be within each other. Each costs a descriptor while a slug is unpacked.
pub(super) const MAX_DEPTH: usize = 100;
/// A manifest has at most so many bytes.
pub(super) const MAX_MANIFEST: u64 = 1 << 20;
/// The ratio counts from so many unpacked bytes on: a small slug may be as empty as it likes.
const RATIO_FROM: u64 = 64 << 20;

/// How large a slug may be, in bytes and in entries. Both who makes one and who unpacks it keep to this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlugLimits {
    /// The slug itself. Default 500 MiB, about what Heroku allows.
    pub compressed: u64,
    /// All files together. Default 4 GiB.
    pub unpacked: u64,
    /// Files, directories and symlinks. Default 200,000.
    pub entries: u64,
    /// Unpacked bytes for each compressed one, beyond 64 MiB. Default 200: source code has 4 to 10.
    pub ratio: u64,
}

impl Default for SlugLimits {
    fn default() -> Self {
        Self { compressed: 500 << 20, unpacked: 4 << 30, entries: 200_000, ratio: 200 }
    }
}

impl SlugLimits {
    /// Whether so much out of so little is more than an honest slug has.
    pub(super) fn is_bomb(&self, unpacked: u64, compressed: u64) -> bool {
        unpacked > RATIO_FROM && unpacked / self.ratio.max(1) > compressed
    }
}
