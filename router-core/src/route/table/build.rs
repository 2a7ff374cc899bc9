//! The host map: immutable once published; the next one is built from it by copying only what differs.
//!
//! It is cut into shards by the host's hash. A new map shares all shards with its predecessor but those that a change
//! touches, so with S shards of H hosts one change copies S pointers and H/S entries: S grows with √H. Measured at
//! 1M hosts (`benches/examples/table_study.rs`), best of 7: µs for another domain of an app at 256, 512, 1024, 2048, 4096,
//! 8192, 16384 shards: 179, 106, 43, 40, 55, 97, 181; all at once: 40 000 and more. Finding takes as long with 2048 shards as with one,
//! within the noise.
//!
//! An array of shards each behind its own swap would save the S pointers, and tear a change of several domains apart; a
//! persistent tree would change in a few µs, and take twice as long to find.

use std::{
    hash::{BuildHasher, Hasher},
    sync::Arc,
};

use busbar_registry::Domain;
use foldhash::quality::RandomState;
use hashbrown::HashTable;

use crate::route::app::App;

/// Shards of an empty map; always a power of two.
const FEWEST_SHARDS: usize = 64;

type Shard = HashTable<Entry>;

#[derive(Clone)]
struct Entry {
    domain: Domain,
    app: Arc<App>,
}

impl Entry {
    fn is(&self, key: Key<'_>) -> bool {
        Key::of(&self.domain) == key
    }
}

