//! One log line: as `heroku logs` prints it, or as `heroku local` and foreman do.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use owo_colors::{AnsiColors, OwoColorize as _};

use crate::logs::LogLine;

/// The colours dynos get, in this order, then again.
const COLOURS: [AnsiColors; 6] = [
    AnsiColors::Cyan,
    AnsiColors::Yellow,
    AnsiColors::Green,
    AnsiColors::Magenta,
    AnsiColors::Blue,
    AnsiColors::BrightRed,
];

/// `2010-09-16T15:13:46.677020+00:00 app[web.1]: text`
pub(crate) fn heroku(line: &LogLine) -> String {
    let LogLine { at, source, dyno, text } = line;
    let at = at.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00");
    format!("{at} {}[{dyno}]: {}", source, Printable(text))
}

/// Tells lines as `12:00:00 web.1    | text`, each dyno in a colour of its own.
#[derive(Debug)]
pub(crate) struct Interleaved {
    width: usize,
    colours: Vec<String>,
    tz: TimeZone,
}

impl Interleaved {
    /// For dynos with names as long as `longest`, in the zone `tz`.
    pub(crate) fn new(longest: usize, tz: TimeZone) -> Self {
        Self { width: longest.max("router".len()), colours: Vec::new(), tz }
    }

    /// One line, with colours; whoever prints it takes them out where they are not wanted.
    pub(crate) fn line(&mut self, line: &LogLine) -> String {
        let time = line.at.to_zoned(self.tz.clone()).strftime("%H:%M:%S").to_string();
        self.width = self.width.max(line.dyno.len());
        let (colour, width) = (self.colour(&line.dyno), self.width);
        let head = format!("{time} {:<width$} |", line.dyno);
        format!("{} {}", head.color(colour), Printable(&line.text))
    }

    fn colour(&mut self, dyno: &str) -> AnsiColors {
        let seen = self.colours.iter().position(|seen| seen == dyno);
        let number = seen.unwrap_or_else(|| {
            self.colours.push(dyno.to_owned());
            self.colours.len().saturating_sub(1)
        });
        COLOURS.into_iter().cycle().nth(number % COLOURS.len()).unwrap_or(AnsiColors::White)
    }
}

/// Text from a dyno without what could take over a terminal: control characters are shown, colours stay.
struct Printable<'t>(&'t str);

impl std::fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(|c: char| c.is_control() && c != '\t') {
            let (plain, control) = rest.split_at_checked(at).unwrap_or((rest, ""));
            f.write_str(plain)?;
            let kept = colour_length(control);
            let taken = if kept > 0 { kept } else { control.chars().next().map_or(0, char::len_utf8) };
            let (control, after) = control.split_at_checked(taken).unwrap_or((control, ""));
            match kept {
                0 => write_shown(f, control)?,
                _ => f.write_str(control)?,
            }
            rest = after;
        }
        f.write_str(rest)
    }
}

/// How long the colour code is that `text` begins with; 0 when it begins with something else.
fn colour_length(text: &str) -> usize {
    let Some(code) = text.strip_prefix("\x1b[") else { return 0 };
    let end = code.find(|c: char| !c.is_ascii_digit() && c != ';');
    end.filter(|end| code.get(*end..).is_some_and(|end| end.starts_with('m')))
        .map_or(0, |end| end.saturating_add(3))
}

/// A control character as its picture: `␛`.
fn write_shown(f: &mut std::fmt::Formatter<'_>, control: &str) -> std::fmt::Result {
    let picture = |c: char| match u32::from(c) {
        n @ 0..32 => char::from_u32(0x2400 + n).unwrap_or('\u{fffd}'),
        0x7f => '\u{2421}',
        _ => '\u{fffd}',
    };
    control.chars().filter(|c| *c != '\r').try_for_each(|c| f.write_char(picture(c)))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn line(dyno: &str, text: &str) -> LogLine {
        let at: Timestamp = "2010-09-16T15:13:46.67702Z".parse().unwrap();
        LogLine { at, source: "app".into(), dyno: dyno.into(), text: text.into() }
    }

    #[test]
    fn herokus_form_has_microseconds_and_the_source() {
        assert_eq!(heroku(&line("web.1", "hello")), "2010-09-16T15:13:46.677020+00:00 app[web.1]: hello");
        let router = LogLine { source: "heroku".into(), ..line("router", "at=info") };
        assert_eq!(heroku(&router), "2010-09-16T15:13:46.677020+00:00 heroku[router]: at=info");
    }

    #[test]
    fn interleaved_lines_are_aligned_and_each_dyno_keeps_its_colour() {
        let mut told = Interleaved::new(8, TimeZone::UTC);
        let web = told.line(&line("web.1", "a"));
        assert_eq!(anstream::adapter::strip_str(&web).to_string(), "15:13:46 web.1    | a");
        let worker = told.line(&line("worker.1", "a"));
        assert_eq!(anstream::adapter::strip_str(&worker).to_string(), "15:13:46 worker.1 | a");
        assert_eq!(told.line(&line("web.1", "a")), web);
        assert_ne!(web.split('m').next(), worker.split('m').next());
    }

    #[test]
    fn a_dyno_cannot_take_over_the_terminal() {
        for (said, told) in [
            ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
            ("clear\x1b[2Jed", "clear␛[2Jed"),
            ("title\x1b]0;x\x07", "title␛]0;x␇"),
            ("tab\there\r", "tab\there"),
            ("\x7f", "\u{2421}"),
            ("\u{9b}2J", "\u{fffd}2J"),
            ("\x1b[", "␛["),
        ] {
            assert_eq!(Printable(said).to_string(), told);
        }
    }
}
