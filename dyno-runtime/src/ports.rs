//! Ports for web dynos: the kernel chooses one that is free; none is handed out twice at a time.
//!
//! Between the choice and the dyno's own `bind` another program can take it. Then the dyno crashes with "address in
//! use", and its next life has another port.

use std::{
    collections::HashSet,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
};

/// The ports that are handed out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ports(Arc<Mutex<HashSet<u16>>>);

/// A port that is handed out, until this is dropped.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    ports: Ports,
}

impl Ports {
    /// A free port.
    pub(crate) fn take(&self) -> io::Result<Port> {
        // The kernel does not choose a port that is bound; so each refused one is held until another is found.
        let mut refused = Vec::new();
        loop {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            let number = listener.local_addr()?.port();
            if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number) {
                return Ok(Port { number, ports: self.clone() });
            }
            refused.push(listener);
        }
    }

    /// A port that a dyno has already, if it is one of the machine's own.
    pub(crate) fn claim(&self, address: SocketAddr) -> Option<Port> {
        let number = address.ip().is_loopback().then_some(address.port())?;
        let fresh = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        fresh.then(|| Port { number, ports: self.clone() })
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.ports.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_not_handed_out_twice_and_comes_back() {
        let ports = Ports::default();
        let taken: Vec<Port> = (0..300).map(|_| ports.take().unwrap()).collect();
        let different: HashSet<u16> = taken.iter().map(|port| port.number).collect();
        assert_eq!(different.len(), 300);
        drop(taken);
        assert!(ports.0.lock().unwrap().is_empty());
        let claimed = ports.claim(([127, 0, 0, 1], 5000).into()).unwrap();
        assert!(ports.claim(([127, 0, 0, 1], 5000).into()).is_none());
        assert!(ports.claim(([10, 253, 0, 1], 5000).into()).is_none(), "its own address, its own ports");
        drop(claimed);
        assert!(ports.0.lock().unwrap().is_empty());
    }
}
