//! Connections per client address, over all workers.
//!
//! - [`Clients`]: counts them. [`ClientPlace`]: one connection's place; dropping it gives it back.
//!
//! Asked once per connection, never per request. As many addresses are remembered as connections are open.

use std::{
    collections::HashMap,
    fmt,
    hash::BuildHasher as _,
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use foldhash::quality::RandomState;

/// Workers that accept at the same moment seldom want the same shard.
const SHARDS: usize = 16;

type Shard = HashMap<u128, usize, RandomState>;

/// How many connections each client address has.
pub(crate) struct Clients {
    most: NonZeroUsize,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

impl Clients {
    /// At most `most` connections for each address.
    pub(crate) fn new(most: NonZeroUsize) -> Self {
        Self { most, hasher: RandomState::default(), shards: Default::default() }
    }

    /// A place for one more connection from there; `None`: it has as many as it may.
    pub(crate) fn enter(self: &Arc<Self>, client: IpAddr) -> Option<ClientPlace> {
        let key = key(client);
        let mut shard = self.shard(key)?.lock().unwrap_or_else(PoisonError::into_inner);
        let count = shard.entry(key).or_default();
        if *count >= self.most.get() {
            return None;
        }
        *count += 1;
        drop(shard);
        Some(ClientPlace { clients: Arc::clone(self), key })
    }

    fn leave(&self, key: u128) {
        let Some(shard) = self.shard(key) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = shard.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&key);
                if shard.capacity() > 1024 && shard.len() < shard.capacity() / 8 {
                    shard.shrink_to_fit();
                }
            }
        }
    }

    fn shard(&self, key: u128) -> Option<&Mutex<Shard>> {
        let hash = usize::try_from(self.hasher.hash_one(key) >> 48).unwrap_or_default();
        self.shards.get(hash % SHARDS)
    }
}

/// One client: an IPv4 address, or an IPv6 network of 64 bits, which is what one subscriber gets (RFC 6177).
const fn key(client: IpAddr) -> u128 {
    match client.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

/// One connection's place; dropping it gives it back.
pub(crate) struct ClientPlace {
    clients: Arc<Clients>,
    key: u128,
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        self.clients.leave(self.key);
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clients(at most {} connections each)", self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(most: usize) -> Arc<Clients> {
        Arc::new(Clients::new(NonZeroUsize::new(most).unwrap()))
    }

    fn known(clients: &Clients) -> usize {
        clients.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }

    #[test]
    fn an_address_has_so_many_places_and_a_place_given_back_is_free_again() {
        let clients = clients(2);
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let (first, _second) = (clients.enter(one).unwrap(), clients.enter(one).unwrap());
        assert!(clients.enter(one).is_none());
        assert!(clients.enter("::ffff:192.0.2.1".parse().unwrap()).is_none(), "the same address");
        assert!(clients.enter(other).is_some());
        drop(first);
        assert!(clients.enter(one).is_some());
        drop(_second);
        assert_eq!(known(&clients), 0, "nobody is remembered who has no connection");
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_client() {
        let clients = clients(1);
        let _place = clients.enter("2001:db8:0:1::1".parse().unwrap()).unwrap();
        assert!(clients.enter("2001:db8:0:1:ffff::2".parse().unwrap()).is_none());
        assert!(clients.enter("2001:db8:0:2::1".parse().unwrap()).is_some());
    }

    #[test]
    fn racing_threads_never_exceed_the_limit() {
        let clients = clients(3);
        let client = "192.0.2.1".parse().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let places: Vec<_> = (0..4).filter_map(|_| clients.enter(client)).collect();
                        assert!(places.len() <= 3);
                    }
                });
            }
        });
        assert_eq!(known(&clients), 0);
    }
}
