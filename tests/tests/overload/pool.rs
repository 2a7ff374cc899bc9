//! Connections kept to dynos.

use it::{App, Dyno, Router, Wire, fakes::ok};
use router_core::server::options::PoolBounds;

use super::GET;

/// One request of each client is at the dyno at the same time, so each gets a connection of its own; then all are
/// answered in their order, and their connections are kept in that order.
fn all_at_once(router: &Router, dyno: &Dyno, clients: usize) -> Vec<Wire> {
    let mut pairs: Vec<_> = (0..clients)
        .map(|_| {
            let mut client = router.client();
            client.send(GET);
            let mut wire = dyno.accept();
            wire.request();
            (client, wire)
        })
        .collect();
    for (client, wire) in &mut pairs {
        wire.send(ok("ok"));
        assert_eq!(client.response().text(), "ok");
    }
    pairs.into_iter().map(|(_, wire)| wire).collect()
}

#[test]
fn a_worker_keeps_so_many_connections_to_a_dyno_and_closes_the_oldest_first() {
    let dyno = Dyno::listening();
    let bounds = PoolBounds { per_dyno: 2, total: 100 };
    let router = Router::start_with(App::new([dyno.address]), |options| options.pool = bounds);
    let mut wires = all_at_once(&router, &dyno, 4);
    router.until("they are kept", |totals| totals.kept == 2);
    wires.drain(..2).for_each(|mut oldest| oldest.is_closed());
    wires.iter_mut().for_each(Wire::is_quiet);
}

#[test]
fn a_worker_keeps_so_many_connections_in_all() {
    let (one, two) = (Dyno::listening(), Dyno::listening());
    let bounds = PoolBounds { per_dyno: 100, total: 3 };
    let mut router = Router::start_with(App::new([one.address]), |options| options.pool = bounds);
    let mut of_one = all_at_once(&router, &one, 3);
    router.until("they are kept", |totals| totals.kept == 3);
    let name = "app".parse().expect("a name");
    let old = router.publisher.app(&name).expect("it is there").set().dynos[0].clone();
    router.publisher.remove_dyno(&name, &old.name, old.generation);
    router.add_dyno(2, two.address);
    let mut of_two = all_at_once(&router, &two, 2);
    router.until("they are kept", |totals| totals.kept == 3);
    of_one.drain(..2).for_each(|mut oldest| oldest.is_closed());
    of_one.iter_mut().chain(&mut of_two).for_each(Wire::is_quiet);
}
