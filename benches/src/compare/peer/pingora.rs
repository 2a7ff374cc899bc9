//! A small proxy built from pingora-proxy, in a package of its own: `benches/opponents/pingora`.

use std::io;

use super::{Kind, Told, cannot};
use crate::compare::stage::{HOST, Stage};

pub(super) static PINGORA: Kind = Kind {
    name: "pingora",
    install: "cargo install --path benches/opponents/pingora",
    program: Some(("pingora-opponent", "--version")),
    beside: false,
    cannot: cannot::like_most,
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
