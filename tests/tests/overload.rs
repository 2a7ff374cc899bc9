//! Too many, too slow, and the end of it all.
//!
//! - [`clients`]: connections of one client.

mod clients;
