//! The last events, by revision. Each event's revision is one more than that of the event before it.

use std::{collections::VecDeque, sync::Arc};

use crate::{Change, Event, Refusal, Revision};

/// The last `limit` events.
#[derive(Debug)]
pub(super) struct History {
    limit: usize,
    /// The revision before the very first event.
    origin: u64,
    /// The revision before the oldest event kept.
    dropped: u64,
    events: VecDeque<Arc<Event>>,
}

impl History {
    pub(super) fn new(limit: usize, origin: Revision) -> Self {
        Self { limit: limit.max(1), origin: origin.0, dropped: origin.0, events: VecDeque::new() }
    }

    /// The revision of the newest event.
    pub(super) fn revision(&self) -> Revision {
        Revision(self.dropped + self.events.len() as u64)
    }

    /// The change happened; the oldest event may be dropped for it.
    pub(super) fn push(&mut self, change: Change) -> Arc<Event> {
        let event = Arc::new(Event { revision: Revision(self.revision().0 + 1), change });
        if self.events.len() == self.limit && self.events.pop_front().is_some() {
            self.dropped += 1;
        }
        self.events.push_back(event.clone());
        event
    }

    /// At most `most` events after `from`. Nothing was known before the first event, so revision 0 stands for that
    /// point too.
    pub(super) fn since(&self, from: Revision, most: usize) -> Result<Vec<Arc<Event>>, Refusal> {
        let from_origin = from == Revision(0) && self.dropped == self.origin;
        let known = from_origin || (self.dropped..=self.revision().0).contains(&from.0);
        if !known {
            return Err(Refusal::Compacted { from, oldest: Revision(self.dropped) });
        }
        let skip = usize::try_from(from.0.saturating_sub(self.dropped)).unwrap_or(usize::MAX);
        Ok(self.events.iter().skip(skip).take(most).cloned().collect())
    }
}
