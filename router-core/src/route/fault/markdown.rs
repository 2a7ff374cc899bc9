//! The page `docs/errors.md`, printed from the faults.

use std::fmt::Write as _;

use super::Fault;

/// The page `docs/errors.md`.
pub fn errors_markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str(
        "\n| code | desc | status | at | who | what happened | what to do |\n|---|---|---|---|---|---|---|\n",
    );
    for fault in Fault::ALL.into_iter().filter(|fault| fault.facts().code.is_some()) {
        let facts = fault.facts();
        let code = facts.code.map_or("", |code| code.as_str());
        row(&mut page, fault, &[code, &described(fault)]);
    }
    page.push_str(UNCODED);
    page.push_str(
        "\n| cause | status | at | who | what happened | what to do |\n|---|---|---|---|---|---|\n",
    );
    for fault in Fault::ALL.into_iter().filter(|fault| fault.facts().code.is_none()) {
        row(&mut page, fault, &[&described(fault)]);
    }
    page
}

const INTRODUCTION: &str = "\
# Errors

When Busbar answers in place of a dyno, or breaks off a request, the router's log line says why, with the code and the
words Heroku uses. A client sees the same code and the request id on the page, or in a JSON body if it sent
`Accept: application/json`. This page is printed from the code: `cargo run -p router-core --example print_errors`.

*who* is whose doing it is: the client's, one dyno's, the app's as a whole, or the router's. Names in `code type` are
settings of the app (`Routing`). A status is what the client gets if the answer had not begun yet; if it had, the
connection is cut and only the log shows the code. 499 is only logged.
";

const UNCODED: &str = "
## Without a code

Heroku shows no code for these: the request never reached an app, so no app's log could show it. Busbar logs them as
`at=warning` with `desc` and `cause`.
";

/// `Request Error: bad chunk`; without a code only the cause, the heading says the rest.
fn described(fault: Fault) -> String {
    let facts = fault.facts();
    match (facts.code, facts.cause) {
        (None, Some(cause)) => cause.to_owned(),
        (Some(_), Some(cause)) => format!("{}: {cause}", facts.desc),
        (_, None) => facts.desc.to_owned(),
    }
}

fn row(page: &mut String, fault: Fault, first: &[&str]) {
    for cell in first {
        let _ = write!(page, "| {cell} ");
    }
    let (facts, operator) = (fault.facts(), fault.operator());
    let (status, at, who) = (facts.status, facts.at.as_str(), facts.blame.as_str());
    let _ = writeln!(page, "| {status} | {at} | {who} | {} | {} |", operator.happened, operator.todo);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_errors_md_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
        let written = std::fs::read_to_string(path).unwrap();
        assert!(
            written == errors_markdown(),
            "run: cargo run -p router-core --example print_errors > docs/errors.md"
        );
    }
}
