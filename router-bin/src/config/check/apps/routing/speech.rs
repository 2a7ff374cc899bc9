//! What dynos speak, and how they show who they are: `dyno_protocol`, `dyno_ca`, `dyno_server_name`, `dyno_verify`.

use std::{fs, io::Read as _, path::Path};

use busbar_registry::{DynoProtocol, DynoTls};
use router_core::tls::outward;

use super::super::super::super::{complaint::Complaints, raw::RawRouting, table::At};

/// A file larger than this is no list of certificates.
const LARGEST_FILE: u64 = 1 << 20;

/// What dynos speak.
pub(super) struct Speech {
    pub(super) protocol: DynoProtocol,
    pub(super) tls: Option<Box<DynoTls>>,
}

/// Takes its keys out of `raw`.
pub(super) fn check(raw: &mut RawRouting, complaints: &mut Complaints<'_>) -> Speech {
    let written = raw.dyno_protocol.take();
    let protocol =
        written.as_ref().map_or_else(DynoProtocol::default, |written| protocol(written, complaints));
    if !protocol.is_tls() {
        let idle = [
            ("dyno_ca", raw.dyno_ca.as_ref().map(|key| &key.at)),
            ("dyno_server_name", raw.dyno_server_name.as_ref().map(|key| &key.at)),
            ("dyno_verify", raw.dyno_verify.as_ref().map(|key| &key.at)),
        ];
        for (key, at) in idle {
            let said = format!(
                "`{key}` says nothing about dynos in the clear; write dyno_protocol = \"h2\", or remove it"
            );
            at.into_iter().for_each(|at| complaints.add(at, said.clone()));
        }
    }
    let verify = raw.dyno_verify.take().is_none_or(|written| written.value);
    if let Some(written) = written.filter(|_| protocol.is_tls() && verify && raw.dyno_ca.is_none()) {
        complaints.add(
            &written.at,
            "nothing says which certificates the dynos may show; write `dyno_ca`, the file of who signed them or of \
             themselves (or `dyno_verify = false`, and whoever answers at a dyno's address is believed)",
        );
    }
    let ca = raw.dyno_ca.take().and_then(|written| authority(&written, complaints));
    let server_name = raw.dyno_server_name.take().and_then(|written| name(written, complaints));
    let tls = protocol.is_tls().then(|| Box::new(DynoTls { ca, server_name, verify }));
    Speech { protocol, tls }
}

fn protocol(written: &At<String>, complaints: &mut Complaints<'_>) -> DynoProtocol {
    match written.value.as_str() {
        "http1" => DynoProtocol::Http1,
        "h2c" => DynoProtocol::H2c,
        "h2" => DynoProtocol::H2,
        other => {
            let said = format!("there is no dyno_protocol {other:?}; write http1, h2c or h2 (over TLS)");
            complaints.add(&written.at, said);
            DynoProtocol::default()
        }
    }
}

/// The text of the file, which is relative to the configuration file.
fn authority(written: &At<String>, complaints: &mut Complaints<'_>) -> Option<String> {
    let file = complaints.folder().join(&written.value);
    let shown = file.display();
    let text = match read(&file) {
        Ok(text) if text.len() as u64 > LARGEST_FILE => {
            complaints.add(
                &written.at,
                format!("{shown} is larger than {LARGEST_FILE} bytes; name fewer authorities"),
            );
            return None;
        }
        Ok(text) => text,
        Err(error) => {
            complaints
                .add(&written.at, format!("{shown} cannot be read: {error}; check its path and permissions"));
            return None;
        }
    };
    if let Err(error) = outward::check(&text) {
        complaints.add(&written.at, format!("{shown} cannot be used as `dyno_ca`: {error}"));
        return None;
    }
    Some(text)
}

fn read(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    fs::File::open(file)?.take(LARGEST_FILE + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn name(written: At<String>, complaints: &mut Complaints<'_>) -> Option<String> {
    if outward::is_name(&written.value) {
        return Some(written.value);
    }
    let said = format!("`dyno_server_name` is {:?}; write a host name or an IP address", written.value);
    complaints.add(&written.at, said);
    None
}
