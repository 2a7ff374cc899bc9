//! `busbar run`

use std::collections::BTreeMap;

use dyno_runtime::{Exit, Size, WindowSize};

use super::ask::Ask;
use crate::{
    admin::api::{AttachRequest, RunRequest, Running, Term},
    admin_client::{AdminClient, CallError},
    attach::{
        operator::{Operator, terminals, window},
        wire::PROTOCOL,
    },
    failure::Failure,
    out,
};

/// Run a command in a dyno of its own, with the app's config vars and limits
///
/// Where standard input and standard output are terminals, the dyno has a terminal of its own, and what is typed goes there:
/// also Ctrl-C, which typed four times within a second ends this program. Otherwise standard input, output and error are
/// carried as they are. The exit status is that of the command; 128 and more for a signal. Whoever goes away hangs the
/// command up.
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
    /// It has no terminal, even where we have one
    #[arg(long, conflicts_with_all = ["detach", "tty"])]
    no_tty: bool,
    /// It has a terminal, even where we have none
    #[arg(long, conflicts_with = "detach")]
    tty: bool,
    #[command(flatten)]
    ask: Ask,
    /// The command; one word is a line for the shell
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Of a terminal that nobody sees.
const USUAL: WindowSize = WindowSize { rows: 24, columns: 80 };

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
        let attach = (!self.detach).then(|| self.attach());
        let raw = matches!(attach, Some(AttachRequest::Terminal { .. })) && terminals().0;
        let request = RunRequest {
            command: line(&self.command),
            size: self.size.map(Size::to_word),
            env: self.env.into_iter().collect::<BTreeMap<_, _>>(),
            attach,
        };
        self.ask.ask(async |client| match request.attach {
            None => detached(&client, &request).await,
            Some(_) => attached(&client, &request, raw).await,
        })
    }

    fn attach(&self) -> AttachRequest {
        let terminal = self.tty || (!self.no_tty && terminals() == (true, true));
        if !terminal {
            return AttachRequest::Pipes;
        }
        // One that is not plain is not passed on.
        let term = std::env::var("TERM").ok().and_then(|term| Term::try_from(term).ok());
        AttachRequest::Terminal { size: window().unwrap_or(USUAL), term }
    }
}

async fn detached(client: &AdminClient, request: &RunRequest) -> Result<(), Failure> {
    let Running { dyno } = client.post("/v1/run", request).await?;
    out::print(&format!("{dyno}\n"))?;
    out::note(format_args!("{dyno} runs; busbar logs -d {dyno} -t shows what it says"));
    Ok(())
}

async fn attached(client: &AdminClient, request: &RunRequest, raw: bool) -> Result<(), Failure> {
    let connection = client.upgrade("/v1/run", PROTOCOL, request).await?;
    let mut operator = Operator::new(connection, |why| CallError::Lost { why })?;
    let dyno = operator.dyno().await?;
    if raw {
        out::note(format_args!("{dyno} starts"));
    }
    match operator.attend(raw).await? {
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
