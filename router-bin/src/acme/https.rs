//! HTTPS for talking to an ACME server: one request at a time on one kept connection, with an end to everything.
//!
//! - [`Https`]: what instant-acme sends its requests with. [`roots`]: whom it trusts.
//! - [`noting`]: does a deed, and tells for when the server has asked to be left alone meanwhile.

use std::{
    cell::Cell,
    io,
    path::Path,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{net::TcpStream, sync::Mutex, time::timeout};
use tokio_rustls::TlsConnector;

/// How long one request may take, its connection included.
const PATIENCE: Duration = Duration::from_secs(30);
/// An answer larger than this is refused. A chain of certificates is some KiB.
const LARGEST_ANSWER: usize = 1 << 20;
/// A server that wants to be left alone for longer is asked again after this.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(7 * 86_400);

type Sender = http1::SendRequest<Full<Bytes>>;

/// A client of one server.
pub(super) struct Https(Arc<Inner>);

struct Inner {
    tls: TlsConnector,
    /// A connection that was used and can be used again, and to whom.
    kept: Mutex<Option<(String, Sender)>>,
}

tokio::task_local! {
    /// Until when the server has asked to be left alone.
    static LEFT_ALONE: Cell<Option<SystemTime>>;
}

/// Does `deed`, and tells until when a server that refused something in it has asked to be left alone.
pub(super) async fn noting<T>(deed: impl Future<Output = T>) -> (T, Option<SystemTime>) {
    LEFT_ALONE.scope(Cell::new(None), async { (deed.await, LEFT_ALONE.with(Cell::get)) }).await
}

/// Whom to trust: who signed `ca_file`, or else whom this machine trusts.
pub(super) fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    if let Some(file) = ca_file {
        return roots_of(file);
    }
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(
            "this machine trusts no certificate authority; install ca-certificates, or name a `ca_file`"
                .into(),
        );
    }
    Ok(roots)
}

/// The authorities in a file.
pub(crate) fn roots_of(file: &Path) -> Result<RootCertStore, String> {
    let named = |why: &dyn std::fmt::Display| format!("`ca_file` {}: {why}", file.display());
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(file).map_err(|error| named(&error))?;
    for certificate in found {
        let certificate = certificate.map_err(|error| named(&error))?;
        roots.add(certificate).map_err(|error| named(&error))?;
    }
    if roots.is_empty() { Err(named(&"there is no certificate in it")) } else { Ok(roots) }
}

impl Https {
    /// A client that trusts these.
    pub(super) fn new(roots: RootCertStore) -> Result<Self, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| error.to_string())?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(Inner { tls: TlsConnector::from(Arc::new(config)), kept: Mutex::default() })))
    }
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let to = request.uri().clone();
            let failed = |why: &dyn std::fmt::Display| -> Error {
                Error::Other(Box::new(Unreachable(format!("{}: {why}", server(&to)))))
            };
            match timeout(PATIENCE, inner.exchange(request)).await {
                Err(_) => Err(failed(&format!("no answer within {} s", PATIENCE.as_secs()))),
                Ok(Err(why)) => Err(failed(&why)),
                Ok(Ok(response)) => {
                    note_pause(&response);
                    Ok(response.map(Full::new).into())
                }
            }
        })
    }
}

/// The server could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("the ACME server {0}")]
pub(super) struct Unreachable(String);

fn server(uri: &Uri) -> String {
    uri.authority().map_or_else(|| uri.to_string(), ToString::to_string)
}

fn note_pause(response: &Response<Bytes>) {
    let refused =
        matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let asked = response.headers().get(header::RETRY_AFTER).filter(|_| refused).and_then(retry_after);
    if let Some(pause) = asked {
        let until = SystemTime::now().checked_add(pause.min(LONGEST_PAUSE));
        let _nobody_wants_to_know = LEFT_ALONE.try_with(|left_alone| left_alone.set(until));
    }
}

/// Seconds, or a date (RFC 9110 §10.2.3).
fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    SystemTime::from(until).duration_since(SystemTime::now()).ok()
}

impl Inner {
    async fn exchange(&self, request: Request<BodyWrapper<Bytes>>) -> Result<Response<Bytes>, String> {
        let (mut parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|never| never.to_string())?.to_bytes();
        let to = std::mem::take(&mut parts.uri);
        let host = server(&to);
        let path = to.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = path.parse().map_err(|error| format!("bad path {path:?}: {error}"))?;
        let name = HeaderValue::try_from(&host).map_err(|error| error.to_string())?;
        parts.headers.insert(header::HOST, name);
        let request = || Request::from_parts(parts.clone(), Full::new(body.clone()));
        let mut kept = self.kept.lock().await;
        // A kept connection may have been closed meanwhile; then nothing was done, and a new one is made.
        let old = kept.take().filter(|(of, sender)| *of == host && sender.is_ready());
        if let Some((_, mut sender)) = old {
            match sender.try_send_request(request()).await {
                Ok(response) => return finish(response, host, sender, &mut kept).await,
                Err(mut error) => {
                    if error.take_message().is_none() {
                        return Err(error.into_error().to_string());
                    }
                }
            }
        }
        let mut sender = self.connect(&to).await?;
        let response = sender.send_request(request()).await.map_err(|error| error.to_string())?;
        finish(response, host, sender, &mut kept).await
    }

    async fn connect(&self, to: &Uri) -> Result<Sender, String> {
        let host = to.host().filter(|_| to.scheme_str() == Some("https"));
        let host = host.ok_or_else(|| format!("{to} is no https:// address"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let reason = |error: io::Error| crate::failure::reason(&error);
        let stream = TcpStream::connect((host, to.port_u16().unwrap_or(443))).await.map_err(reason)?;
        let stream = self.tls.connect(name, stream).await.map_err(reason)?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection); // ends with its sender
        Ok(sender)
    }
}

async fn finish(
    response: Response<hyper::body::Incoming>,
    host: String,
    sender: Sender,
    kept: &mut Option<(String, Sender)>,
) -> Result<Response<Bytes>, String> {
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, LARGEST_ANSWER).collect().await.map_err(|error| error.to_string())?;
    *kept = Some((host, sender));
    Ok(Response::from_parts(parts, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_for_how_long_it_wants_to_be_left_alone() {
        let said = |text: &'static str| retry_after(&HeaderValue::from_static(text));
        assert_eq!(said("120"), Some(Duration::from_secs(120)));
        assert!(said("Tue, 31 Dec 2999 23:59:59 GMT").is_some_and(|pause| pause > LONGEST_PAUSE));
        assert_eq!(said("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert_eq!(said("soon"), None);
    }
}
