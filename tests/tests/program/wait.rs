//! Waiting: for a condition or for words, with a deadline, never for a time.

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

/// How long anything may take before the test fails. Python on a busy machine needs seconds to start.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What `look` finds, as soon as it finds something.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// What a process writes into a pipe, line by line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    over: bool,
}

impl Said {
    /// Listens until the pipe is closed.
    pub(crate) fn listen(pipe: impl Read + Send + 'static) -> Self {
        let said = Self::default();
        let inlet = said.clone();
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                inlet.tell(|lines| lines.lines.push(String::from_utf8_lossy(&line).into_owned()));
            }
            inlet.tell(|lines| lines.over = true);
        });
        said
    }

    fn tell(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.0.0.lock().expect("nobody panicked"));
        self.0.1.notify_all();
    }

    /// All lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.0.lock().expect("nobody panicked").lines.clone()
    }

    /// All lines there will ever be; the process must be about to end.
    pub(crate) fn to_the_end(&self) -> Vec<String> {
        until("the pipe is closed", || self.0.0.lock().expect("nobody panicked").over.then_some(()));
        self.lines()
    }

    /// What `find` finds in the first line in which it finds something, now or later.
    #[track_caller]
    pub(crate) fn find<T>(&self, what: &str, mut find: impl FnMut(&str) -> Option<T>) -> T {
        let begin = Instant::now();
        let mut lines = self.0.0.lock().expect("nobody panicked");
        let mut next = 0;
        loop {
            while let Some(line) = lines.lines.get(next) {
                if let Some(found) = find(line) {
                    return found;
                }
                next += 1;
            }
            let waited = begin.elapsed();
            let all = || lines.lines.join("\n");
            assert!(!lines.over && waited < PATIENCE, "after {waited:?} no {what} in\n{}", all());
            lines = self.0.1.wait_timeout(lines, PATIENCE - waited).expect("nobody panicked").0;
        }
    }

    /// The first line with these words, now or later.
    #[track_caller]
    pub(crate) fn line(&self, words: &str) -> String {
        self.find(words, |line| line.contains(words).then(|| line.to_owned()))
    }
}

/// Says on the terminal, past the test harness, that something was not tested.
pub(crate) fn skipped(why: &str) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let _nobody_reads_it = writeln!(std::io::stderr(), "SKIPPED {name}: {why}");
}
