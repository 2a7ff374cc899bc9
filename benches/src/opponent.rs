//! The opponent "just use hyper": the proxy one writes in an afternoon with hyper's server and hyper-util's pooling client.
//!
//! Same duties as everybody in the comparison: routes on `Host`, spreads over the dynos (fewest in flight), keeps connections
//! to them, adds `X-Forwarded-For`, `X-Request-Id` and `Via`. It has no access log and does not tunnel WebSockets.

use std::{
    convert::Infallible,
    fs::File,
    io::{self, BufReader},
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{Either, Empty};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

type Body = Either<Incoming, Empty<hyper::body::Bytes>>;

/// What it is to do.
pub(crate) struct Orders {
    pub(crate) listen: SocketAddr,
    pub(crate) host: String,
    pub(crate) dynos: Vec<SocketAddr>,
    pub(crate) tls: Option<(std::path::PathBuf, std::path::PathBuf)>,
}

struct Proxy {
    host: String,
    dynos: Vec<Dyno>,
    client: Client<HttpConnector, Incoming>,
}

struct Dyno {
    address: SocketAddr,
    in_flight: AtomicUsize,
}

/// Serves for ever.
pub(crate) async fn serve(orders: Orders) -> io::Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let dyno = |address| Dyno { address, in_flight: AtomicUsize::new(0) };
    let proxy = Arc::new(Proxy {
        host: orders.host,
        dynos: orders.dynos.into_iter().map(dyno).collect(),
        client: Client::builder(TokioExecutor::new()).build(connector),
    });
    let tls = orders.tls.map(|(certificate, key)| acceptor(&certificate, &key)).transpose()?;
    let listener = TcpListener::bind(orders.listen).await?;
    loop {
        let Ok((stream, from)) = listener.accept().await else { continue };
        let _best_effort = stream.set_nodelay(true);
        tokio::spawn(connection(stream, from.ip(), tls.clone(), Arc::clone(&proxy)));
    }
}

fn acceptor(certificate: &Path, key: &Path) -> io::Result<TlsAcceptor> {
    let certificates = CertificateDer::pem_reader_iter(BufReader::new(File::open(certificate)?))
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn connection(stream: TcpStream, from: IpAddr, tls: Option<TlsAcceptor>, proxy: Arc<Proxy>) {
    let service = service_fn(move |request| {
        let proxy = Arc::clone(&proxy);
        async move { Ok::<_, Infallible>(proxy.forward(request, from).await) }
    });
    let mut settings = auto::Builder::new(TokioExecutor::new());
    settings.http2().max_concurrent_streams(1024);
    let _client_is_gone = match tls {
        None => settings.serve_connection(TokioIo::new(stream), service).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => settings.serve_connection(TokioIo::new(stream), service).await,
            Err(_) => return,
        },
    };
}

impl Proxy {
    async fn forward(&self, request: Request<Incoming>, from: IpAddr) -> Response<Body> {
        if !self.claims(&request) {
            return refusal(StatusCode::NOT_FOUND);
        }
        let Some(dyno) = self.dynos.iter().min_by_key(|dyno| dyno.in_flight.load(Relaxed)) else {
            return refusal(StatusCode::SERVICE_UNAVAILABLE);
        };
        dyno.in_flight.fetch_add(1, Relaxed);
        let answer = match rewrite(request, from, dyno.address) {
            Some(request) => self.client.request(request).await.ok(),
            None => None,
        };
        dyno.in_flight.fetch_sub(1, Relaxed);
        match answer {
            Some(answer) => answer.map(Either::Left),
            None => refusal(StatusCode::BAD_GATEWAY),
        }
    }

    fn claims(&self, request: &Request<Incoming>) -> bool {
        let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let named = named.or_else(|| request.uri().host()).unwrap_or_default();
        named.split(':').next().is_some_and(|name| name.eq_ignore_ascii_case(&self.host))
    }
}

/// The request as the dyno gets it.
fn rewrite(mut request: Request<Incoming>, from: IpAddr, dyno: SocketAddr) -> Option<Request<Incoming>> {
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let host = request.uri().host().map(str::to_owned);
    *request.uri_mut() =
        Uri::builder().scheme("http").authority(dyno.to_string()).path_and_query(path).build().ok()?;
    *request.version_mut() = http::Version::HTTP_11;
    let fields = request.headers_mut();
    if let Some(host) = host {
        fields.insert(header::HOST, HeaderValue::try_from(host).ok()?);
    }
    fields.remove(header::CONNECTION);
    let before = fields.get("x-forwarded-for").and_then(|value| value.to_str().ok());
    let forwarded = before.map_or_else(|| from.to_string(), |before| format!("{before}, {from}"));
    fields.insert("x-forwarded-for", HeaderValue::try_from(forwarded).ok()?);
    let id = format!("{:032x}", fastrand::u128(..));
    fields.insert("x-request-id", HeaderValue::try_from(id).ok()?);
    fields.append(header::VIA, HeaderValue::from_static("1.1 hyper"));
    Some(request)
}

fn refusal(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Either::Right(Empty::new()));
    *answer.status_mut() = status;
    answer
}
