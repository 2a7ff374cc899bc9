//! Counts what a client does that costs it little and the router much. It sees the bytes that come, before h2 reads them,
//! and knows of HTTP/2 only where a frame begins and what kind it is (RFC 9113 §4.1, §6).
//!
//! - [`Guard`]: one connection's account. [`Abuse`]: what there was too much of.
//!
//! Everything that is counted is also part of ordinary traffic, so it is forgiven: with time, and with work that was done.

use std::time::Duration;

use crate::route::Moment;

/// What there was too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abuse {
    /// Streams that were reset (CVE-2023-44487).
    Resets,
    Settings,
    Pings,
    /// And frames of no known kind, which are ignored alike.
    Priorities,
    WindowUpdates,
    /// DATA frames that carry nothing.
    EmptyData,
    Continuations,
}

impl Abuse {
    const KINDS: usize = 7;

    /// So many may come at once, and so many more in each second.
    const fn allowance(self) -> (u32, u32) {
        match self {
            Self::Resets => (200, 20),
            Self::Settings => (100, 2),
            Self::Pings => (500, 10),
            Self::Priorities => (1000, 50),
            Self::WindowUpdates => (1000, 100),
            Self::EmptyData | Self::Continuations => (200, 10),
        }
    }
}

/// The length of a frame's head.
const HEAD: usize = 9;
/// What a client sends first (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const END_STREAM: u8 = 1;
const PADDED: u8 = 8;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// One connection's account.
#[derive(Debug)]
pub(super) struct Guard {
    head: [u8; HEAD],
    /// Of a frame's head, so much is there.
    filled: usize,
    /// So much is to come of something that is not looked at: a payload, or the preface.
    skip: usize,
    /// What is to come is not a body.
    of_head: bool,
    /// What is to come is a body that begins with the length of its padding; it may be nothing but that.
    padded: bool,
    /// A block of headers goes on in the next frame.
    block_open: bool,
    counts: [u32; Abuse::KINDS],
    forgiven: Moment,
}

impl Guard {
    pub(super) const fn new(now: Moment) -> Self {
        Self {
            head: [0; HEAD],
            filled: 0,
            skip: PREFACE.len(),
            of_head: true,
            padded: false,
            block_open: false,
            counts: [0; Abuse::KINDS],
            forgiven: now,
        }
    }

