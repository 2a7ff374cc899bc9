//! Standard output and standard error. Colours are taken out where nobody sees them; a reader that has gone is no panic.

use std::io::{self, IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;

/// Writes `text`, which ends its own lines, to standard output.
///
/// # Errors
/// [`Failure::OutputClosed`] when the reader has gone.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(failed)
}

/// Writes `value` as one line of JSON to standard output.
///
/// # Errors
/// [`Failure::OutputClosed`] when the reader has gone.
pub(crate) fn print_json<T: serde::Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| failed(io::Error::from(error)))?;
    print(&format!("{text}\n"))
}

/// Says `busbar: text` on standard error. Nobody may be there to hear it, and that is fine.
pub(crate) fn note(text: impl std::fmt::Display) {
    let _heard = writeln!(anstream::stderr().lock(), "busbar: {text}");
}

/// Says `text` on standard error as it is.
pub(crate) fn lines(text: impl std::fmt::Display) {
    let _heard = writeln!(anstream::stderr().lock(), "{text}");
}

/// A bar for bytes of bytes on standard error; nothing where that is no terminal.
pub(crate) fn progress(deed: &'static str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())).with_message(deed)
}

fn failed(source: io::Error) -> Failure {
    match source.kind() {
        io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::System { deed: "writing to standard output", source },
    }
}
