//! The commands in `docs/registry.md` work as they are written.

use std::process::Stdio;

use busbar_registry::{Change, wire::Limits};
use tokio::{process::Command, time::timeout};

use super::server::{PATIENCE, Server, Tcp, key, name, next, unix, watch_now};

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a skipped test says why")]
async fn the_commands_of_the_page_register_renew_and_deregister() {
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().await.is_err() {
        eprintln!("skipped: there is no curl");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (socket, auth) = (dir.path().join("registry.sock"), dir.path().join("auth"));
    let token = key().app_token(&name("shop"));
    std::fs::write(&auth, format!("Authorization: Bearer {}\n", token.secret())).unwrap();
    let tcp = Tcp::start(Limits::default()).await;
    let _unix = Server::start(tcp.memory.clone(), unix(&socket), Limits::default());

    let page = include_str!("../../../docs/registry.md");
    let scripts: Vec<_> =
        page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(scripts.len(), 2);
    for script in scripts {
        let mut watch = watch_now(&tcp.memory).await;
        let run = Command::new("sh")
            .args(["-euc", script])
            .env("SOCKET", &socket)
            .env("ADDRESS", &tcp.address)
            .env("AUTH", &auth)
            .kill_on_drop(true)
            .output();
        let output = timeout(PATIENCE, run).await.unwrap().unwrap();
        assert!(output.status.success(), "{script}\n{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.starts_with(r#"{"id":"shop."#) && said.contains(r#""ttl_ms":30000"#), "{said}");
        assert!(matches!(next(&mut watch).await.change, Change::DynoPut { .. }));
        assert!(matches!(next(&mut watch).await.change, Change::DynoRemoved { .. }));
    }
}
