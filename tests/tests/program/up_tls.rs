//! `busbar up --tls`: a local authority that is made on the first run, and what curl and a browser make of it.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use serde_json::Value;

use crate::{
    busbar::{Busbar, Place, app},
    chromium::{Chromium, trust},
    tools,
    wait::skipped,
};

/// `busbar up --tls` for this app, its user's data beside it.
fn up(place: Place, directory: &str) -> Busbar {
    let (app, name) = (app(directory).display().to_string(), place.app.clone());
    let flags = ["up", &app, "--app", &name, "--listen", "127.0.0.1:0", "--tls", "--tls-port", "0"];
    let mut command = place.command(&flags);
    command.env("XDG_DATA_HOME", place.path("data"));
    Busbar::start(place, command)
}

fn encrypted(busbar: &Busbar) -> SocketAddr {
    busbar
        .err
        .find("an https address", |line| line.rsplit_once("https://")?.1.split(' ').next()?.parse().ok())
}

fn authority(busbar: &Busbar) -> PathBuf {
    busbar.place.path("data/busbar/local-ca/ca.pem")
}

#[test]
fn the_first_run_makes_an_authority_that_curl_can_trust_and_explains_it() {
    let busbar = up(Place::new(), "examples/hello");
    busbar.runs(&["web.1", "web.2", "worker.1"]);
    let (at, file, name) = (encrypted(&busbar), authority(&busbar), busbar.place.app.clone());
    let announced = busbar.err.line("https://");
    let port = at.port();
    assert_eq!(
        announced,
        format!("busbar: {name} is at https://{name}.localhost:{port} or https://{at} (Ctrl-C to stop)")
    );
    busbar.err.line(&format!(
        "busbar: made a certificate authority for this machine: {}; it can sign",
        file.display()
    ));
    busbar.err.line(&format!("browsers warn until they trust {}", file.display()));
    let mode = |file: &PathBuf| fs::metadata(file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file.with_file_name("ca.key")), 0o600);
    assert_eq!(mode(&file.parent().unwrap().to_owned()), 0o700);

    let curl = |url: &str, trusts: bool| {
        let mut curl = Command::new("curl");
        let host = url.trim_start_matches("https://").split(':').next().unwrap().to_owned();
        curl.args(["-sS", "--noproxy", "*", "--max-time", "20"]);
        if !host.starts_with(|first: char| first.is_ascii_digit()) {
            curl.args(["--resolve", &format!("{host}:{port}:127.0.0.1")]);
        }
        if trusts {
            curl.arg("--cacert").arg(&file);
        }
        let output = curl.arg(url).output().ok()?;
        Some((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    };
    for host in ["localhost", "127.0.0.1", &format!("{name}.localhost"), &format!("www.{name}.localhost")] {
        let Some((well, said)) = curl(&format!("https://{host}:{port}/"), true) else {
            return skipped("there is no curl");
        };
        assert!(well && said.starts_with("Hello from web."), "{host}: {said}");
    }
    assert!(!curl(&format!("https://localhost:{port}/"), false).unwrap().0, "nobody else trusts it");
    assert!(!curl(&format!("https://shop.example:{port}/"), true).unwrap().0, "it is for this machine only");
    assert_eq!(busbar.get("localhost", "/").0, 200, "plain HTTP is served, too");

    let print = |place: &Place| {
        let mut command = place.command(&["up", "--tls-ca"]);
        command.env("XDG_DATA_HOME", place.path("data")).env_remove("BUSBAR_ADMIN");
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let first = fs::read_to_string(&file).unwrap();
    assert_eq!(print(&busbar.place), first);
}

/// What becomes of opening it. A browser gives up what it is loading when an interface of the machine comes or goes, as
/// those of dynos do in other tests: then it is asked again.
async fn opened(chromium: &mut Chromium, url: &str) -> Result<(), String> {
    for _ in 0..20 {
        match chromium.open(url).await {
            Err(error) if error == "net::ERR_NETWORK_CHANGED" => {}
            opened => return opened,
        }
    }
    panic!("the machine's network changed during each of twenty attempts");
}

/// What the page found, which a change of the network can spoil, too.
async fn read(chromium: &mut Chromium, url: &str) -> Value {
    let mut last = Value::Null;
    for _ in 0..20 {
        assert_eq!(opened(chromium, url).await, Ok(()));
        let Some(written) = chromium.written("done").await else { continue };
        last = serde_json::from_str(&written).unwrap();
        if last.get("error").is_none() {
            return last;
        }
    }
    panic!("the page was not read whole in twenty attempts: {last}");
}

#[tokio::test]
async fn a_browser_loads_a_page_of_several_files_with_a_websocket_and_events_over_tls() {
    if !tools::has("chromium", &["chromium"]) || !tools::has("certutil", &["libnss3-tools"]) {
        return;
    }
    let busbar = up(Place::new(), "examples/assets");
    busbar.runs(&["web.1"]);
    let (at, home) = (encrypted(&busbar), busbar.place.path("home"));
    let port = at.port();
    let url = format!("https://{}.localhost:{port}/", busbar.place.app);
    fs::create_dir(&home).unwrap();
    let mut stranger = Chromium::start(&home).await;
    assert_eq!(opened(&mut stranger, &url).await, Err("net::ERR_CERT_AUTHORITY_INVALID".into()));
    drop(stranger);

    trust(&home, &authority(&busbar));
    let mut chromium = Chromium::start(&home).await;
    let found = read(&mut chromium, &url).await;
    assert_eq!(found["page"], "https: h2", "{found}");
    assert_eq!(found["style"], "rgb(13, 110, 90)", "{found}");
    assert_eq!(found["images"], "48 × 48, 48 × 48");
    assert_eq!(found["dyno sees"], format!("https on port {port}"));
    assert_eq!(found["WebSocket"], "there and back");
    assert_eq!(found["events"], "1, 2, 3");
    if let Some(file) = std::env::var_os("BUSBAR_IT_PICTURE") {
        fs::write(file, chromium.picture().await).unwrap();
    }
    let lines = busbar.out.lines().join("\n");
    assert!(lines.contains("path=\"/dots.png\"") && lines.contains("tls=true tls_version=tls1.3"), "{lines}");
}
