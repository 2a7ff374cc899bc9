//! `busbar certs`

use std::path::{Path, PathBuf};

use super::ask::Ask;
use crate::{
    admin::api::{CertificateRow, RenewRequest, Renewing, Uploaded},
    failure::Failure,
    out, say,
};

/// Show the certificates of a router, have one renewed, add or remove one
#[derive(Debug, clap::Args)]
pub(crate) struct Certs {
    #[command(subcommand)]
    deed: Option<Deed>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ask: Ask,
}

#[derive(Debug, clap::Subcommand)]
enum Deed {
    /// Have the certificate for a name requested anew, now
    Renew {
        /// The name: shop.example.com, or '*.shop.example.com'
        name: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Give the router a certificate to keep, in place of the one of that name
    Add {
        /// What it is called
        name: String,
        /// The server's own certificate, then those that signed it (PEM)
        #[arg(long, value_name = "FILE")]
        chain: PathBuf,
        /// Its private key (PEM)
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        #[command(flatten)]
        ask: Ask,
    },
    /// Take away a certificate that was added
    Remove {
        /// What it is called
        name: String,
        #[command(flatten)]
        ask: Ask,
    },
}

impl Certs {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.deed {
            None => {
                let rows: Vec<CertificateRow> =
                    self.ask.ask(async |client| Ok(client.get("/v1/certificates").await?))?;
                if self.json { out::print_json(&rows) } else { out::print(&say::certs::certs(&rows)) }
            }
            Some(Deed::Renew { name, ask }) => {
                let request = RenewRequest { name };
                let renewing: Renewing =
                    ask.ask(async |client| Ok(client.post("/v1/certificates/renew", &request).await?))?;
                out::print(&format!("Requesting a certificate for {}... see busbar certs\n", renewing.name))
            }
            Some(Deed::Add { name, chain, key, ask }) => {
                let text = [read(&chain)?, b"\n".to_vec(), read(&key)?].concat();
                let path = path(&name)?;
                let added: Uploaded =
                    ask.ask(async |client| Ok(client.put(&path, text.clone().into()).await?))?;
                out::print(&format!("Added {} for {}\n", added.name, added.names.join(", ")))
            }
            Some(Deed::Remove { name, ask }) => {
                let path = path(&name)?;
                let removed: Uploaded = ask.ask(async |client| Ok(client.delete(&path).await?))?;
                out::print(&format!("Removed {}\n", removed.name))
            }
        }
    }
}

/// Where a certificate of that name is; one that cannot be part of a path is none for a certificate either.
fn path(name: &str) -> Result<String, Failure> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(plain) {
        let said = format!("{name:?} is no name for a certificate; use a-z, 0-9, `-`, `_` and `.`");
        return Err(Failure::Usage(said));
    }
    Ok(format!("/v1/certificates/{name}"))
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|source| Failure::File {
        what: "the file",
        path: file.display().to_string(),
        deed: "read",
        source,
        advice: "check its path and permissions",
    })
}
