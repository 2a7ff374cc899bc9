//! How connections come in and go out.
//!
//! - [`unix`]: over socket files. [`ipv6`]. [`proxy_protocol`]: with a header that says for whom.

mod ipv6;
mod proxy_protocol;
mod unix;

const GET: &str = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";

/// A GET with these header lines.
fn get(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: app.test\r\n{lines}\r\n")
}
