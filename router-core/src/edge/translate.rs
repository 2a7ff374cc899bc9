//! Between the `http` crate's requests and responses, which libraries read and write, and HTTP/1.1, which the proxy speaks.
//!
//! - [`head`]: a request's head as HTTP/1.1 text, for the one strict parser.
//! - [`upload`]: a request's body in the form a dyno gets it.
//! - [`heading`]: a response's head. [`unchunk`]: its chunks, taken apart.

pub(crate) mod head;
pub(crate) mod heading;
pub(crate) mod unchunk;
pub(crate) mod upload;
