//! The opponent built from pingora-proxy: what one gets by writing the least with it.
//!
//! `pingora-opponent LISTEN HOST (- | CERTIFICATE KEY) DYNO…`: routes the host to the dynos (fewest in flight), keeps
//! connections to them, and adds `X-Forwarded-For`, `X-Request-Id` and `Via`.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use pingora::{
    Error, Result,
    http::RequestHeader,
    listeners::tls::TlsSettings,
    prelude::{HttpPeer, http_proxy_service},
    proxy::{ProxyHttp, Session},
    server::{Server, configuration::ServerConf},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Opponent {
    host: String,
    dynos: Vec<Dyno>,
}

struct Dyno {
    address: String,
    in_flight: Arc<AtomicUsize>,
}

/// The request's place among those in flight at a dyno.
#[derive(Default)]
struct InFlight(Option<Arc<AtomicUsize>>);

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(counter) = &self.0 {
            counter.fetch_sub(1, Relaxed);
        }
    }
}

#[async_trait]
impl ProxyHttp for Opponent {
    type CTX = InFlight;

    fn new_ctx(&self) -> InFlight {
        InFlight::default()
    }

    async fn upstream_peer(&self, session: &mut Session, place: &mut InFlight) -> Result<Box<HttpPeer>> {
        let head = session.req_header();
        let named = head.headers.get("host").and_then(|host| host.to_str().ok()).or_else(|| head.uri.host());
        if named.and_then(|host| host.split(':').next()) != Some(&self.host) {
            return Err(Error::new(pingora::ErrorType::HTTPStatus(404)));
        }
        let dyno = self.dynos.iter().min_by_key(|dyno| dyno.in_flight.load(Relaxed));
        let dyno = dyno.ok_or_else(|| Error::new(pingora::ErrorType::HTTPStatus(503)))?;
        dyno.in_flight.fetch_add(1, Relaxed);
        *place = InFlight(Some(Arc::clone(&dyno.in_flight)));
        Ok(Box::new(HttpPeer::new(&dyno.address, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        _: &mut InFlight,
    ) -> Result<()> {
        let from = session.client_addr().and_then(|from| from.as_inet()).map(|from| from.ip().to_string());
        upstream.append_header("X-Forwarded-For", from.unwrap_or_default())?;
        upstream.insert_header("X-Request-Id", format!("{:032x}", fastrand::u128(..)))?;
        upstream.append_header("Via", "1.1 pingora")?;
        if upstream.headers.get("host").is_none() {
            upstream.insert_header("Host", &self.host)?;
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == "--version") {
        println!("pingora-proxy {} with mimalloc", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let (listen, host, tls, dynos) = match arguments.as_slice() {
        [listen, host, dash, dynos @ ..] if dash == "-" => (listen, host, None, dynos),
        [listen, host, certificate, key, dynos @ ..] => (listen, host, Some((certificate, key)), dynos),
        _ => {
            eprintln!("usage: pingora-opponent LISTEN HOST (- | CERTIFICATE KEY) DYNO…");
            return ExitCode::from(2);
        }
    };
    let dyno = |address: &String| Dyno { address: address.clone(), in_flight: Arc::default() };
    let opponent = Opponent { host: host.clone(), dynos: dynos.iter().map(dyno).collect() };
    let settings = ServerConf { threads: 1, upstream_keepalive_pool_size: 1024, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, settings);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, opponent);
    match tls {
        None => service.add_tcp(listen),
        Some((certificate, key)) => match TlsSettings::intermediate(certificate, key) {
            Ok(mut tls) => {
                tls.enable_h2();
                service.add_tls_with_settings(listen, None, tls);
            }
            Err(error) => {
                eprintln!("pingora-opponent: {error}");
                return ExitCode::FAILURE;
            }
        },
    }
    server.add_service(service);
    server.run_forever();
}
