//! The same key goes to the same dyno while the set lasts (rendezvous, or highest random weight, hashing). A dyno that
//! comes or goes moves only the keys it gets or had; a key whose dyno cannot take it goes to that key's next best one.
//!
//! The weight of a dyno is made of its label (`web.1`), so every router agrees, and a restarted dyno keeps its keys.

use std::sync::Arc;

use super::Field;
use crate::route::dyno::Dyno;

/// A key from what identifies a client: a session cookie's value, or an address. The same in every router and for
/// ever (FNV-1a); not secret and not collision proof, which only costs balance.
///
/// ```
/// use router_core::route::balance::rendezvous::key;
/// assert_eq!(key(b"session-1"), key(b"session-1"));
/// assert_ne!(key(b"session-1"), key(b"session-2"));
/// ```
pub fn key(identity: &[u8]) -> u64 {
    identity.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The finalizer of splitmix64: each input bit changes half of the output bits.
pub(super) const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

pub(super) fn pick<'a>(field: &Field<'a>, key: u64) -> Option<&'a Arc<Dyno>> {
    // Mixed before they meet, so that no two (dyno, key) pairs cancel each other out.
    let key = mix(key);
    let weight = |dyno: &&Arc<Dyno>| mix(mix(dyno.seed) ^ key);
    field.set.dynos.iter().filter(|dyno| field.free(dyno).is_some()).max_by_key(weight)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use super::*;
    use crate::route::{Moment, fixture, retry::Tried};

    fn where_keys_go(n: usize, quarantined: Option<usize>) -> HashMap<u64, Box<str>> {
        let (set, _app) = fixture::app(n, |_| {});
        if let Some(at) = quarantined {
            set.dynos[at].load.quarantine(Moment::START, Duration::from_secs(5));
        }
        let field = Field::new(&set, Tried::none(), Moment::START);
        (0..1000).map(|key| (key, pick(&field, key).unwrap().label.clone())).collect()
    }

    #[test]
    fn a_quarantined_dynos_keys_spread_over_the_others_and_no_other_key_moves() {
        let (before, after) = (where_keys_go(5, None), where_keys_go(5, Some(2)));
        let mut heirs = HashMap::<_, u32>::new();
        for (key, dyno) in &before {
            if &**dyno == "web.3" {
                *heirs.entry(&*after[key]).or_default() += 1;
            } else {
                assert_eq!(&after[key], dyno);
            }
        }
        assert!(heirs.len() == 4 && heirs.values().all(|&keys| keys > 20), "{heirs:?}");
    }

    #[test]
    fn a_new_dyno_takes_its_share_and_moves_no_other_key() {
        let (before, after) = (where_keys_go(4, None), where_keys_go(5, None));
        let moved: Vec<_> = before.iter().filter(|(key, dyno)| &after[*key] != *dyno).collect();
        assert!(moved.iter().all(|(key, _)| &*after[*key] == "web.5"));
        assert!((150..250).contains(&moved.len()), "{}", moved.len());
    }
}
