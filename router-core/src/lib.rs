//! Decides which dyno gets a request, and carries its bytes.
#![deny(unsafe_code)]
pub mod route;
