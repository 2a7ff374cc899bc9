//! `busbar run`

use std::collections::BTreeMap;

use dyno_runtime::{Exit, Size};

use super::ask::Ask;
use crate::{
    admin::api::{RunEvent, RunRequest},
    failure::Failure,
    out,
};

/// Run a command in a dyno of its own, with the app's config vars and limits
///
/// What it writes is shown here, and its exit status is that of this program. Ctrl-C ends it. It has no standard input
/// and no terminal.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// How large it is, like standard-2x [default: as the app's limits say]
    #[arg(long, value_name = "SIZE")]
    size: Option<Size>,
    /// A variable it has besides the app's config vars
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Do not wait for it: say its name, and leave what it writes to the app's log
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    ask: Ask,
    /// The command; one word is a line for the shell
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=value")?;
    let good = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    good.then(|| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "a name has letters, digits and '_' and does not begin with a digit".to_owned())
}

impl Run {
    pub(super) fn run(self) -> Result<(), Failure> {
        let detach = self.detach;
        let request = RunRequest {
            command: line(&self.command),
            size: self.size.map(Size::to_word),
            env: self.env.into_iter().collect::<BTreeMap<_, _>>(),
            detach,
        };
        self.ask.ask(async |client| {
            let mut events = client.post_lines::<RunEvent>("/v1/run", &request).await?;
            let mut dyno = String::new();
            while let Some(event) = events.next().await? {
                match event {
                    RunEvent::Dyno(name) if detach => {
                        out::print(&format!("{name}\n"))?;
                        out::note(format_args!("{name} runs; busbar logs -d {name} -t shows what it says"));
                        return Ok(());
                    }
                    RunEvent::Dyno(name) => dyno = name,
                    RunEvent::Line(line) if line.source == "app" => out::print(&format!("{}\n", line.text))?,
                    RunEvent::Line(line) if line.text.starts_with("Error ") => out::note(line.text),
                    RunEvent::Line(_) => {}
                    RunEvent::Exit(exit) => return ended(&dyno, exit),
                }
            }
            Err(Failure::Usage(format!("{dyno} is gone with the app")))
        })
    }
}

fn ended(dyno: &str, exit: Option<Exit>) -> Result<(), Failure> {
    match exit {
        Some(Exit::Code(0)) => Ok(()),
        Some(Exit::Code(code)) => Err(Failure::Status(u8::try_from(code).unwrap_or(1))),
        Some(Exit::Signal(signal)) => Err(Failure::Status(u8::try_from(128 + signal).unwrap_or(1))),
        None => Err(Failure::Usage(format!("{dyno} could not be started; busbar logs -d {dyno} says why"))),
    }
}

/// One word is a line for the shell, as it is; several are the words of a command, each as it is.
fn line(words: &[String]) -> String {
    match words {
        [one] => one.clone(),
        words => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    }
}

fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:=,@%+".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words_and_one_word_is_a_line() {
        let said = |words: &[&str]| line(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(said(&["rake db:migrate && echo done"]), "rake db:migrate && echo done");
        assert_eq!(
            said(&["echo", "two words", "it's", "", "$HOME"]),
            r"echo 'two words' 'it'\''s' '' '$HOME'"
        );
    }

    #[test]
    fn a_variable_has_a_name_and_a_value() {
        assert_eq!(variable("A_1=b=c"), Ok(("A_1".to_owned(), "b=c".to_owned())));
        for wrong in ["A", "=b", "1A=b", "A-B=c"] {
            assert!(variable(wrong).is_err(), "{wrong}");
        }
    }
}
