//! `busbar logs`

use super::ask::Ask;
use crate::{failure::Failure, out, say};

/// Show what the dynos, the router and the runtime say
#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    /// How many lines, at most 1500
    #[arg(short, long = "num", value_name = "N", default_value_t = 100)]
    num: usize,
    /// Go on with what is said from now on, until Ctrl-C
    #[arg(short, long)]
    tail: bool,
    /// Only this dyno, like web.1, or process type, like web; or router
    #[arg(short, long, value_name = "DYNO", value_parser = speaker)]
    dyno: Option<String>,
    #[command(flatten)]
    ask: Ask,
}

/// What may stand in a query without being escaped: letters, digits, `.`, `-` and `_`. All names are of these.
fn speaker(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    let good = !text.is_empty() && text.bytes().all(allowed);
    good.then(|| text.to_owned())
        .ok_or_else(|| "write a dyno like web.1, a process type like web, or router".into())
}

impl Logs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let dyno = self.dyno.map(|dyno| format!("&dyno={dyno}")).unwrap_or_default();
        let path = format!("/v1/logs?n={}&tail={}{dyno}", self.num, self.tail);
        self.ask.ask(async |client| {
            let mut lines = client.lines(&path).await?;
            while let Some(line) = lines.next().await? {
                out::print(&format!("{}\n", say::log_line::heroku(&line)))?;
            }
            Ok(())
        })
    }
}
