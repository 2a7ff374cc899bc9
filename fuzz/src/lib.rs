//! Claims about everything that Busbar reads from strangers. Each is a function from bytes to nothing, and panics when it does
//! not hold.
//!
//! - [`request_head`], [`response_head`]: one meaning, however it arrives, also for whom it is passed on to.
//! - [`http2_head`]: a request over HTTP/2, written as HTTP/1.1.
//! - [`chunks`]: a chunked body, cut anywhere.
//! - [`host`]: the value of a `Host` header.
//! - [`proxy_header`]: what a proxy in front says.
//! - [`registration`]: the registry's messages.
//! - [`slug`]: an archive that somebody else has made.
//! - [`plain`]: a second, simple reading of a head, to compare with.
//! - [`mutate`]: attacks for the short test (`tests/claims.rs`), which needs nothing but stable Rust.
//!
//! The attackers with a memory are `targets/`: `cargo +nightly fuzz run NAME fuzz/corpus/NAME fuzz/seeds/NAME`.

pub mod chunks;
pub mod host;
pub mod http2_head;
pub mod mutate;
pub mod plain;
pub mod proxy_header;
pub mod registration;
pub mod request_head;
pub mod response_head;
pub mod slug;

/// Runs a claim over each file named on the command line.
///
/// # Errors
/// A file cannot be read.
pub fn replay(claim: fn(&[u8])) -> std::io::Result<()> {
    std::env::args_os().skip(1).try_for_each(|file| std::fs::read(file).map(|bytes| claim(&bytes)))
}
