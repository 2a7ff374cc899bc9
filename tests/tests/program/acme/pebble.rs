//! Let's Encrypt's pebble, an ACME server for tests, and pebble-challtestsrv, which is its DNS. Debian has both; where they
//! are not installed, the package is fetched and unpacked into the target directory.
//!
//! - [`Pebble::start`]: both, on ports of their own. [`Pebble::look`]: a client that trusts what pebble signs, and only that.
//! - [`Port`]: one that the kernel chose and that nobody else gets until it is used.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::wait::{PATIENCE, skipped, until};

/// A port that nobody else gets: a socket is bound to it that never listens.
pub(super) struct Port {
    pub(super) number: u16,
    _held: Socket,
}

impl Port {
    pub(super) fn new() -> Self {
        let held = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        held.set_reuse_address(true).expect("it is new");
        held.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port can be had");
        let number = held.local_addr().expect("it is bound").as_socket().expect("IPv4").port();
        Self { number, _held: held }
    }

    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

/// A process of ours.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// An ACME server, its DNS, and the ports where it validates names.
pub(super) struct Pebble {
    directory: TempDir,
    api: Port,
    management: Port,
    dns: Port,
    dns_management: Port,
    pub(super) http: Port,
    pub(super) tls: Port,
    environment: Vec<(&'static str, String)>,
    pebble: Option<Owned>,
    _names: Owned,
}

impl Pebble {
    /// Starts both; `None`, loudly, where they cannot be had.
    pub(super) fn start(environment: &[(&'static str, &str)]) -> Option<Self> {
        let mut pebble = Self::prepare(environment)?;
        pebble.begin();
        Some(pebble)
    }

    /// The DNS alone; the server does not run yet.
    pub(super) fn prepare(environment: &[(&'static str, &str)]) -> Option<Self> {
        let Some(programs) = programs() else {
            skipped("there is no pebble; apt-get install pebble");
            return None;
        };
        let (dns, dns_management) = (Port::new(), Port::new());
        let mut names = Command::new(programs.join("pebble-challtestsrv"));
        names.args(["-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""]);
        names.args([
            "-dns01",
            &dns.address().to_string(),
            "-management",
            &dns_management.address().to_string(),
        ]);
        let names = Owned(names.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it can be run"));
        let environment = environment.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let pebble = Self {
            directory: tempfile::tempdir().expect("a directory"),
            api: Port::new(),
            management: Port::new(),
            dns,
            dns_management,
            http: Port::new(),
            tls: Port::new(),
            environment,
            pebble: None,
            _names: names,
        };
        answers(pebble.dns_management.address());
        pebble.write_configuration();
        Some(pebble)
    }

    /// Starts the server, which knows nothing of what was before.
    pub(super) fn begin(&mut self) {
        let mut command = Command::new(programs().expect("it was there").join("pebble"));
        command.args(["-dnsserver", &self.dns.address().to_string(), "-config"]);
        command.arg(self.directory.path().join("pebble.json")).env("PEBBLE_VA_NOSLEEP", "1");
        for knob in ["PEBBLE_WFE_NONCEREJECT", "PEBBLE_AUTHZREUSE"] {
            command.env(knob, "0");
        }
        command.envs(self.environment.iter().map(|(name, value)| (*name, value.as_str())));
        let log = fs::File::create(self.directory.path().join("pebble.log")).expect("it can be written");
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        self.pebble = Some(Owned(command.spawn().expect("it can be run")));
        answers(self.api.address());
        answers(self.management.address());
    }

    /// Stops the server.
    pub(super) fn end(&mut self) {
        self.pebble = None;
    }

    fn write_configuration(&self) {
        let path = |file: &str| self.directory.path().join(file);
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "who signs pebble's own certificate");
        let authority = params.self_signed(&key).expect("it can be signed").pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        let leaf = leaf.signed_by(&key, &issuer).expect("it can be signed").pem();
        let files = [("ca.pem", authority), ("cert.pem", leaf), ("key.pem", key.serialize_pem())];
        for (file, text) in files {
            fs::write(path(file), text).expect("it can be written");
        }
        let mut pebble = serde_json::json!({
            "listenAddress": self.api.address().to_string(),
            "managementListenAddress": self.management.address().to_string(),
            "certificate": path("cert.pem"),
            "privateKey": path("key.pem"),
            "httpPort": self.http.number,
            "tlsPort": self.tls.number,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        });
        if self.environment.iter().any(|(name, _)| *name == "IT_EXTERNAL_ACCOUNTS") {
            pebble["externalAccountBindingRequired"] = true.into();
            pebble["externalAccountMACKeys"] = serde_json::json!({ "kid-1": EXTERNAL_KEY });
        }
        let text = serde_json::json!({ "pebble": pebble }).to_string();
        fs::write(path("pebble.json"), text).expect("it can be written");
    }

    /// A configuration with `[acme]` for this server, an app `shop` that wants certificates for `domains`, and `more` in
    /// `[acme]`.
    pub(super) fn config(&self, dyno: SocketAddr, domains: &[&str], more: &str) -> String {
        self.config_of(self.api.address(), dyno, domains, more)
    }

    /// The same for a server elsewhere.
    pub(super) fn config_of(
        &self,
        server: SocketAddr,
        dyno: SocketAddr,
        domains: &[&str],
        more: &str,
    ) -> String {
        format!(
            "listen = [\"{}\"]\nworkers = 1\n\n[[listener]]\naddress = \"{}\"\ntls = \"intermediate\"\n\n\
             [acme]\ndirectory = \"https://{}/dir\"\nagree_to_terms = true\ncontact = [\"ops@example.com\"]\n\
             ca_file = \"{}\"\nstorage = \"{}\"\n{more}\n\n\
             [[app]]\nname = \"shop\"\nacme = true\ndomains = {domains:?}\ndynos = [\"{dyno}\"]\n",
            self.http.address(),
            self.tls.address(),
            server,
            self.ca_file().display(),
            self.storage().display(),
        )
    }

    /// What the server has said so far.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("pebble.log")).expect("it is there")
    }

    /// How many orders it has had.
    pub(super) fn orders(&self) -> usize {
        self.log().matches("POST /order-plz").count()
    }

    /// Where records are set: `http://127.0.0.1:…`.
    pub(super) fn dns_management(&self) -> String {
        format!("http://{}", self.dns_management.address())
    }

    /// Tells the DNS something.
    pub(super) fn tell_dns(&self, path: &str, what: &serde_json::Value) {
        let (url, body) = (format!("{}{path}", self.dns_management()), what.to_string());
        let mut curl = Command::new("curl");
        let curl = curl.args(["-sS", "--fail", "--max-time", "30", "--noproxy", "*", "--data", &body, &url]);
        assert!(curl.status().expect("curl is installed").success(), "{path}");
    }

    /// Where its accounts and certificates are kept, with the names of the files' own directory.
    pub(super) fn storage(&self) -> PathBuf {
        self.directory.path().join("acme")
    }

    /// The file of a name's certificate.
    pub(super) fn kept(&self, name: &str) -> PathBuf {
        self.kept_of(self.api.number).join(format!("{name}.pem"))
    }

    fn kept_of(&self, port: u16) -> PathBuf {
        self.storage().join(format!("127.0.0.1_{port}_dir"))
    }

    /// A server that is told what to answer. What is kept of this one is kept of that one, too.
    pub(super) fn stand_in(
        &self,
        answer: impl Fn(SocketAddr, &str) -> (String, String) + Send + Sync + 'static,
    ) -> SocketAddr {
        let path = |file: &str| self.directory.path().join(file);
        let at = super::server::start(&path("cert.pem"), &path("key.pem"), answer);
        let (from, to) = (self.kept_of(self.api.number), self.kept_of(at.port()));
        fs::create_dir(&to).expect("it is new");
        for entry in fs::read_dir(from).expect("it is there").flatten() {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("it can be copied");
        }
        let account = fs::read_to_string(to.join("account.json")).expect("it is there");
        let account = account.replace(&self.api.address().to_string(), &at.to_string());
        fs::write(to.join("account.json"), account).expect("it can be written");
        at
    }

    /// Has the account deactivated, as its owner may (RFC 8555 §7.3.6).
    pub(super) fn deactivate_account(&self) {
        let text = fs::read_to_string(self.kept("x").with_file_name("account.json")).expect("it is there");
        let account: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let text = |key: &str| account[key].as_str().expect("a text").to_owned();
        let key = URL_SAFE_NO_PAD.decode(text("key_pkcs8")).expect("base64");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key).expect("a key");
        let head = self.curl(&["-I", &format!("https://{}/nonce-plz", self.api.address())]);
        let named = |line: &str| line.to_lowercase().starts_with("replay-nonce:");
        let nonce = head.lines().find(|line| named(line)).and_then(|line| line.split_once(": "));
        let nonce = nonce.map(|(_, nonce)| nonce.trim()).expect("a nonce");
        let kid = text("id");
        let protected =
            serde_json::json!({"alg": "ES256", "kid": kid, "nonce": nonce, "url": kid}).to_string();
        let [protected, payload] =
            [protected.as_str(), r#"{"status":"deactivated"}"#].map(|part| URL_SAFE_NO_PAD.encode(part));
        let signed = format!("{protected}.{payload}");
        let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).expect("it can sign");
        let signature = URL_SAFE_NO_PAD.encode(signature.as_ref());
        let body = serde_json::json!({"protected": protected, "payload": payload, "signature": signature})
            .to_string();
        let answer = self.curl(&["-H", "Content-Type: application/jose+json", "--data", &body, &kid]);
        assert!(answer.contains("\"deactivated\""), "{answer}");
    }

    fn curl(&self, arguments: &[&str]) -> String {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "30", "--noproxy", "*", "--cacert"]).arg(self.ca_file());
        let output = curl.args(arguments).output().expect("curl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Whom a client of the server trusts.
    pub(super) fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The authority that signs, as of now.
    fn root(&self) -> CertificateDer<'static> {
        let url = format!("https://{}/roots/0", self.management.address());
        CertificateDer::from_pem_slice(self.curl(&[&url]).as_bytes()).expect("a certificate")
    }

    /// What a client sees that asks for `name` and trusts only what this server signs.
    pub(super) fn look(&self, name: &str) -> Result<Seen, String> {
        self.look_trusting(self.roots(), name)
    }

    /// The same for a client that trusts these.
    pub(super) fn look_trusting(&self, roots: RootCertStore, name: &str) -> Result<Seen, String> {
        look(self.tls.address(), roots, name, &[])
    }

    /// The same for a client that speaks these protocols.
    pub(super) fn look_with(&self, name: &str, protocols: &[&str]) -> Result<Seen, String> {
        look(self.tls.address(), self.roots(), name, protocols)
    }

    /// Whom a client trusts that trusts what this server signs.
    pub(super) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.root()).expect("it is an authority");
        roots
    }

    /// The same, as soon as there is a certificate.
    #[track_caller]
    pub(super) fn see(&self, name: &str) -> Seen {
        let mut last = String::new();
        let seen = |last: &mut String| match self.look(name) {
            Ok(seen) => Some(seen),
            Err(error) => {
                *last = error;
                None
            }
        };
        until(&format!("{name} has a certificate"), || seen(&mut last))
    }
}

/// The key of the account `kid-1`.
pub(super) const EXTERNAL_KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

/// What a client sees.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The certificate it was shown.
    pub(super) certificate: CertificateDer<'static>,
    /// The answer to `GET /`.
    pub(super) answer: String,
}

/// A handshake for `name` and a request.
pub(super) fn look(
    at: SocketAddr,
    roots: RootCertStore,
    name: &str,
    protocols: &[&str],
) -> Result<Seen, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let server = ServerName::try_from(name.to_owned()).expect("a name");
    let tls = ClientConnection::new(Arc::new(config), server).expect("a client");
    let stream = TcpStream::connect(at).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).expect("it is open");
    let mut stream = StreamOwned::new(tls, stream);
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    let chain = stream.conn.peer_certificates().expect("it was shown one");
    let certificate = chain.first().expect("it was shown one").clone().into_owned();
    let answer = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or(answer);
    Ok(Seen { certificate, answer })
}

