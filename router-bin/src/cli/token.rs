//! `busbar token`

use std::path::PathBuf;

use busbar_registry::AppName;

use crate::{failure::Failure, key_file, out};

/// Make the token that lets a runtime register the dynos of one app
///
/// The token is printed; put it into a file that only the runtime may read:
/// (umask 077; busbar token shop --key-file /etc/busbar/registry.key > shop.token)
#[derive(Debug, clap::Args)]
pub(crate) struct Token {
    /// The app
    #[arg(value_name = "APP", required_unless_present = "new_key")]
    app: Option<AppName>,
    /// The key of the router's registry, as in `key_file` of its `[registry]`
    #[arg(long, env = "BUSBAR_KEY_FILE", value_name = "FILE")]
    key_file: PathBuf,
    /// Make the key first, in a new file that only its owner may read
    #[arg(long)]
    new_key: bool,
}

impl Token {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.new_key {
            key_file::create(&self.key_file)?;
            out::note(format_args!("made the key {}", self.key_file.display()));
        }
        match self.app {
            Some(app) => {
                out::print(&format!("{}\n", key_file::read(&self.key_file)?.app_token(&app).secret()))
            }
            None => Ok(()),
        }
    }
}
