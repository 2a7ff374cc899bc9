//! Certificates that came over the admin API: one file each, chain and key together, for nobody else's eyes.
//!
//! - [`Uploads`]: the directory. [`UploadError`]: why one is not taken.
//!
//! A file is replaced as a whole, so that a chain never stands beside another one's key.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use router_core::tls::{Certificate, CertificateError};

use crate::{config::CertificateFiles, failure::reason};

/// No name is longer.
const LONGEST_NAME: usize = 64;
/// More than these are not taken.
const MOST: usize = 10_000;

/// Why a certificate is not taken, or not removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// A name must do as a file's name everywhere.
    #[error(
        "{0:?} is no name for a certificate; use 1 to 64 of a-z, 0-9, `-`, `_` and `.`, and begin with a letter or digit"
    )]
    Name(String),
    /// What is wrong with it.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// There is none.
    #[error(
        "there is no certificate {0:?} that came over the admin API; those of files go with their [[certificate]]"
    )]
    Unknown(String),
    /// There are too many.
    #[error("there are {MOST} certificates already; remove some")]
    TooMany,
    /// The directory.
    #[error("{} cannot be {deed}: {}; check `uploads` in [tls]", .path.display(), reason(.source))]
    Directory {
        /// Which file or directory.
        path: PathBuf,
        /// `made`, `read`, `written`.
        deed: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Where they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Uploads(pub(crate) PathBuf);

impl Uploads {
    /// Their files, in the order of their names. No directory is one without files.
    ///
    /// # Errors
    /// [`UploadError::Directory`].
    pub(crate) fn files(&self) -> Result<Vec<CertificateFiles>, UploadError> {
        let failed = |source| UploadError::Directory { path: self.0.clone(), deed: "read", source };
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let files = entries.map(|entry| Ok(entry.map_err(failed)?.path()));
        let is_one = |file: &Path| file.extension().is_some_and(|end| end == "pem");
        let files = files.filter(|file| file.as_ref().map_or(true, |file| is_one(file))).take(MOST);
        let mut files: Vec<_> = files.collect::<Result<_, UploadError>>()?;
        files.sort();
        let one =
            |file: PathBuf| CertificateFiles { chain: file.clone(), key: file, ocsp: None, default: false };
        Ok(files.into_iter().map(one).collect())
    }

    /// Whether this is one of them.
    pub(crate) fn has(&self, files: &CertificateFiles) -> bool {
        files.chain.parent() == Some(&self.0)
    }

    /// Takes one, in the place of the one of this name; its chain and its key are in `text`, in PEM.
    ///
    /// # Errors
    /// [`UploadError`]: also when it has expired; nothing was changed then.
    pub(crate) fn put(&self, name: &str, text: &[u8], now: SystemTime) -> Result<Certificate, UploadError> {
        let file = self.file(name)?;
        let certificate = Certificate::from_pem(name, text, text)?;
        certificate.good_at(now)?;
        self.make()?;
        if !file.exists() && fs::read_dir(&self.0).is_ok_and(|all| all.count() >= MOST) {
            return Err(UploadError::TooMany);
        }
        let new = self.0.join(format!(".{name}.new"));
        write(&new, text)
            .and_then(|()| fs::rename(&new, &file))
            .map_err(|source| UploadError::Directory { path: file, deed: "written", source })?;
        Ok(certificate)
    }

    /// Removes one.
    ///
    /// # Errors
    /// [`UploadError`].
    pub(crate) fn remove(&self, name: &str) -> Result<(), UploadError> {
        let file = self.file(name)?;
        fs::remove_file(&file).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => UploadError::Unknown(name.to_owned()),
            _ => UploadError::Directory { path: file, deed: "removed", source },
        })
    }

    fn file(&self, name: &str) -> Result<PathBuf, UploadError> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let good = name.len() <= LONGEST_NAME
            && name.bytes().next().is_some_and(letter)
            && name.bytes().all(|byte| letter(byte) || b"-_.".contains(&byte));
        if good { Ok(self.0.join(format!("{name}.pem"))) } else { Err(UploadError::Name(name.to_owned())) }
    }

    /// Only its owner may look into it.
    fn make(&self) -> Result<(), UploadError> {
        let failed = |source| UploadError::Directory { path: self.0.clone(), deed: "made", source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(failed)?;
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700)).map_err(failed)
    }
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let _left_by_a_crash = fs::remove_file(path);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text).and_then(|()| file.sync_all())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn made(name: &str, year: i32) -> String {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        params.self_signed(&key).unwrap().pem() + &key.serialize_pem()
    }

    fn names(uploads: &Uploads) -> Vec<String> {
        let read = |files: &CertificateFiles| files.load(SystemTime::now()).unwrap().0.is_for();
        uploads.files().unwrap().iter().map(read).collect()
    }

    #[test]
    fn an_uploaded_certificate_is_kept_for_its_owner_alone_replaced_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = Uploads(folder.path().join("kept"));
        let now = SystemTime::now();
        uploads.put("shop", made("a.example", 2999).as_bytes(), now).unwrap();
        uploads.put("shop", made("b.example", 2999).as_bytes(), now).unwrap();
        uploads.put("0.other_one-2", made("c.example", 2999).as_bytes(), now).unwrap();
        assert_eq!(names(&uploads), ["c.example", "b.example"]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&uploads.0), mode(&uploads.0.join("shop.pem"))), (0o700, 0o600));
        uploads.remove("shop").unwrap();
        assert_eq!(names(&uploads), ["c.example"]);
        assert!(matches!(uploads.remove("shop"), Err(UploadError::Unknown(_))));
    }

    #[test]
    fn what_cannot_be_shown_is_not_taken_and_no_name_leads_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let (uploads, now) = (Uploads(folder.path().join("kept")), SystemTime::now());
        for name in ["", ".", "..", "../up", "a/b", "A", ".hidden", "é", &"a".repeat(65)] {
            let refused = uploads.put(name, made("a.example", 2999).as_bytes(), now);
            assert!(matches!(refused, Err(UploadError::Name(_))), "{name}");
        }
        let expired = uploads.put("shop", made("a.example", 2020).as_bytes(), now);
        assert!(matches!(expired, Err(UploadError::Certificate(CertificateError::Expired { .. }))));
        let no_key = uploads.put(
            "shop",
            made("a.example", 2999).split("-----BEGIN PRIVATE").next().unwrap().as_bytes(),
            now,
        );
        assert!(matches!(no_key, Err(UploadError::Certificate(CertificateError::NoKey(_)))));
        assert_eq!(names(&uploads), Vec::<String>::new());
    }
}
