//! How many dynos of each process type there should be, and of which size. Pure.
//!
//! - [`Formation`]: `web=2:standard-2x worker=1`, written and read in that form; [`Formation::default_for`] a Procfile.
//! - [`ScaleChange`]: `web=3`, `web+1`, `worker-1`, `web=3:standard-2x`, `web=standard-2x`; [`Formation::changed`]
//!   applies them all or none.
//! - [`reconcile`]: what is wanted and what runs → the [`Step`]s between.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use busbar_registry::{DynoName, NameError, ProcessType};

use crate::{
    procfile::Procfile,
    size::{NoSize, Size},
};

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
    types: BTreeMap<ProcessType, Share>,
}

/// What there should be of one process type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// How many dynos.
    pub quantity: u32,
    /// Of which size. `None`: as the app's other limits say.
    pub size: Option<Size>,
}

/// One change to a formation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleChange {
    /// The process type that changes.
    pub process_type: ProcessType,
    /// How many there are to be.
    pub amount: Amount,
    /// Of which size; `None`: as before.
    pub size: Option<Size>,
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
    /// `web=standard-2x`: only the size changes.
    Keep,
}

/// Why a formation or a change to it was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormationError {
    /// It is not of the form `web=3`, `web+1` or `web-1`.
    #[error(
        "{0:?} is not a formation; write type=quantity, type+more or type-less, like web=2, web+1 or worker-1, and \
         a size behind it if you like, like web=2:standard-2x or web=standard-2x"
    )]
    Form(String),
    /// The part after the colon is no size.
    #[error(transparent)]
    Size(#[from] NoSize),
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
        let share = |process_type: &ProcessType| Share {
            quantity: u32::from(process_type.as_str() != "release"),
            size: None,
        };
        Self { types: procfile.types().map(|t| (t.clone(), share(t))).collect() }
    }

    /// A formation of these types.
    ///
    /// # Errors
    /// [`FormationError::Twice`], [`FormationError::TooMany`].
    pub fn new(types: impl IntoIterator<Item = (ProcessType, Share)>) -> Result<Self, FormationError> {
        let mut formation = Self::default();
        for (process_type, share) in types {
            if formation.types.insert(process_type.clone(), share).is_some() {
                return Err(FormationError::Twice(process_type));
            }
        }
        formation.within_bounds()
    }

    /// How many dynos of this type there should be.
    pub fn quantity(&self, process_type: &ProcessType) -> u32 {
        self.types.get(process_type).map_or(0, |share| share.quantity)
    }

    /// The size of dynos of this type, if it has one.
    pub fn size(&self, process_type: &ProcessType) -> Option<Size> {
        self.types.get(process_type)?.size
    }

    /// Whether any type has a size.
    pub fn has_sizes(&self) -> bool {
        self.types.values().any(|share| share.size.is_some())
    }

    /// Gives all types that have no size this one.
    pub fn set_sizes(&mut self, size: Size) {
        for share in self.types.values_mut() {
            share.size = share.size.or(Some(size));
        }
    }

    /// Each type with what there should be of it, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&ProcessType, Share)> {
        self.types.iter().map(|(process_type, share)| (process_type, *share))
    }

    /// The formation after these changes, in order: all of them, or none.
    ///
    /// # Errors
    /// [`FormationError::BelowZero`], [`FormationError::TooMany`].
    pub fn changed(&self, changes: &[ScaleChange]) -> Result<Self, FormationError> {
        let mut next = self.clone();
        for ScaleChange { process_type, amount, size } in changes {
            let quantity = next.quantity(process_type);
            let changed = match *amount {
                Amount::Set(exactly) => exactly,
                Amount::Add(more) => quantity.saturating_add(more),
                Amount::Remove(less) => quantity.checked_sub(less).ok_or_else(|| {
                    FormationError::BelowZero { process_type: process_type.clone(), less, quantity }
                })?,
                Amount::Keep => quantity,
            };
            let size = size.or(next.size(process_type));
            next.types.insert(process_type.clone(), Share { quantity: changed, size });
        }
        next.within_bounds()
    }

    /// Refuses types that the Procfile does not have.
    ///
    /// # Errors
    /// [`FormationError::UnknownType`].
    pub fn check_against(&self, procfile: &Procfile) -> Result<(), FormationError> {
        let Some(unknown) = self.types.keys().find(|t| procfile.command(t).is_none()) else {
            return Ok(());
        };
        let known: Vec<&str> = procfile.types().map(ProcessType::as_str).collect();
        Err(FormationError::UnknownType { unknown: unknown.clone(), known: known.join(", ") })
    }

    fn within_bounds(self) -> Result<Self, FormationError> {
        let all: u64 = self.types.values().map(|share| u64::from(share.quantity)).sum();
        if all > u64::from(MAX_DYNOS) { Err(FormationError::TooMany(all)) } else { Ok(self) }
    }
}

