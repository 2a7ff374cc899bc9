//! `busbar validate`

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{
    config::{self, Overrides},
    failure::Failure,
    out,
};

/// Say whether a configuration file is valid, and everything that is wrong with it
#[derive(Debug, clap::Args)]
pub(crate) struct Validate {
    /// The configuration file
    #[arg(value_name = "FILE", env = "BUSBAR_CONFIG")]
    file: PathBuf,
}

impl Validate {
    pub(super) fn run(self) -> Result<(), Failure> {
        check(&self.file, &Overrides::default())
    }
}

/// `edge.toml is valid: 1 app, 2 domains, 2 dynos`
pub(super) fn check(file: &Path, overrides: &Overrides) -> Result<(), Failure> {
    let config = config::read(file, overrides)?;
    let (tally, now) = (config.tally(), SystemTime::now());
    for files in &config.certificates {
        let Ok((certificate, stale)) = files.load(now) else { continue };
        for warning in certificate.good_at(now).err().into_iter().chain(stale) {
            out::note(format_args!("warning: {warning}"));
        }
    }
    out::print(&format!("{} is valid: {tally}\n", file.display()))
}
