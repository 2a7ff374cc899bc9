//! A certificate authority for the user of this machine alone, so that `busbar up --tls` has certificates that can be
//! trusted. It can sign for this machine's own names only: whoever stole its key could not pretend to be anybody else.
//!
//! - [`LocalCa::open`]: the one in the user's data directory; made on the first run.
//! - [`LocalCa::sign`]: a short-lived certificate for one app.

use std::{
    env, fs,
    io::{self, Write as _},
    net::Ipv6Addr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use busbar_registry::AppName;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use router_core::tls::Certificate;

use crate::failure::Failure;

const DAY: Duration = Duration::from_secs(86_400);
/// How long the authority is good.
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How long an app's certificate is good. It is made anew at every start.
const LEAF_LIFE: Duration = Duration::from_secs(14 * 86_400);
/// Clocks differ: certificates are good from a little while ago on.
const BEFORE: Duration = Duration::from_secs(3600);
/// An authority whose end is so near is replaced.
const TOO_OLD: Duration = Duration::from_secs(60 * 86_400);

/// The authority.
pub(crate) struct LocalCa {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, in PEM.
    pub(crate) pem: String,
    /// Where that is.
    pub(crate) file: PathBuf,
    /// It was made just now.
    pub(crate) is_new: bool,
}

impl LocalCa {
    /// The one of this user; made if there is none, or if it is over soon.
    ///
    /// # Errors
    /// [`Failure::File`], also when others may read its key.
    pub(crate) fn open() -> Result<Self, Failure> {
        Self::open_in(&directory()?, SystemTime::now())
    }

    fn open_in(directory: &Path, now: SystemTime) -> Result<Self, Failure> {
        let (file, key_file) = (directory.join("ca.pem"), directory.join("ca.key"));
        if !key_file.exists() || !file.exists() || is_over_soon(&file, &key_file, now) {
            make(directory, &file, &key_file, now)?;
            return Ok(Self { is_new: true, ..read(&file, &key_file)? });
        }
        read(&file, &key_file)
    }

    /// A certificate for an app's names on this machine, and its new key.
    ///
    /// # Errors
    /// [`Failure::System`], [`Failure::Certificate`].
    pub(crate) fn sign(&self, app: &AppName, now: SystemTime) -> Result<Certificate, Failure> {
        let failed = |source: rcgen::Error| Failure::System {
            deed: "making a certificate",
            source: io::Error::other(source),
        };
        let key = KeyPair::generate().map_err(failed)?;
        let names = vec!["localhost".to_owned(), format!("{app}.localhost"), format!("*.{app}.localhost")];
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        params.subject_alt_names.push(SanType::IpAddress(Ipv6Addr::LOCALHOST.into()));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("{app}.localhost"));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = ((now - BEFORE).into(), (now + LEAF_LIFE).into());
        let chain = params.signed_by(&key, &self.issuer).map_err(failed)?.pem();
        let name = format!("the certificate for {app}.localhost");
        Ok(Certificate::from_pem(&name, chain.as_bytes(), key.serialize_pem().as_bytes())?)
    }
}

/// Whether a certificate that was signed then should be made anew.
pub(crate) fn wants_renewal(certificate: &Certificate, now: SystemTime) -> bool {
    certificate.expires().duration_since(now).unwrap_or_default() < LEAF_LIFE / 2
}

/// `$XDG_DATA_HOME/busbar/local-ca`
fn directory() -> Result<PathBuf, Failure> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")));
    let data = data.ok_or_else(|| {
        Failure::Usage(
            "there is no place for the local certificate authority; set HOME or XDG_DATA_HOME".into(),
        )
    })?;
    Ok(data.join("busbar/local-ca"))
}

fn failed(file: &Path, deed: &'static str, source: io::Error, advice: &'static str) -> Failure {
    let path = file.display().to_string();
    Failure::File { what: "local certificate authority", path, deed, source, advice }
}