/// A domain, or a host as one of the domains that could answer for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key<'a> {
    Exact(&'a str),
    /// Without its `*.`.
    Wildcard(&'a str),
}

impl<'a> Key<'a> {
    fn of(domain: &'a Domain) -> Self {
        domain.wildcard_suffix().map_or(Self::Exact(domain.as_str()), Self::Wildcard)
    }
}

/// Host → app. Cloning copies the pointers to its shards.
#[derive(Clone)]
pub(crate) struct HostMap {
    shards: Box<[Arc<Shard>]>,
    /// Seeded at random per process: nobody can choose hosts that collide.
    state: RandomState,
    hosts: usize,
    wildcards: usize,
    catch_all: Option<Arc<App>>,
}

impl Default for HostMap {
    fn default() -> Self {
        Self {
            shards: empty(FEWEST_SHARDS),
            state: RandomState::default(),
            hosts: 0,
            wildcards: 0,
            catch_all: None,
        }
    }
}

fn empty(shards: usize) -> Box<[Arc<Shard>]> {
    (0..shards).map(|_| Arc::default()).collect()
}

impl HostMap {
    pub(crate) const fn len(&self) -> usize {
        self.hosts
    }

    /// Exact, else wildcard, else catch-all.
    pub(crate) fn find(&self, host: &str) -> Option<&Arc<App>> {
        let wildcard = || match host.split_once('.') {
            Some((_, suffix)) if self.wildcards > 0 => self.get(Key::Wildcard(suffix)),
            _ => None,
        };
        self.get(Key::Exact(host)).or_else(wildcard).or(self.catch_all.as_ref())
    }

    fn get(&self, key: Key<'_>) -> Option<&Arc<App>> {
        let hash = hash(&self.state, key);
        let shard = self.shards.get(place(hash, self.shards.len()))?;
        shard.find(hash, |entry| entry.is(key)).map(|entry| &entry.app)
    }

    /// `domain` leads to `app` from now on, whoever had it before.
    pub(crate) fn insert(&mut self, domain: &Domain, app: &Arc<App>) {
        self.grow();
        let key = Key::of(domain);
        let (hash, state) = (hash(&self.state, key), &self.state);
        let Some(shard) = self.shards.get_mut(place(hash, self.shards.len())) else { return };
        let shard = Arc::make_mut(shard);
        let entry = Entry { domain: domain.clone(), app: Arc::clone(app) };
        match shard.find_mut(hash, |known| known.is(key)) {
            Some(known) => *known = entry,
            None => {
                shard.insert_unique(hash, entry, |entry| self::hash(state, Key::of(&entry.domain)));
                self.hosts += 1;
                self.wildcards += usize::from(domain.is_wildcard());
            }
        }
    }

    /// `domain` leads nowhere from now on, unless it leads to another app than `owner`.
    pub(crate) fn remove(&mut self, domain: &Domain, owner: &Arc<App>) {
        let key = Key::of(domain);
        if !self.get(key).is_some_and(|app| Arc::ptr_eq(app, owner)) {
            return;
        }
        let hash = hash(&self.state, key);
        let Some(shard) = self.shards.get_mut(place(hash, self.shards.len())) else { return };
        if let Ok(entry) = Arc::make_mut(shard).find_entry(hash, |entry| entry.is(key)) {
            entry.remove();
            self.hosts -= 1;
            self.wildcards -= usize::from(domain.is_wildcard());
        }
    }

    /// `app` answers for unclaimed hosts, or no longer does.
    pub(crate) fn set_catch_all(&mut self, app: &Arc<App>, does: bool) {
        if does {
            self.catch_all = Some(Arc::clone(app));
        } else if self.catch_all.as_ref().is_some_and(|owner| Arc::ptr_eq(owner, app)) {
            self.catch_all = None;
        }
    }

    /// Twice the shards when there are more than S²/4 hosts. Copies everything, and does so each time the hosts have
    /// become four times as many.
    fn grow(&mut self) {
        let now = self.shards.len();
        if self.hosts <= now.saturating_mul(now) / 4 {
            return;
        }
        let mut shards: Box<[Shard]> = (0..now * 2).map(|_| Shard::new()).collect();
        let state = &self.state;
        let rehash = |entry: &Entry| hash(state, Key::of(&entry.domain));
        for entry in self.shards.iter().flat_map(|shard| shard.iter()) {
            let hash = rehash(entry);
            if let Some(shard) = shards.get_mut(place(hash, now * 2)) {
                shard.insert_unique(hash, entry.clone(), rehash);
            }
        }
        self.shards = shards.into_iter().map(Arc::new).collect();
    }
}

fn hash(state: &RandomState, key: Key<'_>) -> u64 {
    let mut hasher = state.build_hasher();
    let (text, kind) = match key {
        Key::Exact(text) => (text, 0),
        Key::Wildcard(text) => (text, 1),
    };
    hasher.write(text.as_bytes());
    hasher.write_u8(kind);
    hasher.finish()
}

/// Which of `shards` (a power of two). The table within a shard uses the lowest and the highest bits, this those
/// between.
fn place(hash: u64, shards: usize) -> usize {
    (hash >> 28) as usize & (shards - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::route::fixture;

    /// The rules, as plainly as they can be written.
    fn naive<'a>(domains: &'a BTreeMap<String, u8>, catch_all: Option<&'a u8>, host: &str) -> Option<&'a u8> {
        let wildcard = host.split_once('.').map(|(_, suffix)| format!("*.{suffix}"));
        domains.get(host).or_else(|| domains.get(&wildcard?)).or(catch_all)
    }

    fn apps() -> Vec<Arc<App>> {
        (0..3).map(|_| fixture::app(0, |_| {}).1).collect()
    }

    proptest! {
        #[test]
        fn finding_follows_the_rules_and_a_published_map_never_changes(
            changes in prop::collection::vec(("(\\*\\.)?([ab]\\.){0,2}[ab]", 0u8..3, 0u8..4), 1..40),
            hosts in prop::collection::vec("([ab]\\.){0,3}[ab]", 1..10),
        ) {
            let apps = apps();
            let (mut map, mut model, mut catch_all) = (HostMap::default(), BTreeMap::new(), None);
            let mut published = Vec::new();
            for (text, app, what) in changes {
                let domain: Domain = text.parse().unwrap();
                let owner = &apps[usize::from(app)];
                match what {
                    0 | 1 => {
                        map.insert(&domain, owner);
                        model.insert(text, app);
                    }
                    2 => {
                        map.remove(&domain, owner);
                        if model.get(&text) == Some(&app) {
                            model.remove(&text);
                        }
                    }
                    _ => {
                        let does = text.len() % 2 == 0;
                        map.set_catch_all(owner, does);
                        catch_all = if does { Some(app) } else { catch_all.filter(|is| *is != app) };
                    }
                }
                published.push((map.clone(), model.clone(), catch_all));
            }
            for (map, model, catch_all) in &published {
                prop_assert_eq!(map.len(), model.len());
                for host in &hosts {
                    let found = map.find(host).map(|app| apps.iter().position(|a| Arc::ptr_eq(a, app)).unwrap() as u8);
                    prop_assert_eq!(found, naive(model, catch_all.as_ref(), host).copied(), "{}", host);
                }
            }
        }
    }

    #[test]
    fn a_map_that_grew_finds_all_its_hosts() {
        let (apps, mut map) = (apps(), HostMap::default());
        let domains: Vec<Domain> = (0..20_000).map(|n| format!("h{n}.example").parse().unwrap()).collect();
        for (n, domain) in domains.iter().enumerate() {
            map.insert(domain, &apps[n % 3]);
        }
        assert_eq!((map.len(), map.shards.len()), (20_000, 512));
        for (n, domain) in domains.iter().enumerate() {
            assert!(Arc::ptr_eq(map.find(domain.as_str()).unwrap(), &apps[n % 3]));
        }
        assert!(map.find("h20000.example").is_none());
        let fullest = map.shards.iter().map(|shard| shard.len()).max().unwrap();
        assert!(fullest < 90, "{fullest} of 20 000 hosts in one of 512 shards");
    }

    #[test]
    fn one_change_copies_one_shard() {
        let (apps, mut map) = (apps(), HostMap::default());
        for n in 0..500 {
            map.insert(&format!("h{n}.example").parse().unwrap(), &apps[0]);
        }
        let mut next = map.clone();
        next.insert(&"new.example".parse().unwrap(), &apps[1]);
        let copied = map.shards.iter().zip(&next.shards).filter(|(old, new)| !Arc::ptr_eq(old, new)).count();
        assert_eq!(copied, 1);
    }
}
