//! Real clients agree with the router: curl, Python, Node, Go, and the load generators wrk and h2load. One that is not
//! on this machine is skipped, and that is said.

use std::{
    fs,
    io::Write as _,
    process::{Command, Output},
    thread,
};

use it::{Fake, Message, Router, Wire, filler, router::HOST};

/// A dyno that sends back what it gets: `/range` serves ranges, `/chunked` answers in chunks, with a trailer.
fn dyno() -> Fake {
    Fake::new(|wire: &mut Wire| {
        while wire.has_more() {
            let request = wire.request();
            let answer = answer(&request);
            wire.try_send(answer);
        }
    })
}

fn answer(request: &Message) -> Vec<u8> {
    const TEXT: &str = "0123456789";
    let whole = |status: &str, fields: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
        let body = if request.method() == "HEAD" { b"" } else { body };
        [head.as_bytes(), body].concat()
    };
    match (request.target(), request.get("Range")) {
        ("/range", Some("bytes=2-5")) => {
            let fields = "Content-Range: bytes 2-5/10\r\n";
            whole("206 Partial Content", fields, TEXT.get(2..=5).expect("it is longer").as_bytes())
        }
        ("/range", _) => whole("200 OK", "Accept-Ranges: bytes\r\n", TEXT.as_bytes()),
        ("/chunked", _) => {
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n"
                .to_vec()
        }
        _ => whole("200 OK", &format!("X-Method: {}\r\n", request.method()), &request.body),
    }
}

/// A client that ran to its end; `None`, loudly, when it is not on this machine.
pub(crate) fn ran(command: &mut Command) -> Option<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.env("NO_PROXY", "*").env("no_proxy", "*").output();
    if output.is_err() {
        skipped(&format!("there is no {program}"));
    }
    output.ok()
}

/// Says that a test, or a part of it, does not run.
pub(crate) fn skipped(why: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let _nobody_reads_it = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// Fails unless the client ended well and said this last.
#[track_caller]
pub(crate) fn said(output: &Output, last: &str) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.trim_end().ends_with(last), "{}: {out}\n{err}", output.status);
}

/// What curl prints for this target.
fn curl(router: &Router, target: &str, arguments: &[&str]) -> Option<String> {
    let url = format!("http://{}{target}", router.address);
    let host = format!("Host: {HOST}");
    let mut command = Command::new("curl");
    let output =
        ran(command.args(["-sS", "--http1.1", "--max-time", "20", "-H", &host]).args(arguments).arg(url))?;
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn curl_agrees() {
    let (dyno, file) = (dyno(), tempfile::NamedTempFile::new().expect("a file"));
    let router = Router::to(dyno.address);
    let body = filler(300_000);
    fs::write(file.path(), &body).expect("it can be written");
    let upload = format!("@{}", file.path().display());
    let body = String::from_utf8(body).expect("it is text");

    // Two requests over one connection: curl says so.
    let again = format!("http://{}/again", router.address);
    let Some(twice) = curl(&router, "/", &["-w", "%{http_code} %{num_connects}\\n", &again]) else { return };
    assert_eq!(twice, "200 1\n200 0\n");

    let expecting = ["-H", "Expect: 100-continue", "--data-binary", &upload];
    assert!(curl(&router, "/", &expecting) == Some(body.clone()), "with Expect");
    let chunked = ["-H", "Transfer-Encoding: chunked", "--data-binary", &upload];
    assert!(curl(&router, "/", &chunked) == Some(body), "in chunks");
    let head = curl(&router, "/range", &["-I"]).expect("it ran before");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("Content-Length: 10\r\n"), "{head}");
    assert_eq!(curl(&router, "/range", &["-r", "2-5"]).as_deref(), Some("2345"));
    assert_eq!(curl(&router, "/chunked", &[]).as_deref(), Some("hello"));
    assert_eq!(curl(&router, "/", &["--http1.0", "--data", "old"]).as_deref(), Some("old"));
    // Asks to be upgraded to HTTP/2 in the clear, and is served without.
    assert_eq!(curl(&router, "/", &["--http2", "--data", "h2c"]).as_deref(), Some("h2c"));
}

