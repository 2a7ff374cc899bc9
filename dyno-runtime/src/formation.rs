//! How many dynos of each process type there should be. Pure.
//!
//! - [`Formation`]: `web=2 worker=1`, written and read in that form; [`Formation::default_for`] a Procfile.
//! - [`ScaleChange`]: `web=3`, `web+1`, `worker-1`; [`Formation::changed`] applies them all or none.
//! - [`reconcile`]: what is wanted and what runs → the [`Step`]s between.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use busbar_registry::{DynoName, NameError, ProcessType};

use crate::procfile::Procfile;

/// At most this many dynos in one formation (Heroku's limit per app).
pub const MAX_DYNOS: u32 = 100;

/// How many dynos of each process type there should be. A type that is not named has none.
///
/// ```
/// use dyno_runtime::Formation;
/// let formation: Formation = "web=2,worker=1".parse().unwrap();
/// assert_eq!(formation.changed(&["web+1".parse().unwrap()]).unwrap().to_string(), "web=3 worker=1");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Formation {
    quantities: BTreeMap<ProcessType, u32>,
}

/// One change to a formation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleChange {
    /// The process type that changes.
    pub process_type: ProcessType,
    /// How it changes.
    pub amount: Amount,
}

/// How the quantity of a process type changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// `web=3`
    Set(u32),
    /// `web+1`
    Add(u32),
    /// `web-1`
    Remove(u32),
}

/// Why a formation or a change to it was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormationError {
    /// It is not of the form `web=3`, `web+1` or `web-1`.
    #[error(
        "{0:?} is not a formation; write type=quantity, type+more or type-less, like web=2, web+1 or worker-1"
    )]
    Form(String),
    /// The part before the sign is not a process type.
    #[error(transparent)]
    Type(#[from] NameError),
    /// The Procfile does not have it.
    #[error("the Procfile has no process type {unknown}; it has {known}")]
    UnknownType {
        /// The type asked for.
        unknown: ProcessType,
        /// All types there are, separated by commas.
        known: String,
    },
    /// A type stands there twice.
    #[error("process type {0} is given more than once")]
    Twice(ProcessType),
    /// There are not so many.
    #[error("cannot remove {less} {process_type} dynos; there are {quantity}")]
    BelowZero {
        /// The type that was to shrink.
        process_type: ProcessType,
        /// How many were to go.
        less: u32,
        /// How many there are.
        quantity: u32,
    },
    /// More than [`MAX_DYNOS`] altogether.
    #[error("{0} dynos are too many; one app can have {MAX_DYNOS}")]
    TooMany(u64),
}

/// What to do so that what runs becomes what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Stop this dyno.
    Stop(DynoName),
    /// Start this dyno.
    Start(DynoName),
}

impl Formation {
    /// What runs when nobody says otherwise: one dyno of each type, as foreman does; none of `release`, which is a
    /// task and not a process.
    pub fn default_for(procfile: &Procfile) -> Self {
        let quantity = |process_type: &ProcessType| u32::from(process_type.as_str() != "release");
        Self { quantities: procfile.types().map(|t| (t.clone(), quantity(t))).collect() }
    }

    /// A formation with these quantities.
    ///
    /// # Errors
    /// [`FormationError::Twice`], [`FormationError::TooMany`].
    pub fn new(quantities: impl IntoIterator<Item = (ProcessType, u32)>) -> Result<Self, FormationError> {
        let mut formation = Self::default();
        for (process_type, quantity) in quantities {
            if formation.quantities.insert(process_type.clone(), quantity).is_some() {
                return Err(FormationError::Twice(process_type));
            }
        }
        formation.within_bounds()
    }

    /// How many dynos of this type there should be.
    pub fn quantity(&self, process_type: &ProcessType) -> u32 {
        self.quantities.get(process_type).copied().unwrap_or(0)
    }