fn is_over_soon(file: &Path, key: &Path, now: SystemTime) -> bool {
    // It has no alternative names, so it is no `Certificate`; its age is that of its file, which nobody else writes.
    let made = fs::metadata(file).and(fs::metadata(key)).and_then(|data| data.modified());
    made.is_ok_and(|made| now.duration_since(made).unwrap_or_default() > CA_LIFE - TOO_OLD)
}

fn read(file: &Path, key_file: &Path) -> Result<LocalCa, Failure> {
    let anew = "remove it with its directory, and a new one is made";
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| failed(&path, "read", source, "check its permissions")
    };
    let mode = fs::metadata(key_file).map_err(unreadable(key_file))?.permissions().mode();
    if mode & 0o077 != 0 {
        let source = io::Error::new(io::ErrorKind::PermissionDenied, "others may read its key");
        return Err(failed(key_file, "used", source, anew));
    }
    let pem = fs::read_to_string(file).map_err(unreadable(file))?;
    let key = fs::read_to_string(key_file).map_err(unreadable(key_file))?;
    let damaged = |source: rcgen::Error| failed(file, "used", io::Error::other(source), anew);
    let key = KeyPair::from_pem(&key).map_err(damaged)?;
    let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(damaged)?;
    Ok(LocalCa { issuer, pem, file: file.to_owned(), is_new: false })
}

/// The key first: a certificate without it is of no use to anybody.
fn make(directory: &Path, file: &Path, key_file: &Path, now: SystemTime) -> Result<(), Failure> {
    let broken = |source: rcgen::Error| failed(file, "made", io::Error::other(source), "try again");
    let key = KeyPair::generate().map_err(broken)?;
    let mut params = CertificateParams::new(vec![]).map_err(broken)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Busbar local CA (busbar up --tls)");
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    params.distinguished_name.push(DnType::OrganizationName, format!("for {machine} alone"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(Ipv6Addr::LOCALHOST.octets(), 128)),
        ],
        excluded_subtrees: Vec::new(),
    });
    (params.not_before, params.not_after) = ((now - DAY).into(), (now + CA_LIFE).into());
    let certificate = params.self_signed(&key).map_err(broken)?;
    let advice = "check that its directory can be written, or set XDG_DATA_HOME";
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| failed(directory, "made", source, advice))?;
    for (path, text, mode) in [(key_file, key.serialize_pem(), 0o600), (file, certificate.pem(), 0o644)] {
        write(path, &text, mode).map_err(|source| failed(path, "written", source, advice))?;
    }
    Ok(())
}

/// As a whole, or not at all.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all())?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_first_run_makes_an_authority_and_later_ones_use_it() {
        let folder = tempfile::tempdir().unwrap();
        let (directory, now) = (folder.path().join("busbar/local-ca"), SystemTime::now());
        let first = LocalCa::open_in(&directory, now).unwrap();
        assert!(first.is_new);
        assert_eq!((mode(&directory), mode(&directory.join("ca.key"))), (0o700, 0o600));
        let second = LocalCa::open_in(&directory, now).unwrap();
        assert!(!second.is_new && second.pem == first.pem);
        let nearly_over = LocalCa::open_in(&directory, now + CA_LIFE - TOO_OLD / 2).unwrap();
        assert!(nearly_over.is_new && nearly_over.pem != first.pem);
        fs::set_permissions(directory.join("ca.key"), fs::Permissions::from_mode(0o644)).unwrap();
        let refused = LocalCa::open_in(&directory, now).err().expect("others may read it").to_string();
        assert!(refused.contains("others may read its key"), "{refused}");
    }

    #[test]
    fn an_apps_certificate_is_for_this_machine_and_renewed_at_half_its_life() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let ca = LocalCa::open_in(folder.path(), now).unwrap();
        let made = ca.sign(&"shop".parse().unwrap(), now).unwrap();
        assert_eq!(made.is_for(), "localhost, shop.localhost, *.shop.localhost, 127.0.0.1, ::1");
        assert!(made.good_at(now).is_ok());
        assert!(!wants_renewal(&made, now) && wants_renewal(&made, now + LEAF_LIFE / 2 + DAY));
    }
}