    /// Looks at what came.
    ///
    /// # Errors
    /// There was too much of something; the connection is to be closed.
    pub(super) fn see(&mut self, mut bytes: &[u8]) -> Result<(), Abuse> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                self.padding(bytes)?;
                let n = self.skip.min(bytes.len());
                self.skip -= n;
                bytes = bytes.get(n..).unwrap_or_default();
                continue;
            }
            let n = (HEAD - self.filled).min(bytes.len());
            let (now, rest) = bytes.split_at(n);
            if let Some(room) = self.head.get_mut(self.filled..self.filled + n) {
                room.copy_from_slice(now);
            }
            self.filled += n;
            bytes = rest;
            if self.filled == HEAD {
                self.filled = 0;
                self.frame()?;
            }
        }
        Ok(())
    }

    /// Whether a body has nothing but padding is known by its first byte.
    fn padding(&mut self, bytes: &[u8]) -> Result<(), Abuse> {
        let padding = bytes.first().copied().map_or(0, usize::from);
        if std::mem::take(&mut self.padded) && self.skip == padding + 1 {
            return self.count(Abuse::EmptyData);
        }
        Ok(())
    }

    /// A frame begins.
    fn frame(&mut self) -> Result<(), Abuse> {
        let [a, b, c, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.skip = length as usize;
        self.of_head = kind != 0;
        if matches!(kind, 1 | 9) {
            self.block_open = flags & END_HEADERS == 0;
        }
        self.padded = kind == 0 && flags & (PADDED | END_STREAM) == PADDED;
        match kind {
            0 if length == 0 && flags & END_STREAM == 0 => self.count(Abuse::EmptyData),
            0 | 1 => Ok(()),
            3 => self.count(Abuse::Resets),
            4 if flags & ACK == 0 => self.count(Abuse::Settings),
            4 | 6 => self.count(Abuse::Pings),
            8 => self.count(Abuse::WindowUpdates),
            9 => self.count(Abuse::Continuations),
            _ => self.count(Abuse::Priorities),
        }
    }

    fn count(&mut self, what: Abuse) -> Result<(), Abuse> {
        let Some(count) = self.counts.get_mut(what as usize) else { return Ok(()) };
        *count += 1;
        if *count > what.allowance().0 { Err(what) } else { Ok(()) }
    }

    fn forgive(&mut self, what: Abuse, n: u32) {
        if let Some(count) = self.counts.get_mut(what as usize) {
            *count = count.saturating_sub(n);
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Moment) {
        let seconds = now.since(self.forgiven).as_secs();
        if seconds == 0 {
            return;
        }
        self.forgiven += Duration::from_secs(seconds);
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        for what in [
            Abuse::Resets,
            Abuse::Settings,
            Abuse::Pings,
            Abuse::Priorities,
            Abuse::WindowUpdates,
            Abuse::EmptyData,
            Abuse::Continuations,
        ] {
            self.forgive(what, what.allowance().1.saturating_mul(seconds));
        }
    }

    /// So many requests were answered whole.
    pub(super) fn answered(&mut self, n: u32) {
        self.forgive(Abuse::Resets, n);
        self.forgive(Abuse::Priorities, n.saturating_mul(2));
        self.forgive(Abuse::Continuations, n);
    }

    /// So much of responses was sent, in so many frames: a client tells for each that it took it, for its stream and for
    /// the connection, and may measure the way.
    pub(super) fn sent(&mut self, bytes: usize, frames: u32) {
        let pages = u32::try_from(bytes / 2048).unwrap_or(u32::MAX);
        self.forgive(Abuse::WindowUpdates, pages.saturating_add(frames.saturating_mul(3)));
        self.forgive(Abuse::Pings, frames);
    }

    /// Whether a head is on its way and not whole: the preface, a frame that is no body, a block of headers.
    pub(super) const fn is_within_head(&self) -> bool {
        self.filled > 0 || self.block_open || (self.skip > 0 && self.of_head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn guard() -> Guard {
        let mut guard = Guard::new(Moment::START);
        guard.see(PREFACE).unwrap();
        guard
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let flood: Vec<u8> = [
            frame(0, 0, b"data of some length"),
            frame(4, 0, b""),
            frame(1, 4, b"block"),
            frame(6, 1, b"12345678"),
        ]
        .concat()
        .repeat(101);
        for cut in [1, 2, 3, 8, 9, 10, 1000, flood.len()] {
            let mut guard = guard();
            let seen = flood.chunks(cut).try_for_each(|piece| guard.see(piece));
            assert_eq!(seen, Err(Abuse::Settings), "cut every {cut}");
        }
    }

    #[test]
    fn a_head_that_is_not_whole_is_known() {
        let mut guard = Guard::new(Moment::START);
        assert!(guard.is_within_head(), "the preface is to come");
        guard.see(PREFACE).unwrap();
        assert!(!guard.is_within_head());
        guard.see(&frame(1, 0, b"block")).unwrap();
        assert!(guard.is_within_head(), "a CONTINUATION must follow");
        guard.see(&frame(9, END_HEADERS, b"block")).unwrap();
        assert!(!guard.is_within_head());
        guard.see(&frame(0, 0, b"body")[..11]).unwrap();
        assert!(!guard.is_within_head(), "a body has clocks of its own");
    }

    #[test]
    fn what_is_part_of_ordinary_traffic_is_forgiven() {
        let mut guard = guard();
        for _ in 0..10_000 {
            guard.see(&frame(8, 0, &[0, 0, 0, 1])).unwrap();
            guard.see(&frame(8, 0, &[0, 0, 0, 1])).unwrap();
            guard.sent(1, 1);
        }
        for second in 0..100 {
            (0..20).for_each(|_| guard.see(&frame(3, 0, &[0, 0, 0, 8])).unwrap());
            guard.tick(Moment::START + Duration::from_secs(second + 1));
        }
        for _ in 0..1000 {
            guard.see(&frame(3, 0, &[0, 0, 0, 8])).unwrap();
            guard.answered(1);
        }
    }
}
