//! Connections of one client.

use std::{net::SocketAddr, num::NonZeroUsize};

use it::{App, Router, Wire, fakes};
use router_core::observe::Closed;
use socket2::{Domain, Socket, Type};

use super::GET;

/// A client at 127.0.0.`host`.
fn client_at(host: u8, router: SocketAddr) -> Wire {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be had");
    socket.bind(&SocketAddr::from(([127, 0, 0, host], 0)).into()).expect("a port can be had");
    socket.connect(&router.into()).expect("the router listens");
    Wire::new(socket.into())
}

fn is_served(client: &mut Wire) {
    client.send(GET);
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn a_client_has_so_many_connections_over_all_workers_and_others_are_not_in_its_way() {
    let dyno = fakes::answers("ok");
    let router = Router::start_with(App::new([dyno.address]), |options| {
        options.workers = NonZeroUsize::new(3).expect("three");
        options.connections_per_client = NonZeroUsize::new(2);
    });
    let mut kept: Vec<_> = (0..2).map(|_| client_at(2, router.address)).collect();
    kept.iter_mut().for_each(is_served);
    for _ in 0..6 {
        client_at(2, router.address).is_closed(); // at once, without a word
    }
    is_served(&mut client_at(3, router.address));
    kept.iter_mut().for_each(is_served);
    router.until("they are counted", |totals| totals.closed.get(&Closed::ClientLimit) == Some(&6));

    drop(kept.pop());
    router.until("it is closed", |totals| totals.closed.get(&Closed::ClientLeft) >= Some(&2));
    is_served(&mut client_at(2, router.address));
}

#[test]
fn without_a_limit_a_client_has_any_number_of_connections() {
    let dyno = fakes::answers("ok");
    let router = Router::to(dyno.address);
    let mut clients: Vec<_> = (0..50).map(|_| router.client()).collect();
    clients.iter_mut().for_each(is_served);
}