    /// Each type with its quantity, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&ProcessType, u32)> {
        self.quantities.iter().map(|(process_type, quantity)| (process_type, *quantity))
    }

    /// The formation after these changes, in order: all of them, or none.
    ///
    /// # Errors
    /// [`FormationError::BelowZero`], [`FormationError::TooMany`].
    pub fn changed(&self, changes: &[ScaleChange]) -> Result<Self, FormationError> {
        let mut next = self.clone();
        for ScaleChange { process_type, amount } in changes {
            let quantity = next.quantity(process_type);
            let changed = match *amount {
                Amount::Set(exactly) => exactly,
                Amount::Add(more) => quantity.saturating_add(more),
                Amount::Remove(less) => quantity.checked_sub(less).ok_or_else(|| {
                    FormationError::BelowZero { process_type: process_type.clone(), less, quantity }
                })?,
            };
            next.quantities.insert(process_type.clone(), changed);
        }
        next.within_bounds()
    }

    /// Refuses types that the Procfile does not have.
    ///
    /// # Errors
    /// [`FormationError::UnknownType`].
    pub fn check_against(&self, procfile: &Procfile) -> Result<(), FormationError> {
        let Some(unknown) = self.quantities.keys().find(|t| procfile.command(t).is_none()) else {
            return Ok(());
        };
        let known: Vec<&str> = procfile.types().map(ProcessType::as_str).collect();
        Err(FormationError::UnknownType { unknown: unknown.clone(), known: known.join(", ") })
    }

    fn within_bounds(self) -> Result<Self, FormationError> {
        let all: u64 = self.quantities.values().copied().map(u64::from).sum();
        if all > u64::from(MAX_DYNOS) { Err(FormationError::TooMany(all)) } else { Ok(self) }
    }
}

impl fmt::Display for Formation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (process_type, quantity)) in self.iter().enumerate() {
            let between = if nth == 0 { "" } else { " " };
            write!(f, "{between}{process_type}={quantity}")?;
        }
        Ok(())
    }
}

impl FromStr for Formation {
    type Err = FormationError;
    /// Reads `web=2,worker=1`; commas and spaces separate.
    fn from_str(text: &str) -> Result<Self, FormationError> {
        let parts = text.split([',', ' ']).filter(|part| !part.is_empty());
        let quantities = parts.map(|part| match part.parse()? {
            ScaleChange { process_type, amount: Amount::Set(quantity) } => Ok((process_type, quantity)),
            _ => Err(FormationError::Form(part.to_owned())),
        });
        Self::new(quantities.collect::<Result<Vec<_>, _>>()?)
    }
}

impl FromStr for ScaleChange {
    type Err = FormationError;
    /// Reads `web=3`, `web+1`, `worker-1`. A `-` may also be part of the type, so the last sign counts.
    fn from_str(text: &str) -> Result<Self, FormationError> {
        let refused = || FormationError::Form(text.to_owned());
        let at = text.rfind(['=', '+', '-']).ok_or_else(refused)?;
        let (process_type, signed) = text.split_at_checked(at).ok_or_else(refused)?;
        let (sign, number) = signed.split_at_checked(1).ok_or_else(refused)?;
        if !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refused());
        }
        let number = number.parse().map_err(|_| refused())?;
        let amount = match sign {
            "=" => Amount::Set(number),
            "+" => Amount::Add(number),
            _ => Amount::Remove(number),
        };
        Ok(Self { process_type: process_type.parse()?, amount })
    }
}

