//! Where a runtime can be told to die: for tests of what the next one makes of it.

use rustix::process::{Signal, getpid, kill_process};

/// A point in the life of a dyno between two things that a runtime does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Milestone {
    /// It has a number, and that is not written down.
    Numbered,
    /// It is written down, and nothing of it was made.
    WrittenDown,
    /// It has a control group.
    Grouped,
    /// It has a port, and a disk if it is to have one.
    Furnished,
    /// Its first process waits for its orders, and is not written down.
    Embryo,
    /// The same, and it is written down.
    LeaderWritten,
    /// Its first process has its orders, and nobody hears what it says.
    Ordered,
    /// Its command runs, and that is not written down.
    Launched,
    /// The same, and it is written down.
    LifeWritten,
    /// Its port accepts.
    Accepted,
    /// It is registered, and its lease is not written down.
    Registered,
    /// The same, and it is written down.
    LeaseWritten,
    /// It gets no new requests.
    Drained,
    /// It was deregistered.
    Deregistered,
    /// It was told to end, and that is not written down.
    Terminated,
    /// The same, and it is written down.
    StopWritten,
    /// Its command has ended, and what it wrote last is not read.
    Exited,
    /// The same, and it is read.
    Heard,
    /// Its first process was let go.
    Reaped,
    /// Its control group is removed.
    GroupRemoved,
    /// All it had on the machine is removed, but not its record.
    Emptied,
    /// What an earlier runtime left was found.
    Found,
    /// A dyno of an earlier runtime was taken over, and nothing was done with it.
    Taken,
}

impl Milestone {
    /// All of them, in order.
    pub const ALL: [Self; 23] = [
        Self::Numbered,
        Self::WrittenDown,
        Self::Grouped,
        Self::Furnished,
        Self::Embryo,
        Self::LeaderWritten,
        Self::Ordered,
        Self::Launched,
        Self::LifeWritten,
        Self::Accepted,
        Self::Registered,
        Self::LeaseWritten,
        Self::Drained,
        Self::Deregistered,
        Self::Terminated,
        Self::StopWritten,
        Self::Exited,
        Self::Heard,
        Self::Reaped,
        Self::GroupRemoved,
        Self::Emptied,
        Self::Found,
        Self::Taken,
    ];
}

/// Where this runtime is to die, if it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DieAt(pub Option<Milestone>);

impl DieAt {
    /// Dies, as if by `kill -9`, if it was to die here.
    pub(crate) fn reach(self, milestone: Milestone) {
        if self.0 == Some(milestone) {
            let _dead = kill_process(getpid(), Signal::KILL);
        }
    }
}
