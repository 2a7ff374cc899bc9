//! What the slots of one thread share: the turns, the tally, and who is under way. A slot is one place for one request at a
//! time: a connection, or a stream of one.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use super::{
    Plan,
    client::Client,
    line::Dialer,
    plan::Pace,
    tally::{Answered, Mishap, Tally},
    turns::{Turn, Turns},
    watchdog::Watchdog,
};
use crate::alarm::Alarm;

/// Pause of a slot in a closed loop whose request went wrong: a dead server is not to be hammered as fast as it refuses.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) struct Desk {
    start: Instant,
    turns: RefCell<Turns>,
    tally: RefCell<Tally>,
    flights: Vec<Cell<Option<Flight>>>,
    is_open: bool,
    timeout: Duration,
    alarm: Alarm,
    dialer: Dialer,
}

/// A request under way.
#[derive(Clone, Copy)]
struct Flight {
    turn: Turn,
    sent: Instant,
}

impl Desk {
    pub(super) fn new(
        plan: &Plan,
        slots: usize,
        turns: Turns,
        start: Instant,
        alarm: Alarm,
        dialer: Dialer,
    ) -> Self {
        Self {
            start,
            turns: RefCell::new(turns),
            tally: RefCell::default(),
            flights: std::iter::repeat_with(Cell::default).take(slots).collect(),
            is_open: plan.pace != Pace::Closed,
            timeout: plan.timeout,
            alarm,
            dialer,
        }
    }

    /// The life of slot `index`: one turn after another, until there are no more.
    pub(super) async fn work(&self, index: usize, mut client: impl Client) {
        let mut dog = Watchdog::new(self.timeout);
        self.alarm.until(self.start).await;
        while let Some(turn) = self.turn().await {
            let sent = Instant::now();
            let due = self.start + turn.due;
            if sent >= due + self.timeout {
                self.note(turn, sent, Err(Mishap::TimedOut)); // who waited for this is gone before it could be sent
                continue;
            }
            self.fly(index, Some(Flight { turn, sent }));
            let done = dog.guard(due, client.exchange()).await.unwrap_or(Err(Mishap::TimedOut));
            self.fly(index, None);
            self.note(turn, sent, done);
            if done.is_err() {
                client.hang_up();
                if !self.is_open {
                    self.alarm.after(PAUSE).await;
                }
            }
        }
    }

    async fn turn(&self) -> Option<Turn> {
        let turn = self.turns.borrow_mut().take(self.start.elapsed())?;
        if self.is_open {
            self.alarm.until(self.start + turn.due).await;
            if self.turns.borrow().is_closed_at(turn.due) {
                return None; // closed while it was waited for
            }
        }
        Some(turn)
    }

    fn fly(&self, index: usize, flight: Option<Flight>) {
        if let Some(cell) = self.flights.get(index) {
            cell.set(flight);
        }
    }

    fn note(&self, turn: Turn, sent: Instant, outcome: Result<Answered, Mishap>) {
        if !turn.counts {
            return;
        }
        let now = Instant::now();
        let latency = now.saturating_duration_since(self.start + turn.due);
        let service = self.is_open.then(|| now.saturating_duration_since(sent));
        let mut tally = self.tally.borrow_mut();
        tally.note(outcome, latency, service);
        if outcome.is_ok() {
            tally.last_ok = Some(now);
        }
    }

    /// Gives no more turns, and resolves when nothing is under way, at the latest after `grace`.
    pub(super) async fn close(&self, grace: Duration) {
        self.turns.borrow_mut().close(self.start.elapsed());
        let deadline = Instant::now() + grace;
        while self.flights.iter().any(|flight| flight.get().is_some()) && Instant::now() < deadline {
            self.alarm.after(Duration::from_millis(1)).await;
        }
    }

    /// What was counted since this was last asked.
    pub(super) fn take(&self) -> Tally {
        self.tally.borrow_mut().connections += self.dialer.take_count();
        self.tally.take()
    }

    /// Counts what is under way, and what was due but never sent, as unfinished. Of the latter at most as many as there were
    /// turns before the end.
    pub(super) fn abandon(&self) {
        for flight in self.flights.iter().filter_map(Cell::take) {
            self.note(flight.turn, flight.sent, Err(Mishap::Unfinished));
        }
        let now = self.start.elapsed();
        while self.is_open
            && let Some(turn) = self.turns.borrow_mut().take(now).filter(|turn| turn.due <= now)
        {
            self.note(turn, Instant::now(), Err(Mishap::Unfinished));
        }
    }
}