/// The steps from what runs to what is wanted: first stops, highest numbers first, then starts, lowest first.
pub fn reconcile(wanted: &Formation, running: &BTreeSet<DynoName>) -> Vec<Step> {
    let surplus = running.iter().rev().filter(|dyno| dyno.index > wanted.quantity(&dyno.process_type));
    let names = wanted.iter().flat_map(|(t, quantity)| (1..=quantity).map(|i| DynoName::new(t.clone(), i)));
    let missing = names.filter(|dyno| !running.contains(dyno));
    surplus.cloned().map(Step::Stop).chain(missing.map(Step::Start)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn formation(text: &str) -> Formation {
        text.parse().unwrap()
    }
    fn dynos(names: &[&str]) -> BTreeSet<DynoName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn one_of_each_but_release_is_the_default() {
        let procfile = Procfile::parse("web: a\nworker: b\nrelease: c").unwrap();
        assert_eq!(Formation::default_for(&procfile).to_string(), "release=0 web=1 worker=1");
    }

    #[test]
    fn changes_are_herokus() {
        let start = formation("web=2 my-worker-2=1");
        for (change, after) in [
            ("web=3", "my-worker-2=1 web=3"),
            ("web+1", "my-worker-2=1 web=3"),
            ("my-worker-2-1", "my-worker-2=0 web=2"),
            ("clock=1", "clock=1 my-worker-2=1 web=2"),
        ] {
            assert_eq!(start.changed(&[change.parse().unwrap()]).unwrap().to_string(), after, "{change}");
        }
        for bad in ["web", "web=", "web=x", "=1", "web=+1", "web=-1", "we b=1", "web=99999999999", ""] {
            assert!(bad.parse::<ScaleChange>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn more_than_there_are_cannot_be_removed() {
        let refused = formation("web=1").changed(&["web-2".parse().unwrap()]).unwrap_err();
        assert_eq!(refused.to_string(), "cannot remove 2 web dynos; there are 1");
    }

    #[test]
    fn a_formation_is_bounded_and_says_each_type_once() {
        assert!(matches!("web=101".parse::<Formation>(), Err(FormationError::TooMany(101))));
        assert!(matches!("web=1,web=2".parse::<Formation>(), Err(FormationError::Twice(_))));
        assert!(matches!("web+1".parse::<Formation>(), Err(FormationError::Form(_))));
    }

    #[test]
    fn a_type_the_procfile_lacks_is_named_with_those_it_has() {
        let procfile = Procfile::parse("web: a\nworker: b").unwrap();
        let refused = formation("wrker=1").check_against(&procfile).unwrap_err();
        assert_eq!(refused.to_string(), "the Procfile has no process type wrker; it has web, worker");
    }

    #[test]
    fn the_highest_numbers_are_stopped_first() {
        let steps = reconcile(&formation("web=1"), &dynos(&["web.1", "web.2", "web.3"]));
        assert_eq!(steps, [Step::Stop("web.3".parse().unwrap()), Step::Stop("web.2".parse().unwrap())]);
    }

    #[test]
    fn a_gap_is_filled() {
        let steps = reconcile(&formation("web=3"), &dynos(&["web.1", "web.3"]));
        assert_eq!(steps, [Step::Start("web.2".parse().unwrap())]);
    }

    proptest! {
        #[test]
        fn after_the_steps_exactly_the_wanted_dynos_run(
            web in 0u32..8, worker in 0u32..8,
            running in prop::collection::btree_set(("(web|worker|old)", 1u32..10), 0..20),
        ) {
            let wanted = formation(&format!("web={web},worker={worker}"));
            let mut running: BTreeSet<DynoName> =
                running.into_iter().map(|(t, i)| DynoName::new(t.parse().unwrap(), i)).collect();
            for step in reconcile(&wanted, &running) {
                match step {
                    Step::Stop(dyno) => prop_assert!(running.remove(&dyno)),
                    Step::Start(dyno) => prop_assert!(running.insert(dyno)),
                }
            }
            let right: BTreeSet<DynoName> =
                wanted.iter().flat_map(|(t, n)| (1..=n).map(|i| DynoName::new(t.clone(), i))).collect();
            prop_assert_eq!(&running, &right);
            prop_assert!(reconcile(&wanted, &running).is_empty());
        }

        #[test]
        fn a_formation_reads_back_what_it_writes(web in 0u32..50, worker in 0u32..50) {
            let formation = formation(&format!("web={web} worker={worker}"));
            prop_assert_eq!(formation.to_string().parse::<Formation>().unwrap(), formation);
        }
    }
}
