//! Dynos that speak gRPC.

use std::{
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
};

/// A process that speaks gRPC; it is killed when this is dropped.
pub(super) struct GrpcDyno {
    process: Child,
    pub(super) address: SocketAddr,
}

impl GrpcDyno {
    /// One that speaks HTTP/2 in the clear.
    pub(super) fn start(python: &Path, name: &str) -> Self {
        Self::run(python, name, &[])
    }

    /// One that speaks it over TLS, with this key and this chain.
    pub(super) fn secure(python: &Path, name: &str, files: [&Path; 2]) -> Self {
        Self::run(python, name, &files)
    }

    fn run(python: &Path, name: &str, files: &[&Path]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/grpc/server.py");
        let mut process = Command::new(python)
            .arg(script)
            .arg(name)
            .args(files)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python was found");
        let mut port = String::new();
        let said = process.stdout.as_mut().expect("it is piped");
        BufReader::new(said).read_line(&mut port).expect("it says its port");
        let port = port.trim().parse().expect("a port");
        Self { process, address: (Ipv4Addr::LOCALHOST, port).into() }
    }
}

impl Drop for GrpcDyno {
    fn drop(&mut self) {
        let _it_may_have_ended = self.process.kill();
        let _ended = self.process.wait();
    }
}
