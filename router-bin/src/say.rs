//! How things are told to people, in Heroku's form where Heroku has one. Pure: what is so, in; text, out.
//!
//! - [`ps`]: `busbar ps`. [`routes`]: `busbar routes`. [`scaled`]: `busbar scale`.
//! - [`slug`]: what is in a slug.
//! - [`certs`]: `busbar certs`.
//! - [`log_line`]: one log line, as `heroku logs` prints it or as `heroku local` does.
//! - [`ago`]: `2026/11/23 00:21:05 +0000 (~ 5m ago)`.

pub(crate) mod ago;
pub(crate) mod certs;
pub(crate) mod doctor;
pub(crate) mod log_line;
pub(crate) mod ps;
pub(crate) mod routes;
pub(crate) mod scaled;
pub(crate) mod slug;
