mod acme;
mod dynos;
mod wire;

use std::time::Duration;

use busbar_registry::{Balance, Millis};

use super::*;

const HOUSE: &str = r#"
listen = ["127.0.0.1:8080"]
workers = 1

[[app]]
name = "shop"
domains = ["shop.example.com", "*.shop.example.com"]
dynos = ["127.0.0.1:9001", "127.0.0.1:9002"]
"#;

fn listen_at(address: &str) -> ListenAt {
    address.parse::<Address>().unwrap().into()
}

fn good(text: &str) -> Config {
    parse("edge.toml", text, &Overrides::default()).unwrap()
}

/// The complaints about `text`, without the file's name.
fn complaints(text: &str) -> Vec<String> {
    match parse("edge.toml", text, &Overrides::default()) {
        Err(Refused::Wrong(complaints)) => {
            let told =
                |complaint: &Complaint| complaint.to_string().strip_prefix("edge.toml:").unwrap().to_owned();
            complaints.iter().map(told).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_file_of_the_manual_stays_valid() {
    // The copy is what was promised; who changes the page sees that here.
    let shown = include_str!("../../../README.md").split("```toml\n").nth(1).unwrap();
    assert_eq!(shown.split("```").next().unwrap().trim(), HOUSE.trim());
    let config = good(HOUSE);
    assert_eq!(config.listen, [listen_at("127.0.0.1:8080")]);
    assert_eq!(config.workers.get(), 1);
    assert_eq!(config.tally().to_string(), "1 app, 2 domains, 2 dynos");
    assert_eq!(config.apps[0].record.web.quantity, 2);
    assert_eq!(config.apps[0].record.routing, busbar_registry::Routing::default());
}

#[test]
fn an_empty_file_is_a_router_without_apps() {
    let config = good("");
    assert_eq!(config.listen, [listen_at("127.0.0.1:8080")]);
    assert_eq!(config.drain_timeout, Duration::from_secs(30));
    assert_eq!((config.admin, config.registry, config.access_log), (None, None, AccessLogTo::Stdout));
}

#[test]
fn every_key_is_understood() {
    let config = good(
        r#"
        listen = ["[::1]:80", "0.0.0.0:8080"]
        workers = 2
        drain_timeout = "1m"
        drain_delay = "5s"
        [limits]
        request_line = "4KiB"
        header_value = "2KiB"
        header_count = 100
        head_total = "16KiB"
        connections = 10
        connections_per_client = 3
        kept_per_dyno = 4
        kept_connections = 5
        head_timeout = "10s"
        keepalive_timeout = "20s"
        [[listener]]
        address = "unix:/run/http.sock"
        mode = "0666"
        [[listener]]
        address = "0.0.0.0:8081"
        proxy_protocol = true
        from = ["10.0.0.0/8", "192.0.2.1"]
        [admin]
        listen = "unix:/tmp/admin.sock"
        [registry]
        listen = ["127.0.0.1:7100"]
        key_file = "/etc/busbar/key"
        [log]
        access = "/var/log/busbar.log"
        [[app]]
        name = "shop"
        domains = ["shop.example.com"]
        catch_all = true
        maintenance = true
        [app.routing]
        balance = "round_robin"
        concurrency_per_dyno = 1
        queue_limit = 7
        in_flight_per_dyno = 8
        request_limit = 9
        connect_timeout = "1s"
        connect_attempts = 3
        quarantine = "0s"
        first_byte_timeout = "500ms"
        idle_timeout = "2s"
        total_timeout = "4s"
        min_rate = "500B/s"
        min_rate_period = "5s"
        hold_timeout = "3s"
        response_buffer = "2MiB"
        dyno_keepalive = "0s"
        answer_continue = false
        error_page_url = "https://example.com/error"
        maintenance_page_url = "http://example.com/maintenance"
        "#,
    );
    let (record, routing) = (&config.apps[0].record, &config.apps[0].record.routing);
    assert_eq!(
        (config.limits.request.line, config.limits.request.head, config.limits.connections),
        (4096, 16384, Some(10))
    );
    assert_eq!(config.limits.connections_per_client, NonZeroUsize::new(3));
    assert_eq!((config.limits.kept_per_dyno, config.limits.kept_connections), (Some(4), Some(5)));
    assert_eq!(config.listen.len(), 4);
    assert_eq!(config.listen[2], ListenAt { mode: 0o666, ..listen_at("unix:/run/http.sock") });
    let from = ["10.0.0.0/8", "192.0.2.1"].into_iter().map(|network| network.parse().unwrap()).collect();
    let from = Some(from);
    assert_eq!(config.listen[3].proxy_protocol, Some(ProxyProtocol { from }));
    assert_eq!(config.admin, Some(AdminListen::At(Endpoint::Unix("/tmp/admin.sock".into()))));
    assert_eq!(config.access_log, AccessLogTo::File("/var/log/busbar.log".into()));
    assert!(record.catch_all && record.maintenance && !routing.answer_continue);
    assert_eq!(routing.balance, Balance::RoundRobin);
    assert_eq!(routing.response_buffer_bytes, 2 << 20);
    assert_eq!((routing.first_byte_timeout_ms, routing.quarantine_ms), (Millis(500), Millis(0)));
    assert_eq!((routing.total_timeout_ms, routing.min_rate), (Some(Millis(4000)), 500));
    assert_eq!(routing.min_rate_period_ms, Millis(5000));
    assert_eq!(routing.error_page_url.as_deref(), Some("https://example.com/error"));
    assert_eq!(record.web.quantity, 0, "an app without dynos answers H14");
}

#[test]
fn all_mistakes_are_told_at_once_with_their_place() {
    let told =
        complaints("lisen = []\nworkers = 0\n\n[[app]]\nname = \"Shop\"\ndomains = [\"a.example.com\"]\n");
    assert_eq!(
        told,
        [
            "1:1: unknown key `lisen`; did you mean `listen`?",
            "2:11: `workers` is 0; write 1 to 1024, or leave the key out for one per CPU",
            "5:8: `name` is \"Shop\"; app name \"Shop\" must be 1 to 30 characters of a-z, 0-9 and '-', \
             begin with a letter and not end with '-'",
        ]
    );
}

#[test]
fn each_mistake_about_listeners_is_refused_in_words_that_help() {
    for (text, expected) in [
        ("[[listener]]", "1:1: this [[listener]] has no `address`"),
        ("[[listener]]\naddress = \"127.0.0.1:1\"\nmode = \"0660\"", "3:8: `mode` is for socket files"),
        ("[[listener]]\naddress = \"unix:/a\"\nmode = \"9\"", "3:8: `mode` is \"9\"; write it as chmod does"),
        ("[[listener]]\naddress = \"unix:a\"", "2:11: `address` is \"unix:a\"; bad address"),
        ("[[listener]]\naddress = \"127.0.0.1:1\"\nfrom = [\"::/0\"]", "3:8: `from` says whose"),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nproxy_protocol = true\nfrom = [\"10.0.0.0/33\"]",
            "4:9: proxy \"10.0.0.0/33\": write a network like 10.0.0.0/8",
        ),
        (
            "[[listener]]\naddress = \"0.0.0.0:1\"\nproxy_protocol = true",
            "1:1: anybody who reaches this `proxy_protocol` listener could claim any address",
        ),
        (
            "listen = [\"127.0.0.1:1\"]\n[[listener]]\naddress = \"127.0.0.1:1\"",
            "3:11: 127.0.0.1:1 is listened on already",
        ),
    ] {
        let told = complaints(text);
        assert!(told[0].starts_with(expected), "{text}\n got {}\nwant {expected}", told[0]);
    }
}

#[test]
fn each_mistake_is_refused_in_words_that_help() {
    let app = "[[app]]\nname = \"a\"\ndomains = [\"a.example.com\"]\n";
    for (text, expected) in [
        (
            "listen = [\"127.0.0.1:1\", \"127.0.0.1:1\"]",
            "1:26: listen address \"127.0.0.1:1\" is already on line 1",
        ),
        ("listen = []", "1:10: `listen` has no address"),
        #[cfg(not(feature = "h3"))]
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nh3 = true",
            "3:6: this busbar was built without HTTP/3; build it with `--features h3`",
        ),
        #[cfg(feature = "h3")]
        ("[[listener]]\naddress = \"127.0.0.1:1\"\nh3 = true", "3:6: HTTP/3 needs TLS and a port"),
        ("listen = \"127.0.0.1:1\"", "1:10: `listen` must be a list"),
        ("listen = [1]", "1:11: `listen` takes texts in quotes"),
        ("listen = [\"localhost:80\"]", "1:11: bad address \"localhost:80\""),
        ("workers = \"two\"", "1:11: `workers` must be a whole number"),
        ("workers = -1", "1:11: `workers` must be a whole number"),
        ("workers = 1025", "1:11: `workers` is 1025"),
        ("drain_timeout = \"30\"", "1:17: `drain_timeout` is \"30\"; write a whole number and a unit"),
        ("drain_timeout = 30", "1:17: `drain_timeout` must be text in quotes, not this integer"),
        ("[limits]\nhead_timeout = \"0s\"", "2:16: `head_timeout` is \"0s\"; every request would fail"),
        ("[limits]\nrequest_line = \"1B\"", "2:16: `request_line` is \"1B\"; write 256B to 1MiB"),
        ("[limits]\nhead_total = \"1KiB\"", "2:14: `head_total` is smaller"),
        ("[limits]\nconnections = 0", "2:15: `connections` is 0"),
        (
            "[admin]\nlisten = \"0.0.0.0:1\"",
            "2:10: `listen` is \"0.0.0.0:1\"; admin address 0.0.0.0:1 can be reached",
        ),
        ("[registry]\nlisten = [\"127.0.0.1:1\"]", "1:1: [registry] has no `key_file`"),
        ("[quic]\n", "1:2: unknown key `quic`; the keys there are: listen, listener, workers"),
        ("limits = 1", "1:10: `limits` must be a table"),
        ("[app]\nname = \"a\"", "1:1: `app` may be there more than once; write [[app]]"),
        ("workers = 1\nworkers = 2", "2:1: this is not TOML: duplicate key"),
        ("workers = ", "1:11: this is not TOML"),
        ("[[app]]\ndomains = [\"a.b\"]", "1:1: this app has no `name`"),
        ("[[app]]\nname = \"a\"", "1:1: this app has no domain"),
        (
            "[[app]]\nname = \"a\"\ndomains = [\"a.b\"]\ncatch_all = 1",
            "4:13: `catch_all` must be true or false",
        ),
    ] {
        let told = complaints(text);
        assert!(told[0].starts_with(expected), "{text}\n got {}\nwant {expected}", told[0]);
    }
    for (lines, expected) in [
        ("dynos = [\"127.0.0.1:0\"]", "4:10: no dyno can be reached at 127.0.0.1:0"),
        ("dynos = [\"unix:app.sock\"]", "4:10: bad address \"unix:app.sock\""),
        ("dynos = [\"127.0.0.1:8080\"]", "4:10: 127.0.0.1:8080 is where this router listens"),
        ("dynos = [\"127.0.0.1:1\", \"127.0.0.1:1\"]", "4:25: dyno 127.0.0.1:1 is one of app a since line 4"),
        ("[app.routing]\nbalance = \"ballast\"", "5:11: there is no balance \"ballast\"; write least"),
        (
            "[app.routing]\nfirst_byte_timeout = \"0s\"",
            "5:22: `first_byte_timeout` is \"0s\"; every request would fail",
        ),
        (
            "[app.routing]\nfirst_byte_timout = \"1s\"",
            "5:1: unknown key `first_byte_timout` in [app.routing]; did you mean",
        ),
        (
            "[app.routing]\nmin_rate = \"500\"",
            "5:12: `min_rate` is \"500\"; write a number of bytes per second",
        ),
        (
            "[app.routing]\ntotal_timeout = \"0s\"",
            "5:17: `total_timeout` is \"0s\"; every request would fail",
        ),
        ("[app.routing]\nrequest_limit = 0", "5:17: `request_limit` is 0"),
        ("[app.routing]\nerror_page_url = \"/x\"", "5:18: `error_page_url` is \"/x\""),
        ("[[app]]\nname = \"a\"\ndomains = [\"b.b\"]", "5:8: there is already an app a on line 2"),
        (
            "[[app]]\nname = \"b\"\ndomains = [\"A.example.com.\"]",
            "6:12: domain a.example.com belongs to app a since line 3",
        ),
    ] {
        let told = complaints(&format!("{app}{lines}"));
        assert!(told[0].starts_with(expected), "{lines}\n got {}\nwant {expected}", told[0]);
    }
}

#[test]
fn an_app_has_no_more_than_the_registry_keeps() {
    let domains: Vec<String> = (0..=1000).map(|n| format!("\"d{n}.example\"")).collect();
    let dynos: Vec<String> = (0..=1000).map(|n| format!("\"127.0.0.1:{}\"", 9000 + n)).collect();
    let text =
        format!("[[app]]\nname = \"a\"\ndomains = [{}]\ndynos = [{}]", domains.join(","), dynos.join(","));
    let told = complaints(&text);
    assert!(told[0].ends_with("an app has at most 1000 domains; use a wildcard"), "{told:?}");
    assert!(told[1].ends_with("an app has at most 1000 dynos; split the app"), "{told:?}");
}

#[test]
fn only_one_app_catches_all() {
    let text = "[[app]]\nname = \"a\"\ncatch_all = true\n[[app]]\nname = \"b\"\ncatch_all = true\n";
    assert_eq!(
        complaints(text),
        ["6:13: `catch_all` belongs to app a since line 3; only one app can have it"]
    );
}

#[test]
fn flags_win_over_the_file() {
    let overrides = Overrides {
        listen: vec!["127.0.0.1:1".parse().unwrap()],
        workers: NonZeroUsize::new(3),
        drain_timeout: Some(units::Span(Duration::from_secs(1))),
        admin: Some(AdminListen::Off),
        access_log: Some(AccessLogTo::Off),
    };
    let config = parse("edge.toml", HOUSE, &overrides).unwrap();
    assert_eq!((config.listen, config.workers.get()), (vec![listen_at("127.0.0.1:1")], 3));
    assert_eq!((config.drain_timeout, config.admin), (Duration::from_secs(1), Some(AdminListen::Off)));
    assert_eq!(config.access_log, AccessLogTo::Off);
}

#[test]
fn what_cannot_change_while_it_runs_is_named() {
    let changed =
        |line: &str| good(HOUSE).fixed_keys_that_differ(&good(&HOUSE.replacen("workers = 1", line, 1)));
    assert_eq!(changed("workers = 1"), None);
    assert_eq!(changed("workers = 1\ndrain_timeout = \"1s\""), None);
    assert_eq!(changed("workers = 2").as_deref(), Some("`workers`"));
    let both = changed("workers = 2\n[log]\naccess = \"off\"");
    assert_eq!(both.as_deref(), Some("`workers`, whether [log] is off"));
    assert_eq!(changed("workers = 1\n[log]\naccess = \"/tmp/x\""), None, "the log can move");
}

#[test]
fn every_example_of_the_manual_is_valid_and_every_key_is_in_it() {
    let manual = include_str!("../../../docs/configuration.md");
    let examples: Vec<&str> =
        manual.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() >= 6, "the manual has lost its examples");
    examples.iter().for_each(|example| drop(good(example)));
    let rows = manual.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let explained: Vec<&str> = rows.flat_map(|(keys, _)| keys.split(", ")).collect();
    // The complaint about an unknown key lists all keys of its table.
    let tables = [
        "[[listener]]\nnonesuch = 1\n",
        "nonesuch = 1\n",
        "[limits]\nnonesuch = 1\n",
        "[edge]\nnonesuch = 1\n",
        "[admin]\nnonesuch = 1\n",
        "[log]\nnonesuch = 1\n",
        "[registry]\nnonesuch = 1\n",
        "[[app]]\nnonesuch = 1\n",
        "[[app]]\n[app.routing]\nnonesuch = 1\n",
        "[tls]\nnonesuch = 1\n",
        "[http2]\nnonesuch = 1\n",
        "[acme]\nnonesuch = 1\n",
        "[[certificate]]\nnonesuch = 1\n",
    ];
    for table in tables {
        let told = complaints(table);
        let keys = told.iter().find_map(|told| told.split_once("the keys there are: ")).unwrap().1;
        for key in keys.split(", ") {
            let documented = explained.contains(&format!("`{key}`").as_str())
                || [format!("`[{key}]`"), format!("## `[[{key}]]`")]
                    .iter()
                    .any(|shown| manual.contains(shown));
            assert!(
                documented || key == "app" || key == "routing",
                "docs/configuration.md does not explain {key} of {table}"
            );
        }
    }
}
