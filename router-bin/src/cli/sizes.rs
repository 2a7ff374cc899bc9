//! `--size standard-2x`, `--size web=standard-2x,worker=eco`

use std::str::FromStr;

use busbar_registry::ProcessType;
use dyno_runtime::{Formation, FormationError, NoSize, ScaleChange, Size};

/// How large dynos are to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// All of them, but for types whose size stands in the formation.
    All(Size),
    /// Those of these types.
    Each(Vec<(ProcessType, Size)>),
}

/// Not spelled as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoSizes {
    /// No size.
    #[error(transparent)]
    Size(#[from] NoSize),
    /// No type before the sign.
    #[error(transparent)]
    Type(#[from] busbar_registry::NameError),
}

impl FromStr for Sizes {
    type Err = NoSizes;
    fn from_str(text: &str) -> Result<Self, NoSizes> {
        if !text.contains('=') {
            return Ok(Self::All(text.parse()?));
        }
        let one = |part: &str| {
            let (process_type, size) = part.split_once('=').unwrap_or(("", part));
            Ok((process_type.trim().parse()?, size.trim().parse()?))
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Self::Each)
    }
}

impl Sizes {
    /// The formation with these sizes.
    ///
    /// # Errors
    /// As [`Formation::changed`].
    pub(crate) fn of(self, mut formation: Formation) -> Result<Formation, FormationError> {
        match self {
            Self::All(size) => {
                formation.set_sizes(size);
                Ok(formation)
            }
            Self::Each(sizes) => {
                let keep = dyno_runtime::formation::Amount::Keep;
                let change =
                    |(process_type, size)| ScaleChange { process_type, amount: keep, size: Some(size) };
                formation.changed(&sizes.into_iter().map(change).collect::<Vec<_>>())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_size_is_for_all_and_several_are_for_their_types() {
        let sized = |sizes: &str| {
            let formation: Formation = "web=2,worker=1:basic".parse().unwrap();
            sizes.parse::<Sizes>().unwrap().of(formation).unwrap().to_string()
        };
        assert_eq!(sized("standard-2x"), "web=2:standard-2x worker=1:basic");
        assert_eq!(sized("worker=eco,web=custom-1GiB"), "web=2:custom-1024mib-1024-256 worker=1:eco");
        for wrong in ["", "huge", "web=", "web=1", "=eco", "web=eco,"] {
            assert!(wrong.parse::<Sizes>().is_err(), "{wrong:?}");
        }
    }
}
