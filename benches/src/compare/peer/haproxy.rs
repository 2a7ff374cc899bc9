//! HAProxy, as one thread. Its buffers are twice the default: downloads cost it half as much then, and
//! with more, uploads cost it more.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
};

use super::{Kind, Told, cannot};
use crate::{
    compare::stage::{HOST, Stage},
    process::child::Child,
};

pub(super) static HAPROXY: Kind = Kind {
    name: "haproxy",
    install: "apt-get install haproxy",
    program: Some(("haproxy", "-v")),
    beside: false,
    cannot: cannot::like_all,
    tell,
    has_log: true,
    change: Some(change),
};

fn tell(stage: &Stage) -> io::Result<Told> {
    let file = stage.write("haproxy.cfg", &configuration(stage))?;
    Ok(Told { arguments: vec!["-q".into(), "-f".into(), file.into()], ..Told::default() })
}

/// Moves the first server to another port and back.
fn change(stage: &Stage, _: &Child, number: u64) -> io::Result<()> {
    let [first, second, ..] = stage.dynos.as_slice() else {
        return Err(io::Error::other("there is one dyno only"));
    };
    let to: &SocketAddr = if number.is_multiple_of(2) { second } else { first };
    let mut socket = UnixStream::connect(stage.folder.join("haproxy.sock"))?;
    writeln!(socket, "set server dynos/dyno1 addr {} port {}", to.ip(), to.port())?;
    let mut said = String::new();
    socket.read_to_string(&mut said)?;
    if said.contains("changed") { Ok(()) } else { Err(io::Error::other(said)) }
}

fn configuration(stage: &Stage) -> String {
    let tls = stage.tls.as_ref().map_or_else(String::new, |files| {
        format!(" ssl crt {} alpn h2,http/1.1 ssl-min-ver TLSv1.3 curves X25519", files.both.display())
    });
    let (target, log) = match stage.access_log {
        false => ("", ""),
        true => ("log stdout format raw local0 info", "log global\n  option httplog"),
    };
    let queue = stage.queue_at.map_or_else(String::new, |at| format!(" maxconn {at}"));
    format!(
        r#"global
  nbthread 1
  maxconn 9900
  tune.bufsize 32768
  stats socket {folder}/haproxy.sock level admin
  {target}
defaults
  mode http
  {log}
  timeout connect 5s
  timeout client 75s
  timeout server 75s
  timeout queue 75s
  option http-keep-alive
  http-reuse always
frontend clients
  bind {listen}{tls}
  option forwardfor
  unique-id-format %{{+X}}o\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid
  http-request set-header X-Request-Id %[unique-id]
  http-request add-header Via "1.1 haproxy"
  use_backend dynos if {{ hdr(host),field(1,:) -i {HOST} }}
  default_backend nobody
backend dynos
  balance leastconn
{dynos}backend nobody
  http-request deny deny_status 404
"#,
        folder = stage.folder.display(),
        listen = stage.listen,
        dynos = stage.each_dyno(|number, dyno| format!("  server dyno{number} {dyno}{queue}\n")),
    )
}
