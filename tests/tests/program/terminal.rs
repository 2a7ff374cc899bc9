//! A terminal as somebody sits at it: what is shown, what is typed, and what its modes are before and after.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex},
    thread,
};

use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};

use crate::{busbar::Busbar, wait::until};

/// Somebody's terminal, and `busbar run` on it.
pub(crate) struct Sitting {
    pub(crate) client: Child,
    keys: File,
    terminal: OwnedFd,
    before: String,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Sitting {
    /// Runs this on a terminal of 33 lines of 101 characters, which is the controlling one.
    pub(crate) fn at(busbar: &Busbar, arguments: &[&str]) -> Self {
        Self::with(busbar, arguments, |_| {})
    }

    pub(crate) fn with(busbar: &Busbar, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keys = openpt(flags).unwrap();
        unlockpt(&keys).unwrap();
        let terminal = ioctl_tiocgptpeer(&keys, flags).unwrap();
        let size = Winsize { ws_row: 33, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).unwrap();
        let before = modes(&terminal);
        let run = busbar.place.command(&[&["run"], arguments].concat());
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(run.get_program()).args(run.get_args()).env("TERM", "xterm-256color");
        for (name, value) in run.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let stream = || terminal.try_clone().unwrap();
        command.stdin(stream()).stdout(stream()).stderr(stream());
        change(&mut command);
        let client = command.spawn().expect("util-linux has setsid");
        let keys = File::from(keys);
        let shown = Arc::new(Mutex::new(vec![]));
        let (mut screen, sink) = (keys.try_clone().unwrap(), Arc::clone(&shown));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { client, keys, terminal, before, shown }
    }

    /// All that was shown so far.
    pub(crate) fn seen(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits until that is shown, and forgets what was shown up to there.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) -> String {
        until(&format!("{text:?} is shown: {:?}", self.seen()), || {
            let mut shown = self.shown.lock().unwrap();
            let end = shown.windows(text.len()).position(|part| part == text.as_bytes())? + text.len();
            Some(String::from_utf8_lossy(&shown.drain(..end).collect::<Vec<_>>()).into_owned())
        })
    }

    pub(crate) fn types(&self, keys: &str) {
        (&self.keys).write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.terminal, size).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.client), signal).unwrap();
    }

    /// Whether keys are handed on as they are.
    pub(crate) fn is_raw(&self) -> bool {
        modes(&self.terminal) != self.before
    }

    /// What waits to be read from the terminal, as if it had been typed.
    pub(crate) fn waiting(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.terminal).unwrap()
    }

    /// Waits for the end; then the terminal must be what it was.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let status =
            until(&format!("busbar run ends: {:?}", self.seen()), || self.client.try_wait().unwrap());
        assert_eq!(modes(&self.terminal), self.before, "the terminal is put back");
        status
    }
}

impl Drop for Sitting {
    fn drop(&mut self) {
        let _ended = self.client.kill();
        let _ended = self.client.wait();
    }
}

fn modes(terminal: &OwnedFd) -> String {
    let Termios { input_modes, output_modes, control_modes, local_modes, special_codes, .. } =
        tcgetattr(terminal).unwrap();
    format!("{input_modes:?} {output_modes:?} {control_modes:?} {local_modes:?} {special_codes:?}")
}
