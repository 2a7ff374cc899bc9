//! A worker's access lines on their way to the [`AccessLog`], in batches: one hand-over for many lines.

use std::{cell::RefCell, mem, sync::Arc};

use super::AccessLog;
use crate::route::logline::LogLine;

/// A batch is handed over when it is this long, and at every tick.
const BATCH: usize = 32 * 1024;

/// The lines not handed over yet.
pub(crate) struct LogBuffer {
    log: Option<Arc<dyn AccessLog>>,
    lines: RefCell<Vec<u8>>,
}

impl LogBuffer {
    /// Lines for `log`; with `None` they are not even rendered.
    pub(crate) fn new(log: Option<Arc<dyn AccessLog>>) -> Self {
        Self { log, lines: RefCell::default() }
    }

    /// Adds a line. Returns how many earlier ones the log dropped meanwhile.
    pub(crate) fn add(&self, line: &LogLine<'_>) -> u64 {
        if self.log.is_none() {
            return 0;
        }
        let mut lines = self.lines.borrow_mut();
        line.write(&mut lines);
        lines.push(b'\n');
        let full = lines.len() >= BATCH;
        drop(lines);
        if full { self.hand_over() } else { 0 }
    }

    /// Hands over what is there. Returns how many lines the log dropped.
    pub(crate) fn hand_over(&self) -> u64 {
        let mut lines = self.lines.borrow_mut();
        match &self.log {
            Some(log) if !lines.is_empty() => {
                let room = lines.capacity();
                log.write(mem::replace(&mut *lines, Vec::with_capacity(room.min(2 * BATCH))))
            }
            _ => 0,
        }
    }
}

impl Drop for LogBuffer {
    fn drop(&mut self) {
        self.hand_over();
    }
}
