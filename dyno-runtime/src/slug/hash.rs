//! The name of a slug.

use std::{fmt, path::Path, str::FromStr};

/// The BLAKE3 hash of a slug's bytes, written as 64 hexadecimal digits: what `b3sum app.slug` prints.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlugHash([u8; 32]);

/// Not the hash of a slug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a slug's hash is 64 hexadecimal digits, as `busbar slug inspect` shows it")]
pub struct NoHash;

impl SlugHash {
    /// The hash in the name of a file, `<hash>.slug`; such a file must have that hash.
    pub fn of_file_name(file: &Path) -> Option<Self> {
        file.file_stem()?.to_str()?.parse().ok()
    }

    /// The first 12 digits, for people.
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

impl From<blake3::Hash> for SlugHash {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl fmt::Display for SlugHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SlugHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlugHash({self})")
    }
}

impl FromStr for SlugHash {
    type Err = NoHash;
    fn from_str(text: &str) -> Result<Self, NoHash> {
        // Upper case would be a second name of the same slug.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(NoHash);
        }
        blake3::Hash::from_hex(text).map(Self::from).map_err(|_| NoHash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_one_spelling() {
        let hash = SlugHash::from(blake3::hash(b""));
        let text = hash.to_string();
        assert_eq!(text.parse(), Ok(hash));
        assert_eq!(SlugHash::of_file_name(Path::new(&format!("/x/{text}.slug"))), Some(hash));
        for wrong in [text.to_uppercase(), text.replace('a', ""), String::new(), format!("{text}0")] {
            assert_eq!(wrong.parse::<SlugHash>(), Err(NoHash), "{wrong}");
        }
        assert_eq!(SlugHash::of_file_name(Path::new("app.slug")), None);
    }
}