impl fmt::Display for Formation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (process_type, Share { quantity, size })) in self.iter().enumerate() {
            let between = if nth == 0 { "" } else { " " };
            write!(f, "{between}{process_type}={quantity}")?;
            if let Some(size) = size {
                write!(f, ":{}", size.to_word())?;
            }
        }
        Ok(())
    }
}

impl FromStr for Formation {
    type Err = FormationError;
    /// Reads `web=2:standard-2x,worker=1`; commas and spaces separate.
    fn from_str(text: &str) -> Result<Self, FormationError> {
        let parts = text.split([',', ' ']).filter(|part| !part.is_empty());
        let types = parts.map(|part| match part.parse()? {
            ScaleChange { process_type, amount: Amount::Set(quantity), size } => {
                Ok((process_type, Share { quantity, size }))
            }
            _ => Err(FormationError::Form(part.to_owned())),
        });
        Self::new(types.collect::<Result<Vec<_>, _>>()?)
    }
}

impl FromStr for ScaleChange {
    type Err = FormationError;
    /// Reads `web=3`, `web+1`, `worker-1`, each with `:size` behind it or without, and `web=size`. A `-` may also be
    /// part of the type, so the last sign counts.
    fn from_str(text: &str) -> Result<Self, FormationError> {
        let refused = || FormationError::Form(text.to_owned());
        let (change, size) = match text.split_once(':') {
            Some((change, size)) => (change, Some(size.parse()?)),
            None => (text, None),
        };
        let at = change.find('=').or_else(|| change.rfind(['+', '-'])).ok_or_else(refused)?;
        let (process_type, signed) = change.split_at_checked(at).ok_or_else(refused)?;
        let (sign, amount) = signed.split_at_checked(1).ok_or_else(refused)?;
        let process_type = process_type.parse()?;
        if sign == "=" && size.is_none() && amount.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Ok(Self { process_type, amount: Amount::Keep, size: Some(amount.parse()?) });
        }
        let digits = amount.bytes().all(|b| b.is_ascii_digit());
        let number = amount.parse().ok().filter(|_| digits).ok_or_else(refused)?;
        let amount = match sign {
            "=" => Amount::Set(number),
            "+" => Amount::Add(number),
            _ => Amount::Remove(number),
        };
        Ok(Self { process_type, amount, size })
    }
}

/// The steps from what runs to what is wanted: first stops, highest numbers first, then starts, lowest first.
pub fn reconcile(wanted: &Formation, running: &BTreeSet<DynoName>) -> Vec<Step> {
    let surplus = running.iter().rev().filter(|dyno| dyno.index > wanted.quantity(&dyno.process_type));
    let names =
        wanted.iter().flat_map(|(t, share)| (1..=share.quantity).map(|i| DynoName::new(t.clone(), i)));
    let missing = names.filter(|dyno| !running.contains(dyno));
    surplus.cloned().map(Step::Stop).chain(missing.map(Step::Start)).collect()
}

#[cfg(test)]
mod tests;
