//! Being attached to a one-off dyno: what it reads and writes, over an upgraded connection of the admin API.
//!
//! - [`wire`]: what is said, by both sides, in frames.
//! - [`host`]: the side that has the dyno. [`operator`]: the side that has the terminal, or the files.
//! - [`raw`]: a terminal that hands on what is typed as it is. [`keyboard`]: what was typed and not sent yet. [`console`]:
//!   our own standard streams, in threads. [`signals`]: what ends us, and what is about the terminal.
//!
//! Neither side ever holds more than [`wire::WINDOW`] of what the dyno has not read, nor more than one frame of what it
//! wrote: who does not read holds the other side up, and nobody else.

mod console;
pub(crate) mod host;
mod keyboard;
pub(crate) mod operator;
mod raw;
mod signals;
pub(crate) mod wire;
