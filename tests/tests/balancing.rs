//! Which dyno gets a request: cookies, ejection, retries.

use std::num::NonZeroU32;

use busbar_registry::{Balance, Millis};
use it::{App, Dyno, Fake, Message, Router, Wire, dyno::Refusing, fakes};

/// A request with this cookie, if any.
fn get(router: &Router, cookie: Option<&str>) -> Wire {
    let cookie = cookie.map_or_else(String::new, |cookie| format!("Cookie: theme=dark; {cookie}\r\n"));
    let mut client = router.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: app.test\r\n{cookie}\r\n"));
    client
}

/// The session cookie that a response sets, as a client sends it back.
fn cookie(response: &Message) -> Option<String> {
    let set = response.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let mut ours = set.filter(|(_, value)| value.starts_with("busbar-session-affinity="));
    let pair = ours.next().map(|(_, value)| value.split(';').next().expect("a first part").to_owned());
    assert!(ours.next().is_none(), "it is set twice: {response:?}");
    pair
}

fn sticky(dynos: &[&Fake]) -> Router {
    let app = App::new(dynos.iter().map(|dyno| dyno.address));
    Router::start(app.routed(|routing| routing.session_affinity = true))
}

#[test]
fn a_clients_requests_go_to_the_dyno_its_cookie_names() {
    let dynos = ["one", "two", "three"].map(fakes::answers);
    let router = sticky(&dynos.each_ref());
    for _ in 0..5 {
        let first = get(&router, None).response();
        let session = cookie(&first).expect("it had none");
        for _ in 0..10 {
            let next = get(&router, Some(&session)).response();
            assert_eq!((next.text(), cookie(&next)), (first.text(), None));
        }
    }
}

#[test]
fn without_affinity_no_cookie_is_set_and_none_is_looked_at() {
    let (one, busy) = (fakes::answers("one"), Dyno::listening());
    let session = cookie(&get(&sticky(&[&one]), None).response()).expect("web.1's");
    // web.1 is another one here, and busy.
    let mut router = Router::to(busy.address);
    let _held = get(&router, None);
    let mut line = busy.accept();
    line.request();
    router.add_dyno(2, one.address);
    let answer = get(&router, Some(&session)).response();
    assert_eq!((answer.text().as_str(), cookie(&answer)), ("one", None));
}

#[test]
fn the_dynos_own_cookies_stay_and_the_routers_comes_beside_them() {
    let dyno = fakes::sends(
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/a\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
    );
    let router = sticky(&[&dyno]);
    let response = get(&router, None).response();
    let set = response.fields.iter().filter(|(name, _)| name == "Set-Cookie");
    let values: Vec<_> = set.map(|(_, value)| value.as_str()).collect();
    assert_eq!(values[..2], ["a=1; Path=/a", "b=2"]);
    let (pair, attributes) = values[2].split_once("; ").expect("it has attributes");
    assert_eq!(attributes, "Max-Age=86400; Path=/; HttpOnly");
    assert_eq!(Some(pair), cookie(&response).as_deref());
}

#[test]
fn the_dyno_gets_the_cookie_as_the_client_sent_it() {
    let dyno = fakes::echoes();
    let router = sticky(&[&dyno]);
    let session = cookie(&get(&router, None).response()).expect("it had none");
    assert!(get(&router, Some(&session)).response().text().contains(&format!("theme=dark; {session}")));
}

#[test]
fn a_client_whose_dyno_is_gone_is_given_another_one() {
    let dynos = ["one", "two"].map(fakes::answers);
    let mut router = sticky(&dynos.each_ref());
    let first = get(&router, None).response();
    let session = cookie(&first).expect("it had none");
    let (gone, generation) = if first.text() == "one" { ("web.1", 1) } else { ("web.2", 1) };
    router.remove_dyno(gone, generation);
    let second = get(&router, Some(&session)).response();
    let other = cookie(&second).expect("its dyno is gone");
    assert_ne!((second.text(), &other), (first.text(), &session));
    // Its dyno is back under its name, and so is whoever kept the old cookie.
    let address = dynos[usize::from(first.text() == "two")].address;
    router.add_dyno(gone.trim_start_matches("web.").parse().expect("a number"), address);
    for (session, text) in [(&session, first.text()), (&other, second.text())] {
        let third = get(&router, Some(session)).response();
        assert_eq!((third.text(), cookie(&third)), (text, None));
    }
}

