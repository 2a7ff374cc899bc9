//! nginx, as one worker. Its buffers are larger than by default, with which large bodies cost it twice as much.

use std::io;

use super::{Kind, Told, cannot};
use crate::compare::stage::{HOST, OTHER_HOST, Stage};

pub(super) static NGINX: Kind = Kind {
    name: "nginx",
    install: "apt-get install nginx",
    program: Some(("nginx", "-v")),
    beside: false,
    cannot: cannot::like_most,
    tell,
    has_log: true,
    change: None,
};

fn tell(stage: &Stage) -> io::Result<Told> {
    let file = stage.write("nginx.conf", &configuration(stage))?;
    let arguments =
        ["-e".into(), "stderr".into(), "-p".into(), stage.folder.clone().into(), "-c".into(), file.into()];
    Ok(Told { arguments: arguments.into(), ..Told::default() })
}

fn configuration(stage: &Stage) -> String {
    let log = if stage.access_log { format!("{} router", stage.path("access.log")) } else { "off".into() };
    let (bind, tls) = match &stage.tls {
        None => (String::new(), String::new()),
        Some(files) => (
            " ssl http2".to_owned(),
            format!(
                "ssl_certificate {};\n    ssl_certificate_key {};\n    ssl_protocols TLSv1.3;\n    ssl_ecdh_curve X25519;",
                files.certificate.display(),
                files.key.display()
            ),
        ),
    };
    let upgrade = match stage.is_websocket {
        false => "proxy_set_header Connection \"\";",
        true => "proxy_set_header Connection upgrade;\n      proxy_set_header Upgrade $http_upgrade;",
    };
    format!(
        r#"daemon off;
worker_processes 1;
error_log stderr crit;
pid {folder}/nginx.pid;
events {{
  worker_connections 19000;
}}
http {{
  log_format router '$time_iso8601 method=$request_method path="$request_uri" host=$host request_id=$request_id '
    'fwd="$proxy_add_x_forwarded_for" dyno=$upstream_addr connect=$upstream_connect_time '
    'service=$upstream_response_time status=$status bytes=$bytes_sent';
  access_log {log};
  keepalive_requests 1000000000;
  client_max_body_size 0;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  tcp_nodelay on;
  upstream dynos {{
    least_conn;
{dynos}    keepalive 1024;
    keepalive_requests 1000000000;
  }}
  server {{
    listen {listen}{bind};
    server_name {OTHER_HOST};
    {tls}
    return 404;
  }}
  server {{
    listen {listen}{bind};
    server_name {HOST};
    {tls}
    location / {{
      proxy_pass http://dynos;
      proxy_http_version 1.1;
      {upgrade}
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Request-Id $request_id;
      proxy_set_header Via "1.1 nginx";
      proxy_request_buffering off;
      client_body_buffer_size 64k;
      proxy_buffer_size 16k;
      proxy_buffers 16 16k;
      proxy_max_temp_file_size 0;
    }}
  }}
}}
"#,
        folder = stage.folder.display(),
        dynos = stage.each_dyno(|_, dyno| format!("    server {dyno};\n")),
        listen = stage.listen,
    )
}
