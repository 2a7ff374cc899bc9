//! From a dyno's pipe into the log, so that no line is lost when this process is killed.
//!
//! A line stays in the pipe until it is whole and in the log: what was not taken out, the next runtime reads. Only looked
//! at is what is there by `tee`, which takes nothing out. So a kill can leave the last lines twice, where it falls between
//! the two, but never half a line and never none.

use std::{
    cell::RefCell,
    io::{self, PipeReader, PipeWriter, Read as _},
    os::fd::{AsFd as _, BorrowedFd},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use rustix::pipe::{SpliceFlags, tee};
use tokio::{
    io::Interest,
    net::unix::pipe::Receiver,
    task::yield_now,
    time::{Instant, sleep, timeout},
};

use super::{Flow, Lines, MAX_LINE};

/// As much as a pipe holds: who floods it is read in as few calls as can be. Of memory it takes what has ever been read at once.
const READ: usize = 64 * 1024;
/// So long the beginning of a line may wait in the pipe for its end. A pipe has room for few pieces, if they were written in
/// a way that the kernel does not join them; who fills it must not wait for ever.
const PATIENCE: Duration = Duration::from_secs(10);

thread_local! {
    /// Where [`look`] puts what it looks at. Between two looks it is empty.
    static ASIDE: RefCell<Option<(PipeReader, PipeWriter)>> = const { RefCell::new(None) };
}

/// Reads all that a dyno writes to one of its streams, until it is closed. `lost` is told of what was dropped.
pub(crate) async fn carry(
    from: Receiver,
    mut line: impl FnMut(Bytes),
    mut lost: impl FnMut(u64, SystemTime),
) {
    let (mut lines, mut flow, mut buffer) = (Lines::default(), Flow::default(), vec![0; READ]);
    let began = Instant::now();
    let mut backlog = Backlog::of(&from);
    let mut waits = None;
    loop {
        let whole = match next(&from, &mut buffer, flow.tells_in(began.elapsed()), &mut waits).await {
            Some(whole) => backlog.part(buffer.get(..whole).unwrap_or_default()),
            None => break,
        };
        let now = began.elapsed();
        let bytes = buffer.get(..whole).unwrap_or_default();
        if backlog.is_there() {
            lines.feed(bytes, &mut line);
        } else {
            let passed = flow.pass((now, SystemTime::now()), bytes, &mut lines);
            lines.feed(passed, |text| {
                flow.count_line();
                line(text);
            });
        }
        if let Some((messages, since)) = flow.told(now) {
            lost(messages, since);
        }
        if whole > 0 {
            // Who passes lines on can do so before they are gone from here.
            yield_now().await;
            if take(&from, buffer.get_mut(..whole).unwrap_or_default()).is_err() {
                break;
            }
            backlog.took(whole, &from).await;
        }
    }
    lines.finish(line);
    if let Some((messages, since)) = flow.finish() {
        lost(messages, since);
    }
}

/// How many bytes at the front of the pipe are to go into the log now, which are in `buffer`; 0 after `soon`; `None` at the
/// end. `waits`: since when the beginning of a line waits for its end.
async fn next(
    from: &Receiver,
    buffer: &mut [u8],
    soon: Option<Duration>,
    waits: &mut Option<Instant>,
) -> Option<usize> {
    loop {
        let patience = waits.map(|since| (since + PATIENCE).saturating_duration_since(Instant::now()));
        let ready = match [soon, patience].into_iter().flatten().min() {
            Some(limit) => timeout(limit, from.ready(Interest::READABLE)).await.ok(),
            None => Some(from.ready(Interest::READABLE).await),
        };
        // An error of a pipe is its end.
        let closed = match &ready {
            Some(ready) => ready.as_ref().ok()?.is_read_closed(),
            None => false,
        };
        let all = closed || waits.is_some_and(|since| since.elapsed() >= PATIENCE);
        let mut attempt = || match look(from.as_fd(), buffer)? {
            0 => Ok(None),
            seen => match whole(buffer.get(..seen).unwrap_or_default(), all) {
                0 => {
                    waits.get_or_insert_with(Instant::now);
                    Err(io::ErrorKind::WouldBlock.into())
                }
                whole => {
                    *waits = None;
                    Ok(Some(whole))
                }
            },
        };
        // Nothing new has come when the time is over; so nothing but the time may be asked.
        let seen = if ready.is_some() { from.try_io(attempt) } else { attempt() };
        match seen {
            Ok(seen) => return seen,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return None,
            Err(_) if ready.is_none() && soon.is_some() => return Some(0),
            Err(_) => {}
        }
    }
}

/// How many of these bytes are whole lines, or parts of such as are too long for one.
fn whole(bytes: &[u8], all: bool) -> usize {
    match memchr::memrchr(b'\n', bytes) {
        _ if all => bytes.len(),
        Some(end) => end + 1,
        None if bytes.len() >= MAX_LINE => bytes.len(),
        None => 0,
    }
}

/// What waited in a pipe when nobody read it. It is no flood, so nothing of it is dropped; but it goes into the log in parts
/// that tails can follow.
struct Backlog {
    /// Bytes that count as waiting, also such as come until all that waited is read.
    most: Option<usize>,
}

impl Backlog {
    /// Four pipes full: who still writes faster than it is read then has to be taken for a flood.
    const MOST: usize = 256 << 10;
    /// A part has no more lines, a fifth of those that a tail may be behind,
    const LINES: usize = 200;
    /// and so long is the rest after it.
    const REST: Duration = Duration::from_millis(10);

    fn of(from: &Receiver) -> Self {
        Self { most: waits(from).then_some(Self::MOST) }
    }

    fn is_there(&self) -> bool {
        self.most.is_some()
    }

    /// How many of these bytes are the next part.
    fn part(&self, bytes: &[u8]) -> usize {
        let end = memchr::memchr_iter(b'\n', bytes).nth(Self::LINES - 1).filter(|_| self.is_there());
        end.map_or(bytes.len(), |end| end + 1)
    }

    async fn took(&mut self, part: usize, from: &Receiver) {
        if let Some(most) = self.most {
            self.most = most.checked_sub(part).filter(|_| waits(from));
            sleep(Self::REST).await;
        }
    }
}

/// Whether something is in the pipe.
fn waits(from: &Receiver) -> bool {
    rustix::io::ioctl_fionread(from).is_ok_and(|waiting| waiting > 0)
}

/// Copies what is at the front of the pipe, which stays there. 0: nobody can write to it any more.
fn look(from: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    ASIDE.with_borrow_mut(|aside| {
        // Taken, so that a pipe with something left in it is never used again.
        let (mut reader, writer) = aside.take().map_or_else(io::pipe, Ok)?;
        let seen = tee(from, &writer, into.len(), SpliceFlags::NONBLOCK);
        if let Ok(seen) = seen {
            reader.read_exact(into.get_mut(..seen).unwrap_or_default())?;
        }
        *aside = Some((reader, writer));
        Ok(seen?)
    })
}

/// Takes just so many bytes, which are there.
fn take(from: &Receiver, bytes: &mut [u8]) -> io::Result<()> {
    let mut left = bytes;
    while !left.is_empty() {
        match rustix::io::read(from, &mut *left)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            taken => left = left.get_mut(taken..).unwrap_or_default(),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, sync::Mutex};

    use super::*;

    /// What is heard of a pipe until `enough`; what is left in it then.
    async fn heard(reader: &PipeReader, mut enough: impl FnMut(&[Bytes]) -> bool) -> Vec<Bytes> {
        let heard = Mutex::new(vec![]);
        let fd = reader.try_clone().unwrap().into();
        let carried =
            carry(Receiver::from_owned_fd(fd).unwrap(), |line| heard.lock().unwrap().push(line), |_, _| {});
        let has_enough = async {
            while !enough(&heard.lock().unwrap()) {
                yield_now().await;
            }
            // Once more, for what was heard to be taken.
            yield_now().await;
        };
        tokio::select! { biased; () = carried => {}, () = has_enough => {} }
        heard.into_inner().unwrap()
    }

    #[tokio::test]
    async fn a_line_is_taken_when_it_is_whole_and_its_beginning_stays_for_whoever_comes_next() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"one\ntwo\nthr").unwrap();
        assert_eq!(heard(&reader, |heard| heard.len() == 2).await, ["one", "two"]);
        writer.write_all(b"ee\nfour").unwrap();
        assert_eq!(heard(&reader, |heard| heard.len() == 1).await, ["three"]);
        drop(writer);
        assert_eq!(heard(&reader, |_| false).await, ["four"]);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_taken_in_parts_and_the_last_one_at_the_end() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(&vec![b'x'; 3 * MAX_LINE + 5]).unwrap();
        drop(writer);
        let lengths: Vec<usize> = heard(&reader, |_| false).await.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [MAX_LINE, MAX_LINE, MAX_LINE, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pipe_that_is_full_of_pieces_of_a_line_is_emptied_in_time() {
        let (reader, mut writer) = io::pipe().unwrap();
        rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::DIRECT | rustix::fs::OFlags::NONBLOCK).unwrap();
        let mut pieces = 0;
        while writer.write_all(b"piece ").is_ok() {
            pieces += 1;
        }
        assert!(pieces < 100, "the kernel does not join them");
        let from = Receiver::from_owned_fd(reader.into()).unwrap();
        let (lines, mut line) = tokio::sync::mpsc::unbounded_channel();
        let carried = tokio::spawn(carry(from, move |text| drop(lines.send(text)), |_, _| {}));
        // Nobody is there but the clock, which goes on when all wait for it.
        sleep(PATIENCE * 2).await;
        writer.write_all(b"more\n").unwrap();
        assert_eq!(line.recv().await.unwrap().len(), pieces * 6 + 4);
        carried.abort();
    }
}
