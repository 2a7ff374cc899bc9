//! Sozu, as one worker.

use std::io;

use super::{Kind, Told};
use crate::{
    compare::stage::{HOST, Stage},
    load::plan::Protocol,
};

pub(super) static SOZU: Kind = Kind {
    name: "sozu",
    install: "apt-get install protobuf-compiler && cargo install sozu --locked",
    program: Some(("sozu", "--version")),
    beside: false,
    cannot: |scenario| match (scenario.load.protocol, scenario.load.tls, scenario.dynos.queue_at) {
        (Protocol::Http2 { .. }, None, _) => Some("HTTP/2 without TLS is not measured"),
        (_, _, Some(_)) => Some("it has no queue in front of its servers"),
        _ => None,
    },
    tell,
    has_log: false,
    change: None,
};

fn tell(stage: &Stage) -> io::Result<Told> {
    let file = stage.write("sozu.toml", &configuration(stage))?;
    Ok(Told { arguments: vec!["start".into(), "-c".into(), file.into()], ..Told::default() })
}

fn configuration(stage: &Stage) -> String {
    let (protocol, tls) = match &stage.tls {
        None => ("http", String::new()),
        Some(files) => (
            "https",
            format!(
                ", certificate = \"{}\", key = \"{}\", certificate_chain = \"{}\"",
                files.certificate.display(),
                files.key.display(),
                files.certificate.display()
            ),
        ),
    };
    format!(
        r#"command_socket = "{folder}/sozu.sock"
saved_state = "{folder}/state.json"
log_level = "error"
log_target = "stderr"
worker_count = 1
worker_automatic_restart = false
max_connections = 9900
max_buffers = 10000
buffer_size = 16393
activate_listeners = true

[[listeners]]
protocol = "{protocol}"
address = "{listen}"

[clusters.app]
protocol = "http"
load_balancing = "LEAST_LOADED"
frontends = [{{ address = "{listen}", hostname = "{HOST}"{tls} }}]
backends = [
{dynos}]
"#,
        folder = stage.folder.display(),
        listen = stage.listen,
        dynos = stage.each_dyno(|number, dyno| {
            format!("  {{ address = \"{dyno}\", backend_id = \"dyno{number}\" }},\n")
        }),
    )
}
