//! A real browser without a screen, led over its DevTools protocol.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use futures_util::{SinkExt as _, StreamExt as _};
use it::Wire;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use crate::wait::{PATIENCE, Said};

/// A browser with one page; it ends when this is dropped.
pub(crate) struct Chromium {
    child: Child,
    page: WebSocketStream<TcpStream>,
    number: u64,
}

impl Chromium {
    /// Starts one whose home is this directory.
    pub(crate) async fn start(home: &Path) -> Self {
        let mut command = Command::new("chromium");
        command.env("HOME", home).env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
        command.arg(format!("--user-data-dir={}", home.join("profile").display()));
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
        ]);
        command.args(["--no-first-run", "--disable-background-networking", "--disable-component-update"]);
        command.args([
            "--disable-sync",
            "--no-proxy-server",
            "--window-size=900,760",
            "--remote-debugging-port=0",
        ]);
        command.arg("about:blank").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("chromium can be run");
        let said = Said::listen(child.stderr.take().expect("it is piped"));
        let at = said.find("a port for DevTools", |line| {
            let (_, rest) = line.split_once("DevTools listening on ws://")?;
            Some(rest.split_once('/')?.0.to_owned())
        });
        let mut wire = Wire::connect(at.parse().expect("an address"));
        wire.send(format!("GET /json/list HTTP/1.1\r\nHost: {at}\r\n\r\n"));
        let list: Vec<Value> = serde_json::from_str(&wire.response().text()).expect("a list of pages");
        let page = list.iter().find(|target| target["type"] == "page").expect("a page");
        let url = page["webSocketDebuggerUrl"].as_str().expect("its address");
        let tcp = TcpStream::connect(at).await.expect("it listens");
        let (page, _) = tokio_tungstenite::client_async(url, tcp).await.expect("a WebSocket");
        let mut chromium = Self { child, page, number: 0 };
        chromium.call("Page.enable", json!({})).await;
        chromium
    }

    /// What came of a call.
    async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let number = self.number;
        let call = json!({ "id": number, "method": method, "params": parameters }).to_string();
        self.page.send(Message::text(call)).await.expect("it is there");
        self.next(|message| (message["id"] == number).then(|| message["result"].clone())).await
    }

    async fn next(&mut self, find: impl Fn(&Value) -> Option<Value>) -> Value {
        loop {
            let message =
                timeout(PATIENCE, self.page.next()).await.expect("in time").expect("more").expect("whole");
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text).expect("JSON");
            assert!(message.get("error").is_none(), "{message}");
            if let Some(found) = find(&message) {
                return found;
            }
        }
    }

    /// Opens a page; what was wrong, if it cannot be opened.
    pub(crate) async fn open(&mut self, url: &str) -> Result<(), String> {
        let opened = self.call("Page.navigate", json!({ "url": url })).await;
        if let Some(error) = opened["errorText"].as_str() {
            return Err(error.to_owned());
        }
        Ok(())
    }

    /// What the page has written into this attribute of its root, as soon as it is there. `None`: its script seems to be
    /// missing, for it has written nothing for ten seconds.
    pub(crate) async fn written(&mut self, attribute: &str) -> Option<String> {
        let expression = format!(
            "new Promise((resolve) => {{ const look = (times) => {{ const text = document.documentElement?.dataset.{attribute}; \
             text || times == 0 ? resolve(text ?? null) : setTimeout(look, 10, times - 1); }}; look(1000); }})"
        );
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let written = self.call("Runtime.evaluate", parameters).await;
        let value = written["result"].get("value").unwrap_or_else(|| panic!("{written}"));
        value.as_str().map(str::to_owned)
    }

    /// A picture of the page (PNG, in base64).
    pub(crate) async fn picture(&mut self) -> String {
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png" })).await;
        picture["data"].as_str().expect("a picture").to_owned()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Its children are in its group, and nobody else is.
        let _gone = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _gone = self.child.wait();
    }
}

/// Whoever has this home trusts this authority.
pub(crate) fn trust(home: &Path, authority: &Path) {
    let database = home.join(".pki/nssdb");
    fs::create_dir_all(&database).expect("it can be made");
    let certutil = |arguments: &[&str]| {
        let mut command = Command::new("certutil");
        command.arg("-d").arg(format!("sql:{}", database.display())).args(arguments);
        let output = command.output().expect("certutil can be run");
        assert!(output.status.success(), "{output:?}");
    };
    certutil(&["-N", "--empty-password"]);
    certutil(&["-A", "-t", "C,,", "-n", "busbar", "-i", &authority.display().to_string()]);
}
