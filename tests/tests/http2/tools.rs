//! Real clients agree: curl, h2load, Node and Python. One that cannot be had is skipped, and that is said.

use std::{fs, process::Command};

use it::{App, Fake, Wire, filler};
use router_core::server::ServerOptions;

use super::client::Front;
use crate::clients::{ran, said};

/// A dyno that sends back what it gets; `/chunked` answers in chunks, with a trailer.
fn dyno() -> Fake {
    Fake::new(|wire: &mut Wire| {
        while wire.has_more() {
            let request = wire.request();
            let body = if request.method() == "HEAD" { &[][..] } else { &request.body };
            wire.try_send(match request.target() {
                "/chunked" => {
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n".to_vec()
                }
                _ => [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len()).as_bytes(), body]
                    .concat(),
            });
        }
    })
}

/// Where a tool finds the router, and the file of the authority it is to trust.
struct Place {
    front: Front,
    _dyno: Fake,
    ca: tempfile::NamedTempFile,
}

impl Place {
    fn both() -> [Self; 2] {
        let many = |options: &mut ServerOptions| options.http2.streams = 128;
        [false, true].map(|tls| {
            let dyno = dyno();
            let app = App::new([dyno.address]).routed(|routing| routing.in_flight_per_dyno = 10_000);
            let front = if tls { Front::tls_with(app, many) } else { Front::clear_with(app, many) };
            let ca = tempfile::NamedTempFile::new().expect("a file");
            fs::write(ca.path(), front.authority().unwrap_or_default()).expect("it can be written");
            Self { front, _dyno: dyno, ca }
        })
    }

    fn port(&self) -> String {
        self.front.router.address.port().to_string()
    }

    fn url(&self, target: &str) -> String {
        format!("{}://app.test:{}{target}", self.front.scheme(), self.port())
    }

    fn ca(&self) -> &str {
        self.ca.path().to_str().expect("a path")
    }
}

#[test]
fn curl_agrees_over_http2() {
    let body = filler(300_000);
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), &body).expect("it can be written");
    let upload = format!("@{}", file.path().display());
    for place in Place::both() {
        let curl = |target: &str, arguments: &[&str]| {
            let http2 = if place.front.scheme() == "https" { "--http2" } else { "--http2-prior-knowledge" };
            let resolve = format!("app.test:{}:127.0.0.1", place.port());
            let mut curl = Command::new("curl");
            curl.args(["-sS", http2, "--max-time", "20", "--resolve", &resolve, "--cacert", place.ca()]);
            let output = ran(curl.args(arguments).arg(place.url(target)))?;
            assert!(output.status.success(), "{output:?}");
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let Some(version) = curl("/", &["-d", "hi", "-w", " %{http_version} %{http_code}"]) else { return };
        assert_eq!(version, "hi 2 200");
        assert!(curl("/", &["--data-binary", &upload]).is_some_and(|echoed| echoed.as_bytes() == body));
        let expecting = ["-H", "Expect: 100-continue", "--data-binary", &upload];
        assert!(curl("/", &expecting).is_some_and(|echoed| echoed.as_bytes() == body));
        assert!(
            curl("/", &["-T", file.path().to_str().expect("a path")])
                .is_some_and(|echoed| echoed.as_bytes() == body)
        );
        assert_eq!(curl("/chunked", &[]).as_deref(), Some("hello"));
        assert!(curl("/", &["-I"]).is_some_and(|head| head.starts_with("HTTP/2 200")));
    }
}

#[test]
fn h2load_sees_no_error_with_many_streams() {
    for place in Place::both() {
        let mut h2load = Command::new("h2load");
        let url = format!("{}://127.0.0.1:{}/", place.front.scheme(), place.port());
        h2load.args(["-n", "5000", "-c", "10", "-m", "100", "-H", ":authority: app.test", &url]);
        let Some(output) = ran(&mut h2load) else { return };
        let report = String::from_utf8_lossy(&output.stdout);
        let expected = "5000 succeeded, 0 failed, 0 errored, 0 timeout";
        assert!(output.status.success() && report.contains(expected), "{report}");
        assert!(report.contains("status codes: 5000 2xx"), "{report}");
    }
}

