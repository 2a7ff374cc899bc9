//! aioquic agrees: a client of HTTP/3 by somebody else.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use it::{App, Fake, Wire, router::HOST};

use super::client::stage;

const SCRIPT: &str = r#"
import asyncio, ssl, sys
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import StreamReset

class Client(QuicConnectionProtocol):
    def __init__(self, *a, **k):
        super().__init__(*a, **k)
        self.h3 = H3Connection(self._quic)
        self.waiting = {}
    def quic_event_received(self, event):
        if isinstance(event, StreamReset) and event.stream_id in self.waiting:
            self.waiting[event.stream_id][2].set_result("reset")
        for e in self.h3.handle_event(event):
            w = self.waiting.get(e.stream_id)
            if w is None or w[2].done():
                continue
            if isinstance(e, HeadersReceived):
                w[0].update(dict(e.headers))
            elif isinstance(e, DataReceived):
                w[1] += e.data
            if getattr(e, "stream_ended", False):
                w[2].set_result((int(w[0][b":status"]), bytes(w[1])))
    async def ask(self, headers, body=None):
        stream = self._quic.get_next_available_stream_id()
        self.waiting[stream] = [{}, bytearray(), asyncio.get_running_loop().create_future()]
        self.h3.send_headers(stream, headers, end_stream=body is None)
        if body is not None:
            self.h3.send_data(stream, body, end_stream=True)
        self.transmit()
        return await asyncio.wait_for(self.waiting[stream][2], 20)

def head(method, path, *more):
    return [(b":method", method), (b":scheme", b"https"), (b":authority", b"app.test"), (b":path", path), *more]

async def main(port, ca):
    conf = QuicConfiguration(is_client=True, alpn_protocols=["h3"], server_name="app.test")
    conf.load_verify_locations(ca)
    async with connect("127.0.0.1", port, configuration=conf, create_protocol=Client) as c:
        assert await c.ask(head(b"GET", b"/")) == (200, b"GET 0")
        all = await asyncio.gather(*(c.ask(head(b"GET", b"/%d" % i)) for i in range(50)))
        assert all == [(200, b"GET 0")] * 50, all
        body = b"x" * 200000
        assert await c.ask(head(b"POST", b"/"), body) == (200, b"POST 200000")
        # Malformed: what HTTP/1.1 would read as another request, or what belongs to a connection.
        for bad in [(b"x-a", b"1\r\nx-b: 2"), (b"transfer-encoding", b"chunked"), (b"connection", b"close"), (b"X-Upper", b"1")]:
            got = await c.ask(head(b"GET", b"/", bad))
            assert got == "reset" or got[0] == 400, (bad, got)
        assert await c.ask(head(b"GET", b"/")) == (200, b"GET 0")
    print("agrees")
asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
"#;

/// A Python that has aioquic, installed here the first time; `None`, loudly, if it cannot be had.
fn python() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("aioquic");
    let python = folder.join("bin/python3");
    let has = |python: &Path| {
        Command::new(python).args(["-c", "import aioquic"]).output().is_ok_and(|done| done.status.success())
    };
    if !has(&python) {
        let _made = Command::new("python3").args(["-m", "venv"]).arg(&folder).output();
        let _installed = Command::new(&python).args(["-m", "pip", "install", "-q", "aioquic"]).output();
    }
    if has(&python) {
        return Some(python);
    }
    let _nobody_reads_it = writeln!(std::io::stderr(), "SKIPPED aioquic_agrees: aioquic cannot be had");
    None
}

#[test]
fn aioquic_agrees() {
    let Some(python) = python() else { return };
    let dyno = Fake::new(|wire: &mut Wire| {
        while wire.has_more() {
            let request = wire.request();
            assert!(request.get("x-b").is_none() && request.get("Host") == Some(HOST));
            let text = format!("{} {}", request.method(), request.body.len());
            wire.try_send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()));
        }
    });
    let stage = stage(App::new([dyno.address]), |_| {});
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, &stage.pem).expect("it can be written");
    let port = stage.router.address.port().to_string();
    let output: Output =
        Command::new(python).args(["-c", SCRIPT, &port]).arg(&ca).output().expect("it was found");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.trim_end().ends_with("agrees"), "{out}\n{err}");
}