#[test]
fn a_client_whose_dyno_refuses_is_given_another_one_at_once() {
    let dyno = fakes::answers("one");
    let mut router = sticky(&[&dyno]);
    let session = cookie(&get(&router, None).response()).expect("it had none");
    let refusing = Refusing::new();
    router.remove_dyno("web.1", 1);
    router.add_dyno(1, refusing.address);
    router.add_dyno(2, dyno.address);
    let moved = get(&router, Some(&session)).response();
    assert_eq!(moved.text(), "one");
    assert!(cookie(&moved).is_some_and(|other| other != session));
}

#[test]
fn a_cookie_that_is_not_of_our_making_is_replaced() {
    let dyno = fakes::answers("one");
    let router = sticky(&[&dyno]);
    for forged in ["busbar-session-affinity=", "busbar-session-affinity=0123456789abcdef"] {
        assert!(cookie(&get(&router, Some(forged)).response()).is_some());
    }
}

#[test]
fn with_one_request_per_dyno_a_client_waits_for_its_own_while_others_go_to_the_free_one() {
    let (own, free) = (Dyno::listening(), fakes::answers("free"));
    let mut router = Router::start(App::new([own.address]).routed(|routing| {
        routing.session_affinity = true;
        routing.concurrency_per_dyno = NonZeroU32::new(1);
    }));
    let mut first = get(&router, None);
    let mut line = own.accept();
    line.request();
    line.send(fakes::ok("own"));
    let session = cookie(&first.response()).expect("it had none");
    let mut second = get(&router, Some(&session));
    line.request();
    let mut third = get(&router, Some(&session));
    router.waits_until(1);
    router.add_dyno(2, free.address);
    // It has its place in the queue, and nobody it could use is in anybody's way.
    for _ in 0..5 {
        assert_eq!(get(&router, None).response().text(), "free");
    }
    router.waits_until(1);
    line.send(fakes::ok("own"));
    assert_eq!(second.response().text(), "own");
    line.request();
    line.send(fakes::ok("own"));
    let answer = third.response();
    assert_eq!((answer.text().as_str(), cookie(&answer)), ("own", None));
}

#[test]
fn a_dyno_that_takes_requests_and_answers_none_is_ejected() {
    let (sick, well) = (fakes::sends_and_closes(""), fakes::answers("well"));
    let app = App::new([sick.address, well.address]);
    let mut router = Router::start(app.routed(|routing| routing.eject_after = NonZeroU32::new(3)));
    let mut failures = 0;
    while failures < 3 {
        let status = get(&router, None).response().status();
        assert_eq!(router.code(), if status == 200 { "" } else { "H13" });
        failures += u32::from(status != 200);
    }
    for _ in 0..40 {
        assert_eq!(get(&router, None).response().text(), "well");
    }
}

#[test]
fn without_ejection_it_gets_its_share_as_on_heroku() {
    let (sick, well) = (fakes::sends_and_closes(""), fakes::answers("well"));
    let mut router = Router::start(
        App::new([sick.address, well.address]).routed(|routing| routing.balance = Balance::RoundRobin),
    );
    for turn in 0..40 {
        get(&router, None).response();
        assert_eq!(router.code(), if turn % 2 == 0 { "H13" } else { "" });
    }
}

#[test]
fn beyond_the_retry_budget_a_refused_connection_is_the_answer() {
    let (refusing, well) = (Refusing::new(), fakes::answers("well"));
    let mut router = Router::start(App::new([refusing.address, well.address]).routed(|routing| {
        routing.balance = Balance::RoundRobin;
        routing.quarantine_ms = Millis(0);
        (routing.retry_budget_percent, routing.retry_budget_per_second) = (0, 0);
    }));
    // Each one begins at web.1 and is tried once more at web.2, until the ten retries that were saved are used up.
    for code in [""; 10].into_iter().chain(["H21", "", "H21"]) {
        get(&router, None).response();
        assert_eq!(router.code(), code);
    }
}
