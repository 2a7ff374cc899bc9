//! What `busbar up` and `busbar runtime` show: every line of the app, as `heroku local` and foreman show it.

use std::{
    io::{self, Write as _},
    thread::JoinHandle,
};

use dyno_runtime::{LogLine, Tail};
use jiff::tz::TimeZone;
use tokio::runtime::Handle;

use crate::{failure::Failure, say::log_line::Interleaved};

/// Prints lines on a thread of its own: a terminal that is held (Ctrl-S) holds nothing else.
pub(crate) struct Printer(JoinHandle<()>);

impl Printer {
    /// Prints `first` and then what `tail` gives, until it gives no more. The longest dyno name has `width` letters.
    ///
    /// # Errors
    /// When there can be no further thread.
    pub(crate) fn start(first: Vec<LogLine>, mut tail: Tail, width: usize) -> Result<Self, Failure> {
        let handle = Handle::current();
        let mut told = Interleaved::new(width, TimeZone::system());
        let work = move || {
            for line in first {
                print(&mut told, &line);
            }
            while let Some(line) = handle.block_on(tail.next()) {
                print(&mut told, &line);
            }
        };
        let started = std::thread::Builder::new().name("printer".to_owned()).spawn(work);
        started
            .map(Self)
            .map_err(|source| Failure::System { deed: "starting the thread that prints", source })
    }

    /// Returns when the last line is printed. The app must be gone by then.
    pub(crate) async fn finish(self) {
        let _panicked = tokio::task::spawn_blocking(move || self.0.join()).await;
    }
}

/// Nobody may read it any more; the app runs on then.
fn print(told: &mut Interleaved, line: &LogLine) {
    let text = told.line(&line.into());
    let _read: io::Result<()> = writeln!(anstream::stdout().lock(), "{text}");
}
