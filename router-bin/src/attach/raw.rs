//! A terminal that hands on what is typed as it is: no line is edited, no key interrupts.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// A terminal in raw mode. Dropped, however that comes about, it is what it was before.
#[derive(Debug)]
pub(super) struct Raw<'t> {
    terminal: BorrowedFd<'t>,
    before: Termios,
}

impl<'t> Raw<'t> {
    /// # Errors
    /// It is no terminal.
    pub(super) fn set(terminal: &'t impl AsFd) -> io::Result<Self> {
        let terminal = terminal.as_fd();
        let raw = Self { terminal, before: tcgetattr(terminal)? };
        raw.again();
        Ok(raw)
    }

    /// Raw, after the shell made it another one while we were stopped.
    pub(super) fn again(&self) {
        let mut raw = self.before.clone();
        raw.make_raw();
        self.is_now(&raw);
    }

    /// As it was before, for as long as we are stopped.
    pub(super) fn back(&self) {
        self.is_now(&self.before);
    }

    /// At once: nobody may read what is still to be shown, and what was typed ahead is not thrown away.
    fn is_now(&self, modes: &Termios) {
        let _terminal_is_gone = tcsetattr(self.terminal, OptionalActions::Now, modes);
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        self.back();
    }
}

#[cfg(test)]
mod tests {
    use rustix::{
        pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
        termios::LocalModes,
    };

    use super::*;

    #[test]
    fn a_terminal_is_what_it_was_before_also_after_a_panic() {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let other_end = openpt(flags).unwrap();
        unlockpt(&other_end).unwrap();
        let terminal = ioctl_tiocgptpeer(&other_end, flags).unwrap();
        let modes = || tcgetattr(&terminal).unwrap().local_modes;
        let before = modes();
        assert!(before.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
        let panicked = std::panic::catch_unwind(|| {
            let raw = Raw::set(&terminal).unwrap();
            assert!(!modes().intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
            raw.back();
            assert_eq!(modes(), before);
            raw.again();
            panic!("{raw:?}");
        });
        assert!(panicked.is_err() && modes() == before);
    }
}
