//! `busbar certs`

use super::ask::Ask;
use crate::{
    admin::api::{CertificateRow, RenewRequest, Renewing},
    failure::Failure,
    out, say,
};

/// Show the certificates of a router, or have one renewed
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
        }
    }
}
