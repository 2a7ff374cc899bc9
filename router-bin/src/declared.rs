//! The dynos of the configuration file as the router knows them. Pure.
//!
//! A dyno that is in the old file and in the new one stays the same dyno, so a reload takes nothing from it: its name
//! and generation belong to its app and address, not to its place in the list.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
};

use busbar_registry::{AppName, DynoName, DynoRecord, DynoState, Generation, ProcessType};

use crate::config::DeclaredApp;

/// The dynos of the file that is in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DeclaredDynos {
    dynos: Vec<DynoRecord>,
    /// Generations given out so far. Small numbers: the registry's own begin at the microseconds of the wall clock.
    given_out: u64,
}

impl DeclaredDynos {
    /// The dynos, by app.
    pub(crate) fn records(&self) -> &[DynoRecord] {
        &self.dynos
    }

    /// Those of a new file. Dynos that stay keep name and generation; a new one gets the lowest free number.
    pub(crate) fn replaced_by(&self, apps: &[DeclaredApp]) -> Self {
        let old: HashMap<(&AppName, SocketAddr), &DynoRecord> =
            self.dynos.iter().map(|dyno| ((&dyno.app, dyno.address), dyno)).collect();
        let mut next = Self { dynos: Vec::new(), given_out: self.given_out };
        for app in apps {
            let name = &app.record.name;
            let kept = |address: &SocketAddr| old.get(&(name, *address)).copied();
            let taken: BTreeSet<u32> =
                app.dynos.iter().filter_map(kept).map(|dyno| dyno.dyno.index).collect();
            let mut free = (1..=u32::MAX).filter(|index| !taken.contains(index));
            for address in &app.dynos {
                let mut new = || next.new_dyno(name, *address, free.next().unwrap_or(u32::MAX));
                let dyno = kept(address).cloned().unwrap_or_else(&mut new);
                next.dynos.push(dyno);
            }
        }
        next
    }

    fn new_dyno(&mut self, app: &AppName, address: SocketAddr, index: u32) -> DynoRecord {
        self.given_out = self.given_out.saturating_add(1);
        DynoRecord {
            app: app.clone(),
            dyno: DynoName::new(ProcessType::web(), index),
            address,
            generation: Generation(self.given_out),
            state: DynoState::Up,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{Overrides, parse};

    /// An app `shop` with dynos at these ports.
    fn apps(ports: &[u16]) -> Vec<DeclaredApp> {
        let dynos: Vec<String> = ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let text = format!("[[app]]\nname = \"shop\"\ncatch_all = true\ndynos = [{}]\n", dynos.join(","));
        parse("test.toml", &text, &Overrides::default()).unwrap().apps
    }

    fn told(declared: &DeclaredDynos) -> Vec<(String, u16, u64)> {
        let tell = |dyno: &DynoRecord| (dyno.dyno.to_string(), dyno.address.port(), dyno.generation.0);
        declared.records().iter().map(tell).collect()
    }

    #[test]
    fn a_dyno_that_stays_keeps_its_name_and_generation() {
        let first = DeclaredDynos::default().replaced_by(&apps(&[1, 2]));
        assert_eq!(told(&first), [("web.1".into(), 1, 1), ("web.2".into(), 2, 2)]);
        let second = first.replaced_by(&apps(&[3, 2]));
        assert_eq!(told(&second), [("web.1".into(), 3, 3), ("web.2".into(), 2, 2)]);
        assert_eq!(second.replaced_by(&apps(&[3, 2])), second);
        let back = second.replaced_by(&[]).replaced_by(&apps(&[1]));
        assert_eq!(told(&back), [("web.1".into(), 1, 4)], "an address that comes back is a new dyno");
    }

    proptest! {
        #[test]
        fn names_are_unique_and_generations_never_return(lists in prop::collection::vec(
            prop::collection::btree_set(1_u16..12, 0..8), 1..6,
        )) {
            let mut declared = DeclaredDynos::default();
            let mut ever = HashMap::new();
            for ports in lists {
                declared = declared.replaced_by(&apps(&ports.into_iter().collect::<Vec<_>>()));
                let names: BTreeSet<_> = declared.records().iter().map(|dyno| dyno.dyno.clone()).collect();
                prop_assert_eq!(names.len(), declared.records().len());
                for dyno in declared.records() {
                    let same = ever.entry(dyno.generation).or_insert_with(|| dyno.clone());
                    prop_assert_eq!(&*same, dyno);
                }
            }
        }
    }
}
