//! Ports for web dynos: free ones that nobody gets by chance; none is handed out twice at a time.
//!
//! Between the choice and the dyno's own `bind` another program can take it. Then the dyno crashes with "address in
//! use", and its next life has another port. So that this is rare, a port is chosen where the kernel takes none for
//! programs that let it choose, which most sockets of a machine do. Where there is no such room, the kernel chooses.

use std::{
    collections::HashSet,
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

/// From where the kernel takes ports for who lets it choose.
const EPHEMERAL: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// Below it are the ports of many servers, and from its end on those of Kubernetes' services.
const USUAL: Range<u16> = 20_000..30_000;
/// In a smaller place dynos would meet each other.
const LEAST: usize = 1000;
/// So many are tried before the kernel is asked.
const TRIES: usize = 100;

/// The ports that are handed out.
#[derive(Debug, Clone)]
pub(crate) struct Ports {
    taken: Arc<Mutex<HashSet<u16>>>,
    /// Where to choose; empty: nowhere.
    room: Range<u16>,
}

/// A port that is handed out, until this is dropped.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    ports: Ports,
}

impl Ports {
    /// Chosen outside of what the kernel chooses from now.
    pub(crate) fn of_this_machine() -> Self {
        let text = fs::read_to_string(EPHEMERAL).unwrap_or_default();
        Self { taken: Arc::default(), room: room_beside(&text) }
    }

    /// A free port.
    pub(crate) fn take(&self) -> io::Result<Port> {
        match self.take_by_chance() {
            Some(port) => Ok(port),
            None => self.take_from_the_kernel(),
        }
    }

    fn take_by_chance(&self) -> Option<Port> {
        let tries = if self.room.is_empty() { 0 } else { TRIES };
        (0..tries).find_map(|_| {
            let number = fastrand::u16(self.room.clone());
            let _free = TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).ok()?;
            self.hand_out(number)
        })
    }

    fn take_from_the_kernel(&self) -> io::Result<Port> {
        // The kernel does not choose a port that is bound; so each refused one is held until another is found.
        let mut refused = Vec::new();
        loop {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            if let Some(port) = self.hand_out(listener.local_addr()?.port()) {
                return Ok(port);
            }
            refused.push(listener);
        }
    }

    /// A port that a dyno has already, if it is one of the machine's own.
    pub(crate) fn claim(&self, address: SocketAddr) -> Option<Port> {
        self.hand_out(address.ip().is_loopback().then_some(address.port())?)
    }

    /// Unless it is handed out.
    fn hand_out(&self, number: u16) -> Option<Port> {
        let fresh = self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        fresh.then(|| Port { number, ports: self.clone() })
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.ports.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

/// Where the kernel does not choose, if it chooses from here: `32768 60999`.
fn room_beside(ephemeral: &str) -> Range<u16> {
    let mut bounds = ephemeral.split_whitespace().map_while(|bound| bound.parse::<u16>().ok());
    let (Some(first), Some(last)) = (bounds.next(), bounds.next()) else { return 0..0 };
    let below = USUAL.start..USUAL.end.min(first);
    let above = last.saturating_add(1)..u16::MAX;
    [USUAL, below, above].into_iter().find(|room| is_room(room, first, last)).unwrap_or(0..0)
}

fn is_room(room: &Range<u16>, first: u16, last: u16) -> bool {
    room.len() >= LEAST && (room.end <= first || last < room.start)
}

#[cfg(test)]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
mod tests {
    use super::*;

    fn ports(room: Range<u16>) -> Ports {
        Ports { taken: Arc::default(), room }
    }

    fn is_empty(ports: &Ports) -> bool {
        ports.taken.lock().unwrap().is_empty()
    }

    #[test]
    fn a_port_is_not_handed_out_twice_and_comes_back() {
        for ports in [Ports::of_this_machine(), ports(0..0)] {
            let taken: Vec<Port> = (0..300).map(|_| ports.take().unwrap()).collect();
            let different: HashSet<u16> = taken.iter().map(|port| port.number).collect();
            assert_eq!(different.len(), 300);
            drop(taken);
            assert!(is_empty(&ports));
            let claimed = ports.claim(([127, 0, 0, 1], 5000).into()).unwrap();
            assert!(ports.claim(([127, 0, 0, 1], 5000).into()).is_none());
            assert!(ports.claim(([10, 253, 0, 1], 5000).into()).is_none(), "its own address, its own ports");
            drop(claimed);
            assert!(is_empty(&ports));
        }
    }

    #[test]
    fn a_port_is_none_that_the_kernel_gives_to_who_lets_it_choose() {
        let text = fs::read_to_string(EPHEMERAL).unwrap();
        let bounds: Vec<u16> = text.split_whitespace().map(|bound| bound.parse().unwrap()).collect();
        let ports = Ports::of_this_machine();
        if ports.room.is_empty() {
            return eprintln!("skipped: the kernel chooses from nearly all ports: {text}");
        }
        let taken: Vec<Port> = (0..100).map(|_| ports.take().unwrap()).collect();
        for port in taken {
            assert!(port.number < bounds[0] || bounds[1] < port.number, "{port:?} of {text}");
        }
    }

    #[test]
    fn room_is_where_the_kernel_does_not_choose_or_nowhere() {
        for (ephemeral, room) in [
            ("32768\t60999\n", 20_000..30_000),
            ("1024 19999", 20_000..30_000),
            ("25000 65535", 20_000..25_000),
            ("10000 61000", 61_001..65_535),
            ("1024 65535", 0..0),
            ("20500 65000", 0..0),
            ("", 0..0),
            ("many few", 0..0),
        ] {
            assert_eq!(room_beside(ephemeral), room, "{ephemeral}");
        }
    }

    #[test]
    fn where_all_are_taken_the_kernel_chooses() {
        let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let number = taken.local_addr().unwrap().port();
        let port = ports(number..number + 1).take().unwrap();
        assert_ne!(port.number, number);
    }
}
