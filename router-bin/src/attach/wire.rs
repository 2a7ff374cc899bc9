//! What is said when somebody is attached to a dyno: frames, after the connection has been upgraded to [`PROTOCOL`].
//!
//! A frame is its kind (one byte), the length of what follows (two bytes, the higher one first), and that. docs/runtime.md
//! has the table. Both sides end the conversation at anything that is not in it.

use std::{marker::PhantomData, str};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use dyno_runtime::{Exit, WindowSize};
use tokio_util::codec::{Decoder, Encoder};

/// The protocol, by the name it has in `Upgrade`; with another version it would have another name.
pub(crate) const PROTOCOL: &str = "busbar-attach/1";
/// What follows the head of a frame is at most so long.
pub(crate) const LONGEST: usize = 32 << 10;
/// So much may be sent to a dyno that has not taken it yet.
pub(crate) const WINDOW: usize = 64 << 10;

const HEAD: usize = 3;

/// What the side with the terminal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FromOperator {
    /// It is ready: the dyno may start. First, and once.
    Attach,
    /// For the dyno to read.
    Stdin(Bytes),
    /// There is nothing more to read. Once.
    StdinEnd,
    /// The terminal has this size now.
    Resize(WindowSize),
}

/// What the side with the dyno says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FromHost {
    /// The dyno's name. First, and once.
    Dyno(String),
    /// It wrote that.
    Stdout(Bytes),
    /// It wrote that to standard error.
    Stderr(Bytes),
    /// It has taken so many bytes more, so that as many more may be sent.
    Taken(u32),
    /// It reads nothing any more.
    StdinClosed,
    /// The runtime says that about it.
    Note(String),
    /// How it ended. Last. `None`: it was not launched.
    Exit(Option<Exit>),
}

/// Why the conversation is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The connection is gone.
    #[error(transparent)]
    Lost(#[from] std::io::Error),
    /// That is in no table.
    #[error("a frame of kind {kind} with {length} bytes means nothing here")]
    Nonsense {
        /// Its kind.
        kind: u8,
        /// The length of what followed.
        length: usize,
    },
}

/// What can be said in a frame.
pub(crate) trait Said: Sized {
    /// Its kind, and what follows.
    fn to_frame(self) -> (u8, Bytes);
    /// `None`: nothing.
    fn from_frame(kind: u8, bytes: Bytes) -> Option<Self>;
}

impl Said for FromOperator {
    fn to_frame(self) -> (u8, Bytes) {
        match self {
            Self::Attach => (1, Bytes::new()),
            Self::Stdin(bytes) => (2, bytes),
            Self::StdinEnd => (3, Bytes::new()),
            Self::Resize(WindowSize { rows, columns }) => {
                (4, [rows.to_be_bytes(), columns.to_be_bytes()].concat().into())
            }
        }
    }

    fn from_frame(kind: u8, mut bytes: Bytes) -> Option<Self> {
        match (kind, bytes.len()) {
            (1, 0) => Some(Self::Attach),
            (2, 1..) => Some(Self::Stdin(bytes)),
            (3, 0) => Some(Self::StdinEnd),
            (4, 4) => Some(Self::Resize(WindowSize { rows: bytes.get_u16(), columns: bytes.get_u16() })),
            _ => None,
        }
    }
}

impl Said for FromHost {
    fn to_frame(self) -> (u8, Bytes) {
        let exit = |how: u8, number: i32| {
            let mut bytes = vec![how];
            bytes.extend(number.to_be_bytes());
            (16, bytes.into())
        };
        match self {
            Self::Dyno(name) => (10, name.into()),
            Self::Stdout(bytes) => (11, bytes),
            Self::Stderr(bytes) => (12, bytes),
            Self::Taken(count) => (13, count.to_be_bytes().to_vec().into()),
            Self::StdinClosed => (14, Bytes::new()),
            Self::Note(text) => (15, text.into()),
            Self::Exit(Some(Exit::Code(code))) => exit(0, code),
            Self::Exit(Some(Exit::Signal(signal))) => exit(1, signal),
            Self::Exit(None) => exit(2, 0),
        }
    }

