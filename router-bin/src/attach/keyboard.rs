//! What is typed, or comes on standard input, until it may be sent.

use std::{future::pending, io, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{sync::mpsc, time::Instant};

use super::{
    console,
    wire::{FromOperator, LONGEST, WINDOW},
};

/// What is typed to interrupt.
const INTERRUPT: u8 = 3;
/// Typed so often within [`AT_ONCE`], it ends this program, as with Heroku's: the dyno may hear nothing any more.
const INTERRUPTS: usize = 4;
const AT_ONCE: Duration = Duration::from_secs(1);

/// Of standard input, what has not been sent.
#[derive(Debug, Default)]
pub(super) struct Keyboard {
    input: Option<mpsc::Receiver<Bytes>>,
    typed: BytesMut,
    /// So much may be sent.
    credit: usize,
    /// That it has ended is to be said, after what was typed.
    ended: bool,
    /// Whether keys are typed one by one, and when Ctrl-C was last.
    raw: bool,
    interrupts: Vec<Instant>,
}

impl Keyboard {
    /// From now on.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn listen(raw: bool) -> io::Result<Self> {
        Ok(Self { input: Some(console::input()?), credit: WINDOW, raw, ..Self::default() })
    }

    /// What comes next, `None` at the end, as long as there is a place for it. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        match &mut self.input {
            Some(input) if self.typed.len() < WINDOW => input.recv().await,
            _ => pending().await,
        }
    }

    /// Takes what came. Whether this is to go on.
    pub(super) fn typed(&mut self, bytes: Option<Bytes>) -> bool {
        let Some(bytes) = bytes else {
            (self.input, self.ended) = (None, true);
            return true;
        };
        self.typed.extend_from_slice(&bytes);
        if !self.raw || bytes[..] != [INTERRUPT] {
            return true;
        }
        let now = Instant::now();
        self.interrupts.retain(|at| now.duration_since(*at) < AT_ONCE);
        self.interrupts.push(now);
        self.interrupts.len() < INTERRUPTS
    }

    /// The dyno has taken so many bytes more.
    pub(super) fn taken(&mut self, count: u32) {
        let count = usize::try_from(count).unwrap_or(WINDOW);
        self.credit = self.credit.saturating_add(count).min(WINDOW);
    }

    /// Nobody reads it any more.
    pub(super) fn close(&mut self) {
        (self.input, self.ended) = (None, false);
        self.typed.clear();
    }

    /// What may be sent now.
    pub(super) fn frame(&mut self) -> Option<FromOperator> {
        let length = self.typed.len().min(self.credit).min(LONGEST);
        if length > 0 {
            self.credit -= length;
            return Some(FromOperator::Stdin(self.typed.split_to(length).freeze()));
        }
        (self.typed.is_empty() && std::mem::take(&mut self.ended)).then_some(FromOperator::StdinEnd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ctrl_c_four_times_at_once_ends_it_and_neither_slowly_nor_in_a_paste() {
        let typed = |keyboard: &mut Keyboard, keys: &'static [u8]| keyboard.typed(Some(keys.into()));
        let mut keyboard = Keyboard { raw: true, ..Keyboard::default() };
        assert!(typed(&mut keyboard, &[INTERRUPT; 9]));
        for _ in 0..9 {
            assert!(typed(&mut keyboard, &[INTERRUPT]));
            tokio::time::advance(AT_ONCE / 2).await;
        }
        tokio::time::advance(AT_ONCE).await;
        let goes_on: Vec<bool> = (0..4).map(|_| typed(&mut keyboard, &[INTERRUPT])).collect();
        assert_eq!(goes_on, [true, true, true, false]);
        let mut pipe = Keyboard::default();
        assert!((0..9).all(|_| typed(&mut pipe, &[INTERRUPT])), "these are bytes");
    }

    #[test]
    fn no_more_is_sent_than_was_taken_and_the_end_comes_last() {
        let mut keyboard = Keyboard { credit: WINDOW, ..Keyboard::default() };
        assert!(keyboard.typed(Some(vec![b'x'; WINDOW + 10].into())) && keyboard.typed(None));
        let sent = |keyboard: &mut Keyboard| match keyboard.frame() {
            Some(FromOperator::Stdin(bytes)) => Some(bytes.len()),
            other => other.map(|_| 0),
        };
        assert_eq!([LONGEST, LONGEST].map(Some), [sent(&mut keyboard), sent(&mut keyboard)]);
        assert_eq!(sent(&mut keyboard), None);
        keyboard.taken(4);
        assert_eq!(sent(&mut keyboard), Some(4));
        keyboard.taken(u32::MAX);
        assert_eq!((sent(&mut keyboard), keyboard.credit), (Some(6), WINDOW - 6));
        assert_eq!((keyboard.frame(), keyboard.frame()), (Some(FromOperator::StdinEnd), None));
    }
}
