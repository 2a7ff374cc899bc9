//! Busbar: `busbar router`. It lets as many requests in as the others do, who have no such limit.

use std::io;

use rustix::process::Signal;

use super::{Kind, Told, cannot};
use crate::{
    compare::stage::{HOST, OTHER_HOST, Stage, TlsFiles},
    process::child::Child,
};

pub(super) static BUSBAR: Kind = Kind {
    name: "busbar",
    install: "cargo build --release -p router-bin",
    program: Some(("busbar", "--version")),
    beside: true,
    cannot: cannot::like_all,
    tell,
    has_log: true,
    change: Some(change),
};

fn tell(stage: &Stage) -> io::Result<Told> {
    let file = stage.write("busbar.toml", &configuration(stage, None))?;
    Ok(Told { arguments: vec!["router".into(), "--config".into(), file.into()], ..Told::default() })
}

/// Gives the app one more domain, another one each time.
fn change(stage: &Stage, busbar: &Child, number: u64) -> io::Result<()> {
    let next = stage.write("busbar.next", &configuration(stage, Some(number)))?;
    std::fs::rename(next, stage.folder.join("busbar.toml"))?;
    busbar.signal(Signal::HUP)
}

fn configuration(stage: &Stage, change: Option<u64>) -> String {
    let dynos: Vec<String> = stage.dynos.iter().map(|dyno| format!("\"{dyno}\"")).collect();
    let more = change.map_or_else(String::new, |number| format!(", \"change-{number}.app.test\""));
    let log = if stage.access_log { stage.path("access.log") } else { "off".into() };
    let queue = stage.queue_at.map_or_else(String::new, |at| format!("concurrency_per_dyno = {at}"));
    let (listen, tls) = match &stage.tls {
        None => (format!("listen = [\"{}\"]", stage.listen), String::new()),
        Some(files) => (String::new(), secured(stage, files)),
    };
    format!(
        r#"{listen}
workers = 1
drain_timeout = "1s"

[limits]
connections = 18000

[log]
access = "{log}"

[admin]
listen = "off"
{tls}
[[app]]
name = "app"
domains = ["{HOST}"{more}]
dynos = [{dynos}]

[app.routing]
balance = "{balance}"
in_flight_per_dyno = 1000
{queue}

[[app]]
name = "other"
domains = ["{OTHER_HOST}"]
dynos = ["127.0.0.1:9"]
"#,
        dynos = dynos.join(", "),
        balance = stage.balance,
    )
}

/// TLS 1.3 only, as all others are told to.
fn secured(stage: &Stage, files: &TlsFiles) -> String {
    format!(
        r#"
[[listener]]
address = "{}"
tls = "modern"

[[certificate]]
chain = "{}"
key = "{}"
default = true
"#,
        stage.listen,
        files.certificate.display(),
        files.key.display()
    )
}
