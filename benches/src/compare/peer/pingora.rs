//! A small proxy built from pingora-proxy, in a package of its own: `benches/opponents/pingora`.

use std::io;

use super::{Kind, Told};
use crate::{
    compare::stage::{HOST, Stage},
    load::plan::Protocol,
};

pub(super) static PINGORA: Kind = Kind {
    name: "pingora",
    install: "cargo install --path benches/opponents/pingora",
    program: Some(("pingora-opponent", "--version")),
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
    let mut arguments: Vec<std::ffi::OsString> = vec![stage.listen.to_string().into(), HOST.into()];
    match &stage.tls {
        None => arguments.push("-".into()),
        Some(files) => arguments.extend([files.certificate.clone().into(), files.key.clone().into()]),
    }
    arguments.extend(stage.dynos.iter().map(|dyno| dyno.to_string().into()));
    Ok(Told { arguments, ..Told::default() })
}
