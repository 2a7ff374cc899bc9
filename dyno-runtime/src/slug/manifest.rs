//! What a slug says about itself: `slug.json`, its first entry. Pure.

use std::collections::BTreeMap;

use busbar_registry::{AppName, ProcessType};
use serde::{Deserialize, Serialize};

/// The version of the format that is written, and the only one that is read.
const FORMAT: u32 = 1;

/// What a slug says about itself. Nothing here depends on when or by whom it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the format: 1.
    pub format: u32,
    /// The program that made it, like `busbar 0.1.0`.
    pub made_by: String,
    /// The app it was made for.
    pub app: AppName,
    /// The system it was made on and for, like `debian-12`; what buildpacks get as `STACK`.
    pub stack: String,
    /// The command of each process type: the Procfile, and what buildpacks gave.
    pub process_types: BTreeMap<ProcessType, String>,
    /// Config vars that buildpacks gave; those of the app win over them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config_vars: BTreeMap<String, String>,
    /// The buildpacks that made it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buildpacks: Vec<String>,
    /// What the source was, such as a commit, if somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_version: Option<String>,
    /// Files, directories and symlinks, `app/` itself included.
    pub entries: u64,
    /// The bytes of all files.
    pub bytes: u64,
}

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The slug begins with something else.
    #[error("the slug does not begin with slug.json; make it with `busbar slug build`")]
    Missing,
    /// Not JSON, or not of this form.
    #[error("slug.json: {0}")]
    Json(#[from] serde_json::Error),
    /// Made by a later version of Busbar.
    #[error(
        "slug.json: format {0} is not known to this busbar, which reads format {FORMAT}; use a newer one"
    )]
    Format(u32),
    /// It says one thing and the slug is another.
    #[error("slug.json speaks of {said} {what}, and there are {found}")]
    Untrue {
        /// Of what.
        what: &'static str,
        /// What it says.
        said: u64,
        /// What is there.
        found: u64,
    },
}

#[derive(Deserialize)]
struct Version {
    format: u32,
}

impl Manifest {
    /// One without contents yet.
    pub(super) fn new(app: AppName, stack: String) -> Self {
        Self {
            format: FORMAT,
            made_by: concat!("busbar ", env!("CARGO_PKG_VERSION")).to_owned(),
            app,
            stack,
            process_types: BTreeMap::new(),
            config_vars: BTreeMap::new(),
            buildpacks: Vec::new(),
            source_version: None,
            entries: 0,
            bytes: 0,
        }
    }

    /// Reads one. A later format is told by its version, whatever else it has.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub(super) fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        let Version { format } = serde_json::from_slice(json)?;
        if format != FORMAT {
            return Err(ManifestError::Format(format));
        }
        Ok(serde_json::from_slice(json)?)
    }

    /// Its bytes, the same for the same manifest.
    pub(super) fn to_json(&self) -> Result<Vec<u8>, ManifestError> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }

    /// Whether it speaks the truth.
    pub(super) fn check(&self, entries: u64, bytes: u64) -> Result<(), ManifestError> {
        for (what, said, found) in [("entries", self.entries, entries), ("bytes", self.bytes, bytes)] {
            if said != found {
                return Err(ManifestError::Untrue { what, said, found });
            }
        }
        Ok(())
    }
}
