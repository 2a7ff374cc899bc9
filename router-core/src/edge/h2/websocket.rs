//! A WebSocket that is asked for as RFC 8441 says: over HTTP/2 by an extended CONNECT, and of the dyno by an upgrade.
//!
//! - [`Key`]: what the dyno is asked to prove that it understood (RFC 6455 §4.2.2).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, Method, header, request::Parts};
use sha1::{Digest as _, Sha1};

/// What the key is hashed with (RFC 6455 §1.3).
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const PROTOCOL: &str = "websocket";
const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
pub(super) const ACCEPT: &[u8] = b"sec-websocket-accept";

/// What a dyno is asked.
#[derive(Debug)]
pub(super) struct Key(String);

impl Key {
    pub(super) fn new(random: &mut fastrand::Rng) -> Self {
        Self(STANDARD.encode(random.u128(..).to_ne_bytes()))
    }

    /// Whether this is the answer.
    pub(super) fn is_answered_by(&self, accept: &[u8]) -> bool {
        let hash = Sha1::new().chain_update(self.0.as_bytes()).chain_update(MAGIC).finalize();
        STANDARD.encode(hash).as_bytes() == accept
    }
}

/// Whether this request asks for a WebSocket.
pub(super) fn is_asked_for(parts: &Parts) -> bool {
    let protocol = parts.extensions.get::<h2::ext::Protocol>();
    parts.method == Method::CONNECT && protocol.is_some_and(|protocol| protocol.as_str() == PROTOCOL)
}

/// Makes an upgrade of it. The key is ours, whatever came.
pub(super) fn as_upgrade(parts: &mut Parts, key: &Key) {
    parts.method = Method::GET;
    let fields = &mut parts.headers;
    fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    fields.remove(ACCEPT_NAME);
    if let Ok(key) = HeaderValue::from_str(&key.0) {
        fields.insert(KEY, key);
    }
}

const ACCEPT_NAME: HeaderName = HeaderName::from_static("sec-websocket-accept");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_key_is_that_of_the_rfc() {
        let key = Key("dGhlIHNhbXBsZSBub25jZQ==".to_owned());
        assert!(key.is_answered_by(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert!(!key.is_answered_by(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOO="));
        assert!(!key.is_answered_by(b""));
    }

    #[test]
    fn a_key_is_sixteen_bytes() {
        let key = Key::new(&mut fastrand::Rng::with_seed(7));
        assert_eq!(STANDARD.decode(key.0).unwrap().len(), 16);
    }
}
