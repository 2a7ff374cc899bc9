//! What the generator asks of a client, whatever it speaks.

use super::tally::{Answered, Mishap};

/// One that sends one request at a time.
pub(super) trait Client: 'static {
    /// Connects, if that is not to be part of what is measured.
    async fn prepare(&mut self) -> Result<(), Mishap>;

    /// Sends a request and reads its answer to the end, connecting first if need be.
    async fn exchange(&mut self) -> Result<Answered, Mishap>;

    /// Throws the connection away; whatever comes next begins with a new one.
    fn hang_up(&mut self);
}