fn answers(address: SocketAddr) {
    until(&format!("{address} answers"), || TcpStream::connect(address).ok());
}

/// Where both programs are.
fn programs() -> Option<PathBuf> {
    let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pebble/usr/bin");
    let paths = env::var_os("PATH").unwrap_or_default();
    let has_both = |directory: &PathBuf| {
        ["pebble", "pebble-challtestsrv"].iter().all(|program| directory.join(program).is_file())
    };
    let found = || env::split_paths(&paths).chain([unpacked.clone()]).find(has_both);
    found().or_else(|| {
        fetch()?;
        found()
    })
}

/// Unpacks Debian's package where it needs no rights and disturbs nobody.
fn fetch() -> Option<()> {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let work = tempfile::tempdir_in(to).ok()?;
    let done = |command: &mut Command| {
        let output = command.current_dir(&work).stdin(Stdio::null()).output().ok()?;
        output.status.success().then_some(())
    };
    let download = || done(Command::new("apt-get").args(["download", "pebble"]));
    download().or_else(|| {
        done(Command::new("apt-get").args(["-o", "DPkg::Lock::Timeout=120", "update"]))?;
        download()
    })?;
    let package = fs::read_dir(&work).ok()?.flatten().map(|entry| entry.path());
    let package = package.into_iter().find(|path| path.extension().is_some_and(|end| end == "deb"))?;
    done(Command::new("dpkg").arg("-x").arg(package).arg("unpacked"))?;
    let _another_test_was_faster = fs::rename(work.path().join("unpacked"), to.join("pebble"));
    Some(())
}
