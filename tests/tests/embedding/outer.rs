//! A server of axum's with the router behind it, on a multi-threaded runtime.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request},
    http::Response,
    middleware::map_request,
};
use it::{PATIENCE, Router, Wire};
use router_core::{
    server::{DrainReport, Server},
    service::{Peer, ResponseBody, RouterService},
};
use tokio::{net::TcpListener, runtime::Runtime};
use tower::ServiceExt as _;

/// A server of axum's; it stops when this is dropped.
pub(crate) struct Outer {
    pub(crate) address: SocketAddr,
    pub(crate) runtime: Runtime,
    pub(crate) service: RouterService,
}

impl Outer {
    /// A server that gives everything to the router.
    pub(crate) fn before(router: &Router) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let service = router.service();
        let app = axum::Router::new()
            .fallback_service(service.clone())
            .layer(map_request(from_whom))
            .into_make_service_with_connect_info::<SocketAddr>();
        let bound = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = bound.expect("a port can be had");
        let address = listener.local_addr().expect("it is bound");
        runtime.spawn(async { axum::serve(listener, app).await });
        Self { address, runtime, service }
    }

    /// A client, connected.
    pub(crate) fn client(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// Waits for something, not for ever.
    pub(crate) fn wait<T>(&self, deed: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, deed).await.expect("in time") })
    }

    /// Asks the router without a server between.
    pub(crate) fn call(&self, request: Request<Body>) -> Response<ResponseBody> {
        let Ok(response) = self.wait(self.service.clone().oneshot(request));
        response
    }

    pub(crate) fn drain(&self, server: Server, patience: Duration) -> DrainReport {
        self.wait(server.drain(patience))
    }
}

async fn from_whom(ConnectInfo(from): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
    request.extensions_mut().insert(Peer { client: Some(from.ip()), tls: true });
    request
}
