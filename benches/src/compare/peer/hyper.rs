//! The proxy "just use hyper", which is part of this program.

use std::io;

use super::{Kind, Told, cannot};
use crate::{
    compare::stage::{HOST, Stage},
    load::plan::Protocol,
};

pub(super) static HYPER: Kind = Kind {
    name: "hyper",
    install: "nothing: it is part of busbar-bench",
    program: Some(("busbar-bench", "--version")),
    beside: true,
    cannot: |scenario| match scenario.load.protocol {
        Protocol::WebSocket => Some("it does not tunnel WebSockets"),
        _ => cannot::queue(scenario),
    },
    tell,
    has_log: false,
    change: None,
};

fn tell(stage: &Stage) -> io::Result<Told> {
    let mut arguments: Vec<std::ffi::OsString> =
        vec!["hyper-proxy".into(), "--listen".into(), stage.listen.to_string().into()];
    arguments.extend(["--host".into(), HOST.into()]);
    for dyno in &stage.dynos {
        arguments.extend(["--dyno".into(), dyno.to_string().into()]);
    }
    if let Some(files) = &stage.tls {
        arguments.extend(["--certificate".into(), files.certificate.clone().into()]);
        arguments.extend(["--key".into(), files.key.clone().into()]);
    }
    Ok(Told { arguments, ..Told::default() })
}
