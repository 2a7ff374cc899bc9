//! The files with secrets: the key that a registry's tokens are made with, and a token. Only their owner may read them.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use busbar_registry::{Capabilities, Token};

use crate::failure::Failure;

/// Bytes of a key; in the file, twice as many hexadecimal digits and an end of line.
const KEY_BYTES: usize = 32;
/// No key or token is longer.
const LONGEST: u64 = 4096;

/// Makes a new key in a new file. A file that is there already is left alone.
///
/// # Errors
/// [`Failure::File`].
pub(crate) fn create(path: &Path) -> Result<(), Failure> {
    let failed = |source| file("made", path, source, "choose a path that does not exist yet");
    let mut random = [0; KEY_BYTES];
    fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut random)).map_err(failed)?;
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut new =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    new.write_all(format!("{digits}\n").as_bytes()).and_then(|()| new.sync_all()).map_err(failed)
}

/// The key in the file.
///
/// # Errors
/// [`Failure::File`], also when others may read it.
pub(crate) fn read(path: &Path) -> Result<Capabilities, Failure> {
    let advice = "make one with busbar token --new-key";
    let text = secret(path, "key file", advice)?;
    let malformed = || {
        let source = io::Error::new(io::ErrorKind::InvalidData, "it is not 64 hexadecimal digits");
        file("used", path, source, advice)
    };
    let mut key = [0; KEY_BYTES];
    if text.len() != 2 * KEY_BYTES || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(malformed());
    }
    for (at, byte) in key.iter_mut().enumerate() {
        let digits = text.get(2 * at..2 * at + 2).ok_or_else(malformed)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| malformed())?;
    }
    Ok(Capabilities::from_key(key))
}

/// The token in the file.
///
/// # Errors
/// [`Failure::File`], also when others may read it.
pub(crate) fn token(path: &Path) -> Result<Token, Failure> {
    secret(path, "token file", "make one with busbar token").map(Token::from)
}

/// The text of a file that only its owner may read.
///
/// # Errors
/// [`Failure::File`], also when others may read it.
pub(crate) fn secret(path: &Path, what: &'static str, advice: &'static str) -> Result<String, Failure> {
    let failed = |source, advice| Failure::File {
        what,
        path: path.display().to_string(),
        deed: "read",
        source,
        advice,
    };
    let file = fs::File::open(path).map_err(|source| failed(source, advice))?;
    let mode = file.metadata().map_err(|source| failed(source, advice))?.mode();
    if mode & 0o077 != 0 {
        let source = io::Error::new(io::ErrorKind::PermissionDenied, "others may read it");
        return Err(failed(source, "take that right away with chmod 600"));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(|source| failed(source, advice))?;
    Ok(text.trim().to_owned())
}

fn file(deed: &'static str, path: &Path, source: io::Error, advice: &'static str) -> Failure {
    Failure::File { what: "key file", path: path.display().to_string(), deed, source, advice }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_key_is_for_its_owner_alone_and_makes_the_same_tokens_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let app = "shop".parse().unwrap();
        let token = read(&path).unwrap().app_token(&app);
        assert!(read(&path).unwrap().check(token.secret()).is_some());
        assert!(create(&path).is_err(), "a key is never overwritten");
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(
            read(&path)
                .unwrap_err()
                .to_string()
                .ends_with("others may read it; take that right away with chmod 600")
        );
        for text in ["", "zz", &"é".repeat(32), &"0".repeat(63)] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let refused = read(&path).unwrap_err().to_string();
            assert!(refused.contains("64 hexadecimal digits"), "{refused}");
        }
    }
}
