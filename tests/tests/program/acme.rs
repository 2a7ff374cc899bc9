//! Certificates that busbar requests itself, from a real ACME server: Let's Encrypt's pebble.
//!
//! - [`challenges`]: each kind. [`keeping`]: renewals and restarts. [`trouble`]: what goes wrong, and what it spoils: nothing.
//! - [`pebble`]: the server, its DNS, and the client that looks. [`server`]: one for what pebble cannot do.

mod challenges;
mod keeping;
mod pebble;
mod server;
mod trouble;

use serde_json::Value;

use crate::busbar::Busbar;

/// What the admin API says about a name's certificate.
fn row(busbar: &Busbar, name: &str) -> Option<Value> {
    let (_, text) = busbar.admin("/v1/certificates").expect("it answers");
    let rows: Value = serde_json::from_str(&text).expect("JSON");
    let rows = rows.as_array().expect("a list").iter();
    rows.clone().find(|row| row["names"] == serde_json::json!([name])).cloned()
}

/// Has it renewed now.
fn renew(busbar: &Busbar, name: &str) {
    let asked = busbar.verb(&["certs", "renew", name]);
    assert_eq!(asked.code, Some(0), "{asked:?}");
}