#[test]
fn pythons_http_client_agrees() {
    const SCRIPT: &str = r#"
import http.client, sys
host, port = sys.argv[1].rsplit(":", 1)
c = http.client.HTTPConnection(host, int(port), timeout=20)
H = {"Host": "app.test"}
def ask(method, target, body=None, headers={}, **more):
    c.request(method, target, body=body, headers={**H, **headers}, **more)
    r = c.getresponse()
    return r.status, r.read(), r
body = bytes(range(256)) * 1000
first = None
for _ in range(3):
    assert ask("POST", "/", body)[:2] == (200, body)
    first = first or c.sock
    assert c.sock is first, "the connection was not kept"
    assert ask("PUT", "/", iter([b"one", b"two" * 5000]), encode_chunked=True,
               headers={"Transfer-Encoding": "chunked"})[:2] == (200, b"one" + b"two" * 5000)
    assert ask("GET", "/chunked")[:2] == (200, b"hello")
    status, data, r = ask("HEAD", "/range")
    assert (status, data, r.headers["Content-Length"]) == (200, b"", "10")
    assert ask("GET", "/range", headers={"Range": "bytes=2-5"})[:2] == (206, b"2345")
c.request("GET", "/", headers={"Host": "unknown.test"})
r = c.getresponse()
assert r.status == 404 and b"<" in r.read()
print("agrees")
"#;
    let dyno = dyno();
    let router = Router::to(dyno.address);
    let mut python = Command::new("python3");
    let Some(output) = ran(python.args(["-c", SCRIPT, &router.address.to_string()])) else { return };
    said(&output, "agrees");
}

#[test]
fn node_agrees() {
    const SCRIPT: &str = r#"
const http = require("http"), assert = require("assert");
const [host, port] = process.argv[1].split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
let sockets = new Set();
function ask(method, path, { body, chunks, headers = {} } = {}) {
  return new Promise((resolve, reject) => {
    const r = http.request({ host, port, agent, method, path, headers: { Host: "app.test", ...headers } }, (res) => {
      let data = [];
      res.on("data", (d) => data.push(d));
      res.on("end", () => resolve({ status: res.statusCode, body: Buffer.concat(data), res }));
      res.on("error", reject);
    });
    r.on("socket", (s) => sockets.add(s));
    r.on("error", reject);
    if (headers.Expect) r.on("continue", () => r.end(body));
    else if (chunks) { chunks.forEach((c) => r.write(c)); r.end(); }
    else r.end(body);
  });
}
(async () => {
  const big = Buffer.alloc(300000, "abcdefghij");
  for (let n = 0; n < 5; n++) {
    assert.deepEqual((await ask("POST", "/", { body: big, headers: { "Content-Length": big.length } })).body, big);
    assert.deepEqual((await ask("POST", "/", { chunks: [big, big] })).body, Buffer.concat([big, big]));
    const expected = await ask("PUT", "/", { body: "later", headers: { Expect: "100-continue", "Content-Length": 5 } });
    assert.equal(expected.body.toString(), "later");
    const chunked = await ask("GET", "/chunked");
    assert.equal(chunked.body.toString(), "hello");
    assert.equal(chunked.res.trailers["x-sum"], "5");
    const head = await ask("HEAD", "/range");
    assert.equal(head.res.headers["content-length"], "10");
    assert.equal((await ask("GET", "/range", { headers: { Range: "bytes=2-5" } })).status, 206);
  }
  assert.equal(sockets.size, 1, "the connection was not kept");
  console.log("agrees");
  agent.destroy();
})().catch((e) => { console.error(e); process.exit(1); });
"#;
    let dyno = dyno();
    let router = Router::to(dyno.address);
    let Some(output) = ran(Command::new("node").args(["-e", SCRIPT, &router.address.to_string()])) else {
        return;
    };
    said(&output, "agrees");
}

