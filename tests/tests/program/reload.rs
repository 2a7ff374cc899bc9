//! A changed file: applied whole or refused whole, and no connection notices.

use std::fs;

use it::{Dyno, Wire, fakes};
use rustix::process::Signal;

use super::edge::shop;
use crate::busbar::{Busbar, Place, get};

const UPGRADE: &str =
    "GET /ws HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// Fails unless what is sent through the tunnel comes back.
fn echoes(tunnel: &mut Wire, words: &str) {
    tunnel.send(words);
    assert_eq!(tunnel.exactly(words.len()), words.as_bytes());
}

fn rewrite(busbar: &Busbar, text: &str) {
    fs::write(busbar.place.path("edge.toml"), text).unwrap();
}

fn and_another(text: &str) -> String {
    format!("{text}\n[[app]]\nname = \"blog\"\ndomains = [\"blog.example\"]\nmaintenance = true\n")
}

#[test]
fn sighup_and_reload_apply_a_changed_file_and_close_no_connection() {
    let (first, second, sockets) =
        (fakes::answers("first"), fakes::answers("second"), fakes::upgrades_and_echoes());
    let busbar = Place::new().router(&shop(&[sockets.address], ""), &[]);
    let (mut client, mut tunnel) = (busbar.client(), busbar.client());
    tunnel.send(UPGRADE);
    assert_eq!(tunnel.head().status(), 101);
    echoes(&mut tunnel, "before");
    assert_eq!(get(&mut client, "blog.example", "/").0, 404);

    // The dyno with the tunnel is no longer in the file; its tunnel goes on.
    rewrite(&busbar, &and_another(&shop(&[first.address], "")));
    busbar.signal(Signal::HUP);
    busbar.err.line("busbar: configuration read again: 2 apps, 3 domains, 1 dyno");
    assert_eq!(get(&mut client, "shop.example", "/"), (200, "first".into()));
    assert_eq!(get(&mut client, "blog.example", "/").0, 503);
    echoes(&mut tunnel, "after SIGHUP");

    rewrite(&busbar, &shop(&[second.address], ""));
    let reloaded = busbar.verb(&["reload"]);
    assert_eq!(
        (reloaded.code, reloaded.out.as_str()),
        (Some(0), "Reloading configuration... done, 1 app, 2 domains, 1 dyno\n"),
        "{reloaded:?}"
    );
    assert_eq!(get(&mut client, "shop.example", "/"), (200, "second".into()));
    assert_eq!(get(&mut client, "blog.example", "/").0, 404);
    echoes(&mut tunnel, "after reload");
}

#[test]
fn a_wrong_file_is_refused_whole_and_the_old_one_stays() {
    let dyno = fakes::answers("ok");
    let good = shop(&[dyno.address], "");
    let busbar = Place::new().router(&good, &[]);
    let mut client = busbar.client();
    assert_eq!(get(&mut client, "shop.example", "/"), (200, "ok".into()));
    // Its first half alone would be fine.
    let wrong = and_another(&good).replace("maintenance = true", "maintenance = 1\ndynos = [\"nowhere\"]");
    rewrite(&busbar, &format!("{wrong}colour = \"red\"\n"));
    let file = busbar.place.path("edge.toml").display().to_string();

    let said = busbar.verb(&["reload"]).failed(1);
    let complaints: Vec<_> = said.lines().filter(|line| line.starts_with(&file)).collect();
    let lines = wrong.lines().count();
    for (complaint, line) in complaints.iter().zip([lines - 1, lines, lines + 1]) {
        assert!(complaint.starts_with(&format!("{file}:{line}:")), "{said}");
    }
    assert_eq!(complaints.len(), 3, "{said}");
    busbar.signal(Signal::HUP);
    busbar.err.line("configuration not applied, the old one stays in force");
    busbar.err.line(complaints[2]);

    assert_eq!(get(&mut client, "shop.example", "/"), (200, "ok".into()));
    assert_eq!(get(&mut client, "blog.example", "/").0, 404);
    rewrite(&busbar, &and_another(&good));
    assert_eq!(busbar.verb(&["reload"]).code, Some(0));
    assert_eq!(get(&mut client, "blog.example", "/").0, 503);
}

#[test]
fn what_needs_a_restart_is_named_and_nothing_is_applied() {
    let dyno = fakes::answers("ok");
    let good = shop(&[dyno.address], "");
    let busbar = Place::new().router(&good, &[]);
    rewrite(&busbar, &and_another(&good).replace("workers = 1", "workers = 2"));
    let said = busbar.verb(&["reload"]).failed(1);
    assert!(said.contains("workers") && said.contains("nothing was changed"), "{said}");
    assert_eq!(busbar.get("blog.example", "/").0, 404);
}

#[test]
fn a_file_that_is_gone_changes_nothing() {
    let dyno = fakes::answers("ok");
    let busbar = Place::new().router(&shop(&[dyno.address], ""), &[]);
    fs::remove_file(busbar.place.path("edge.toml")).unwrap();
    let said = busbar.verb(&["reload"]).failed(1);
    assert!(said.contains("edge.toml"), "{said}");
    assert_eq!(busbar.get("shop.example", "/").0, 200);
}

#[test]
fn a_request_in_flight_at_a_dyno_that_is_gone_from_the_file_is_answered() {
    let (late, quick) = (Dyno::listening(), fakes::answers("quick"));
    let busbar = Place::new().router(&shop(&[late.address], ""), &[]);
    let mut client = busbar.client();
    client.send("GET /late HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    let mut wire = late.accept();
    wire.request();
    rewrite(&busbar, &shop(&[quick.address], ""));
    assert_eq!(busbar.verb(&["reload"]).code, Some(0));
    assert_eq!(busbar.get("shop.example", "/"), (200, "quick".into()));
    wire.send(fakes::ok("late"));
    assert_eq!(client.response().text(), "late");
}