#[test]
fn nodes_http2_agrees() {
    const SCRIPT: &str = r#"
const http2 = require("http2"), fs = require("fs"), assert = require("assert");
const [url, ca] = process.argv.slice(1);
const u = new URL(url);
const client = http2.connect(url, { ca: fs.readFileSync(ca), lookup: (h, o, cb) => cb(null, o.all ? [{ address: "127.0.0.1", family: 4 }] : "127.0.0.1", 4) });
client.on("error", (e) => { console.error(e); process.exit(1); });
function ask(headers, body) {
  return new Promise((resolve, reject) => {
    const s = client.request(headers);
    let head, data = [], trailers = {};
    s.on("response", (h) => (head = h));
    s.on("trailers", (t) => (trailers = t));
    s.on("data", (d) => data.push(d));
    s.on("end", () => resolve({ head, trailers, body: Buffer.concat(data) }));
    s.on("error", reject);
    if (headers.expect) s.on("continue", () => s.end(body)); else s.end(body);
  });
}
(async () => {
  const big = Buffer.alloc(300000, "abcdefghij");
  const all = [];
  for (let n = 0; n < 50; n++) all.push(ask({ ":method": "POST", ":path": "/" }, big));
  for (const r of await Promise.all(all)) { assert.equal(r.head[":status"], 200); assert.deepEqual(r.body, big); }
  const later = await ask({ ":method": "PUT", ":path": "/", expect: "100-continue", "content-length": 5 }, "later");
  assert.equal(later.body.toString(), "later");
  const chunked = await ask({ ":path": "/chunked" });
  assert.equal(chunked.body.toString(), "hello");
  assert.equal(chunked.trailers["x-sum"], "5");
  assert.equal((await ask({ ":path": "/", ":authority": "unknown.test" })).head[":status"], u.protocol == "https:" ? 421 : 404);
  client.close(() => console.log("agrees"));
})().catch((e) => { console.error(e); process.exit(1); });
"#;
    for place in Place::both() {
        let Some(output) = ran(Command::new("node").args(["-e", SCRIPT, &place.url(""), place.ca()])) else {
            return;
        };
        said(&output, "agrees");
    }
}

#[test]
fn pythons_httpx_agrees() {
    const SCRIPT: &str = r#"
import httpx, ssl, sys
url, ca, tls = sys.argv[1:4]
context = ssl.create_default_context(cafile=ca) if tls == "https" else None
with httpx.Client(http2=True, http1=False, verify=context or False, timeout=20) as c:
    # The name is the test's own: it is asked for over the address.
    ask = lambda method, path, **more: c.request(method, url + path, headers={"Host": "app.test"},
                                                 extensions={"sni_hostname": "app.test"}, **more)
    body = bytes(range(256)) * 1000
    for _ in range(5):
        r = ask("POST", "/", content=body)
        assert (r.http_version, r.status_code, r.content) == ("HTTP/2", 200, body), r
        r = ask("PUT", "/", content=iter([b"one", b"two" * 5000]))
        assert r.content == b"one" + b"two" * 5000, r
        assert ask("GET", "/chunked").text == "hello"
        assert ask("HEAD", "/").content == b""
print("agrees")
"#;
    let directory = tempfile::tempdir().expect("a directory");
    let Some(python) = python_with_httpx(directory.path()) else { return };
    for place in Place::both() {
        let url = format!("{}://127.0.0.1:{}", place.front.scheme(), place.port());
        let mut command = Command::new(&python);
        let Some(output) = ran(command.args(["-c", SCRIPT, &url, place.ca(), place.front.scheme()])) else {
            return;
        };
        said(&output, "agrees");
    }
}

/// A Python with httpx and h2: the machine's, or one made for the test.
fn python_with_httpx(directory: &std::path::Path) -> Option<std::path::PathBuf> {
    let has = |python: &std::path::Path| {
        let output = ran(Command::new(python).args(["-c", "import httpx, h2"]));
        output.is_some_and(|output| output.status.success())
    };
    let usual = std::path::PathBuf::from("python3");
    if has(&usual) {
        return Some(usual);
    }
    let made = ran(Command::new("python3").args(["-m", "venv"]).arg(directory))?;
    let python = directory.join("bin/python");
    if made.status.success() {
        ran(Command::new(&python).args(["-m", "pip", "install", "-q", "httpx[http2]"]))?;
    }
    let there = has(&python);
    if !there {
        crate::clients::skipped("httpx[http2] cannot be installed");
    }
    there.then_some(python)
}
