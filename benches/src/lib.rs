#![forbid(unsafe_code)]
//! Placeholder until its first file lands.
