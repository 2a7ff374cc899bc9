//! The HTTP/2 client: several of these share one connection, one stream each.

use std::{cell::RefCell, rc::Rc};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};

use super::{
    Plan,
    client::Client,
    line::Dialer,
    tally::{Answered, Mishap},
};
use crate::origin::http2::{WINDOW, drain};

pub(super) struct Http2 {
    shared: Rc<Shared>,
    request: http::Request<()>,
    body: Bytes,
}

/// A connection.
pub(super) struct Shared {
    dialer: Dialer,
    sender: RefCell<Option<SendRequest<Bytes>>>,
    dialing: tokio::sync::Mutex<()>,
}

impl Shared {
    pub(super) fn new(dialer: Dialer) -> Rc<Self> {
        Rc::new(Self { dialer, sender: RefCell::new(None), dialing: tokio::sync::Mutex::new(()) })
    }

    /// A handle to the connection, which is made by whoever comes first.
    async fn sender(&self) -> Result<SendRequest<Bytes>, Mishap> {
        if let Some(sender) = &*self.sender.borrow() {
            return Ok(sender.clone());
        }
        let _first = self.dialing.lock().await;
        if let Some(sender) = &*self.sender.borrow() {
            return Ok(sender.clone());
        }
        let line = self.dialer.dial().await?;
        let mut settings = Builder::new();
        settings.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let (sender, connection) = settings.handshake(line).await.map_err(|_| Mishap::Garbled)?;
        tokio::task::spawn_local(async move {
            let _shown_by_the_streams = connection.await;
        });
        *self.sender.borrow_mut() = Some(sender.clone());
        Ok(sender)
    }
}

impl Http2 {
    pub(super) fn new(plan: &Plan, shared: Rc<Shared>) -> Result<Self, http::Error> {
        let wanted = &plan.request;
        let scheme = if plan.tls.is_some() { "https" } else { "http" };
        let mut request = http::Request::builder()
            .method(wanted.method.clone())
            .uri(format!("{scheme}://{}{}", wanted.host, wanted.path));
        for (name, value) in &wanted.fields {
            request = request.header(name.to_ascii_lowercase(), value);
        }
        let body = vec![b'u'; wanted.body].into();
        Ok(Self { shared, request: request.body(())?, body })
    }
}

impl Client for Http2 {
    async fn prepare(&mut self) -> Result<(), Mishap> {
        self.shared.sender().await.map(drop)
    }

    async fn exchange(&mut self) -> Result<Answered, Mishap> {
        let sender = self.shared.sender().await?;
        let mut sender = sender.ready().await.map_err(mishap)?;
        let (answer, mut stream) =
            sender.send_request(self.request.clone(), self.body.is_empty()).map_err(mishap)?;
        if !self.body.is_empty() {
            stream.send_data(self.body.clone(), true).map_err(mishap)?;
        }
        let answer = answer.await.map_err(mishap)?;
        let status = answer.status().as_u16();
        let bytes_in = drain(answer.into_body()).await.map_err(|_| Mishap::CutShort)?;
        Ok(Answered { status, bytes_in, bytes_out: self.body.len() as u64 })
    }

    fn hang_up(&mut self) {
        self.shared.sender.borrow_mut().take();
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn mishap(error: h2::Error) -> Mishap {
    if error.is_io() || error.is_go_away() || error.is_reset() { Mishap::Broken } else { Mishap::Garbled }
}
