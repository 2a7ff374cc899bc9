//! Sozu, as one worker.

use std::io;

use super::{Kind, Told, cannot};
use crate::compare::stage::{HOST, Stage};

pub(super) static SOZU: Kind = Kind {
    name: "sozu",
    install: "apt-get install protobuf-compiler && cargo install sozu --locked",
    program: Some(("sozu", "--version")),
    beside: false,
    cannot: cannot::like_most,
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