#[test]
fn gos_net_http_agrees() {
    const PROGRAM: &str = r#"package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
)

var fresh int

func ask(method, path string, body io.Reader, expect int, headers ...string) (string, *http.Response) {
	r, err := http.NewRequest(method, "http://"+os.Args[1]+path, body)
	check(err)
	r.Host = "app.test"
	for n := 0; n < len(headers); n += 2 {
		r.Header.Set(headers[n], headers[n+1])
	}
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		if !i.Reused {
			fresh++
		}
	}}
	res, err := http.DefaultClient.Do(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	check(err)
	data, err := io.ReadAll(res.Body)
	check(err)
	check(res.Body.Close())
	if res.StatusCode != expect {
		panic(res.Status)
	}
	return string(data), res
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func same(got, want string) {
	if got != want {
		panic(fmt.Sprintf("%.100q is not %.100q", got, want))
	}
}

func main() {
	big := strings.Repeat("abcdefghij", 30000)
	for n := 0; n < 5; n++ {
		got, _ := ask("POST", "/", bytes.NewReader([]byte(big)), 200)
		same(got, big)
		got, _ = ask("POST", "/", io.MultiReader(strings.NewReader(big), strings.NewReader(big)), 200)
		same(got, big+big)
		got, _ = ask("PUT", "/", strings.NewReader("later"), 200, "Expect", "100-continue")
		same(got, "later")
		got, res := ask("GET", "/chunked", nil, 200)
		same(got, "hello")
		same(res.Trailer.Get("X-Sum"), "5")
		got, res = ask("HEAD", "/range", nil, 200)
		same(got, "")
		same(res.Header.Get("Content-Length"), "10")
		got, _ = ask("GET", "/range", nil, 206, "Range", "bytes=2-5")
		same(got, "2345")
	}
	if fresh != 1 {
		panic(fmt.Sprintf("%d connections", fresh))
	}
	fmt.Println("agrees")
}
"#;
    let dyno = dyno();
    let router = Router::to(dyno.address);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("main.go");
    fs::write(&file, PROGRAM).expect("it can be written");
    let mut go = Command::new("go");
    go.current_dir(directory.path()).env("GOFLAGS", "").env("GOTOOLCHAIN", "local").env("GO111MODULE", "off");
    go.env("GOCACHE", directory.path().join("cache")).env("CGO_ENABLED", "0");
    let Some(output) = ran(go.arg("run").arg(&file).arg(router.address.to_string())) else { return };
    said(&output, "agrees");
}

#[test]
fn wrk_sees_no_error_over_many_connections() {
    let dyno = dyno();
    let router = Router::to(dyno.address);
    let (host, url) = (format!("Host: {HOST}"), format!("http://{}/range", router.address));
    let mut wrk = Command::new("wrk");
    let Some(output) = ran(wrk.args(["-t1", "-c16", "-d1s", "--timeout", "60s", "-H", &host, &url])) else {
        return;
    };
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && report.contains(" requests in "), "{output:?}");
    assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
}

#[test]
fn h2load_sees_no_error_with_requests_in_a_row() {
    let dyno = dyno();
    let router = Router::to(dyno.address);
    let (host, url) = (format!(":authority: {HOST}"), format!("http://{}/range", router.address));
    for in_a_row in ["1", "8"] {
        let mut h2load = Command::new("h2load");
        h2load.args(["--h1", "-n", "2000", "-c", "10", "-m", in_a_row, "-H", &host, &url]);
        let Some(output) = ran(&mut h2load) else { return };
        let report = String::from_utf8_lossy(&output.stdout);
        let expected = "2000 succeeded, 0 failed, 0 errored, 0 timeout";
        assert!(output.status.success() && report.contains(expected), "{report}");
        assert!(report.contains("status codes: 2000 2xx"), "{report}");
    }
}
