//! The chunked codec, fed piece by piece or with a whole body.

use crate::{
    h1::{
        body::Body,
        chunked::{Chunked, KeepFraming},
        framing::Framing,
    },
    server::ChunkLimits,
};

/// One chunked body that arrives in pieces.
pub struct Chunks {
    chunked: Chunked,
    /// What has arrived and was not read yet.
    held: Vec<u8>,
    out: Vec<u8>,
}

impl Chunks {
    /// The beginning of a body.
    pub fn new(keep_framing: bool, limits: ChunkLimits) -> Self {
        let chunked = Chunked::new(keep(keep_framing)).within(limits);
        Self { chunked, held: Vec::new(), out: Vec::new() }
    }

    /// The next piece; false when this is no chunked body.
    pub fn feed(&mut self, piece: &[u8]) -> bool {
        self.held.extend_from_slice(piece);
        while !self.is_done() {
            let Ok(step) = self.chunked.step(&mut self.held) else { return false };
            self.out.extend_from_slice(self.held.get(..step.kept).unwrap_or_default());
            self.held.drain(..step.read);
            if step.starved || self.held.is_empty() {
                break;
            }
        }
        true
    }

    /// Whether its last byte was read.
    pub fn is_done(&self) -> bool {
        self.chunked.is_done()
    }

    /// What is passed on so far.
    pub fn passed_on(&self) -> &[u8] {
        &self.out
    }

    /// What has arrived and was not read.
    pub fn unread(&self) -> &[u8] {
        &self.held
    }
}

/// Runs the chunked codec over a whole body, in place. How many bytes are left to pass on, unless it is no chunked body.
pub fn chunks(body: &mut [u8], keep_framing: bool) -> Option<usize> {
    let step = Body::new(Framing::Chunked, keep(keep_framing)).step(body).ok()?;
    step.done.then_some(step.kept)
}

const fn keep(framing: bool) -> KeepFraming {
    if framing { KeepFraming::Yes } else { KeepFraming::No }
}
