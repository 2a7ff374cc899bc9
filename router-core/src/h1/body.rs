//! One body on its way through a buffer: how much of what arrived belongs to it, and when it ends.

use super::{
    chunked::{BadChunk, Chunked, KeepFraming, Step},
    framing::Framing,
    limits::ChunkLimits,
};

/// The state of one body.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// So many bytes are still to come.
    Length(u64),
    /// See [`Chunked`].
    Chunked(Chunked),
    /// Everything until the connection closes.
    UntilClose,
}

impl Body {
    /// A body framed like this. `keep` says whether the framing of a chunked one is passed on.
    pub(crate) fn new(framing: Framing, keep: KeepFraming) -> Self {
        match framing {
            Framing::Empty => Self::Length(0),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunked::new(keep)),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// The same body with these bounds on its chunks.
    pub(crate) fn within(self, limits: ChunkLimits) -> Self {
        match self {
            Self::Chunked(chunked) => Self::Chunked(chunked.within(limits)),
            other => other,
        }
    }

    /// Whether its last byte was seen. A body until close never is: the close itself ends it.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_done(),
            Self::UntilClose => false,
        }
    }

    /// How many bytes it makes sense to receive, so that nothing behind the body is taken where that can be known.
    pub(crate) fn appetite(&self) -> usize {
        match self {
            Self::Length(left) => usize::try_from(*left).unwrap_or(usize::MAX),
            Self::Chunked(_) | Self::UntilClose => usize::MAX,
        }
    }

    /// Takes what belongs to the body from the front of `buf`; see [`Step`].
    ///
    /// # Errors
    /// [`BadChunk`] for a chunked body that is none.
    pub(crate) fn step(&mut self, buf: &mut [u8]) -> Result<Step, BadChunk> {
        match self {
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
                *left -= taken as u64;
                Ok(Step { read: taken, kept: taken, done: *left == 0, starved: false })
            }
            Self::Chunked(chunked) => chunked.step(buf),
            Self::UntilClose => Ok(Step { read: buf.len(), kept: buf.len(), done: false, starved: false }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_takes_its_bytes_and_leaves_the_rest() {
        let mut body = Body::new(Framing::Length(5), KeepFraming::Yes);
        assert_eq!(
            body.step(&mut b"abc".to_vec()),
            Ok(Step { read: 3, kept: 3, done: false, starved: false })
        );
        assert_eq!(
            body.step(&mut b"deGET /".to_vec()),
            Ok(Step { read: 2, kept: 2, done: true, starved: false })
        );
        assert!(body.is_done());
    }

    #[test]
    fn an_empty_body_is_done_at_once() {
        assert!(Body::new(Framing::Empty, KeepFraming::Yes).is_done());
        assert!(!Body::new(Framing::UntilClose, KeepFraming::Yes).is_done());
    }
}