    fn from_frame(kind: u8, mut bytes: Bytes) -> Option<Self> {
        let text = |bytes: &Bytes| str::from_utf8(bytes).map(str::to_owned).ok();
        match (kind, bytes.len()) {
            (10, 1..) => text(&bytes).map(Self::Dyno),
            (11, 1..) => Some(Self::Stdout(bytes)),
            (12, 1..) => Some(Self::Stderr(bytes)),
            (13, 4) => Some(Self::Taken(bytes.get_u32())),
            (14, 0) => Some(Self::StdinClosed),
            (15, _) => text(&bytes).map(Self::Note),
            (16, 5) => match (bytes.get_u8(), bytes.get_i32()) {
                (0, code) => Some(Self::Exit(Some(Exit::Code(code)))),
                (1, signal) => Some(Self::Exit(Some(Exit::Signal(signal)))),
                (2, 0) => Some(Self::Exit(None)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Frames out of bytes and back.
#[derive(Debug)]
pub(crate) struct Frames<T>(PhantomData<T>);

impl<T> Default for Frames<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Said> Decoder for Frames<T> {
    type Item = T;
    type Error = WireError;

    fn decode(&mut self, read: &mut BytesMut) -> Result<Option<T>, WireError> {
        let Some(&[kind, high, low]) = read.first_chunk::<HEAD>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > LONGEST {
            return Err(WireError::Nonsense { kind, length });
        }
        if read.len() < HEAD + length {
            read.reserve(HEAD + length - read.len());
            return Ok(None);
        }
        read.advance(HEAD);
        let bytes = read.split_to(length).freeze();
        T::from_frame(kind, bytes).map(Some).ok_or(WireError::Nonsense { kind, length })
    }
}

impl<T: Said> Encoder<T> for Frames<T> {
    type Error = WireError;

    fn encode(&mut self, said: T, into: &mut BytesMut) -> Result<(), WireError> {
        let (kind, bytes) = said.to_frame();
        let length = u16::try_from(bytes.len()).ok().filter(|length| usize::from(*length) <= LONGEST);
        let length = length.ok_or(WireError::Nonsense { kind, length: bytes.len() })?;
        into.reserve(HEAD + bytes.len());
        into.put_u8(kind);
        into.put_u16(length);
        into.put(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 1..300).prop_map(Bytes::from)
    }

    fn from_operator() -> impl Strategy<Value = FromOperator> {
        prop_oneof![
            Just(FromOperator::Attach),
            bytes().prop_map(FromOperator::Stdin),
            Just(FromOperator::StdinEnd),
            any::<(u16, u16)>()
                .prop_map(|(rows, columns)| FromOperator::Resize(WindowSize { rows, columns })),
        ]
    }

    fn from_host() -> impl Strategy<Value = FromHost> {
        prop_oneof![
            "[a-z]{1,9}".prop_map(FromHost::Dyno),
            bytes().prop_map(FromHost::Stdout),
            bytes().prop_map(FromHost::Stderr),
            any::<u32>().prop_map(FromHost::Taken),
            Just(FromHost::StdinClosed),
            ".{0,20}".prop_map(FromHost::Note),
            any::<i32>().prop_map(|code| FromHost::Exit(Some(Exit::Code(code)))),
            any::<i32>().prop_map(|signal| FromHost::Exit(Some(Exit::Signal(signal)))),
            Just(FromHost::Exit(None)),
        ]
    }

    /// What is heard of `all` when it comes in pieces that are cut there.
    fn heard<T: Said + Clone>(all: &[T], cuts: &[usize]) -> Vec<T> {
        let mut sent = BytesMut::new();
        for said in all.iter().cloned() {
            Frames::default().encode(said, &mut sent).unwrap();
        }
        let (mut read, mut heard) = (BytesMut::new(), vec![]);
        let mut cuts = cuts.iter().cycle();
        while !sent.is_empty() {
            read.extend(sent.split_to((*cuts.next().unwrap()).min(sent.len())));
            while let Some(said) = Frames::default().decode(&mut read).unwrap() {
                heard.push(said);
            }
        }
        assert!(read.is_empty());
        heard
    }

    proptest! {
        #[test]
        fn what_is_said_is_heard_however_it_comes_in_pieces(
            there in prop::collection::vec(from_operator(), 0..20),
            back in prop::collection::vec(from_host(), 0..20),
            cuts in prop::collection::vec(1usize..50, 1..20),
        ) {
            prop_assert_eq!(heard(&there, &cuts), there);
            prop_assert_eq!(heard(&back, &cuts), back);
        }

        #[test]
        fn whatever_comes_is_a_frame_or_refused_and_nothing_is_kept_of_a_longer_one(
            mut sent in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut read = BytesMut::from(&sent[..]);
            while let Ok(Some(_)) = Frames::<FromOperator>::default().decode(&mut read) {}
            prop_assert!(read.capacity() <= HEAD + LONGEST);
            // The other side says what this one never may.
            sent.splice(..0, [11, 0, 1, 0]);
            let refused = Frames::<FromOperator>::default().decode(&mut BytesMut::from(&sent[..]));
            prop_assert!(refused.is_err(), "the dyno's side says that");
        }
    }

    #[test]
    fn what_is_in_no_table_is_refused() {
        let too_long = [2, 0x80, 1];
        let empty = [2, 0, 0];
        let full = [1, 0, 1, 0];
        let half_a_size = [4, 0, 2, 0, 24];
        for frame in [&too_long[..], &empty, &full, &half_a_size, &[0, 0, 0], &[255, 0, 0]] {
            assert!(
                Frames::<FromOperator>::default().decode(&mut BytesMut::from(frame)).is_err(),
                "{frame:?}"
            );
        }
        let another_end = [16, 0, 5, 3, 0, 0, 0, 0];
        let no_text = [10, 0, 1, 0xff];
        for frame in [&another_end[..], &no_text, &[10, 0, 0], &[11, 0, 0], &[13, 0, 1, 1], &[1, 0, 0]] {
            assert!(Frames::<FromHost>::default().decode(&mut BytesMut::from(frame)).is_err(), "{frame:?}");
        }
        let too_long = FromOperator::Stdin(vec![0; LONGEST + 1].into());
        assert!(Frames::default().encode(too_long, &mut BytesMut::new()).is_err());
    }
}
