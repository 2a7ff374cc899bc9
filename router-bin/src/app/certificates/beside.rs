//! What stands beside the certificates: keys of session tickets, and who signs the certificates of clients. Each is read
//! again when its files change; what is wrong with them is said once, and the old ones stay in force.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use router_core::tls::{Terminator, TicketKeys, Tickets};

use super::stamp::{Stamp, stamps};
use crate::{config::ClientFiles, failure::Failure, out};

/// The keys of session tickets, and the file they are from.
pub(super) struct TicketFile {
    pub(super) tickets: Tickets,
    file: Option<PathBuf>,
    seen: Vec<Stamp>,
}

impl TicketFile {
    /// Reads the file; without one the process makes its own keys.
    ///
    /// # Errors
    /// [`Failure::TicketKeys`], [`Failure::Tls`].
    pub(super) fn start(file: Option<&Path>) -> Result<Self, Failure> {
        let seen = stamps(file.into_iter());
        let tickets = match file {
            Some(file) => Tickets::shared(TicketKeys::load(file)?),
            None => Tickets::new()?,
        };
        Ok(Self { tickets, file: file.map(Path::to_owned), seen })
    }

    pub(super) fn look(&mut self) {
        let Some(file) = &self.file else { return };
        let seen = stamps(std::iter::once(file.as_path()));
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        match TicketKeys::load(file) {
            Ok(keys) => {
                self.tickets.replace(keys);
                out::note("ticket keys read again: their file has changed");
            }
            Err(error) => out::note(format_args!("the old ticket keys stay in force: {error}")),
        }
    }
}

/// A listener that asks clients for a certificate.
pub(super) struct Asking {
    terminator: Terminator,
    files: ClientFiles,
    seen: Vec<Stamp>,
}

impl Asking {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Failure::Certificate`], [`Failure::Tls`].
    pub(super) fn start(terminator: Terminator, files: &ClientFiles) -> Result<Self, Failure> {
        let seen = stamps(files.files());
        terminator.ask_clients(&files.load()?)?;
        let asking = Self { terminator, files: files.clone(), seen };
        asking.warn(SystemTime::now());
        Ok(asking)
    }

    pub(super) fn look(&mut self) {
        let seen = stamps(self.files.files());
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        let read = self.files.load().map_err(Failure::from);
        match read.and_then(|clients| Ok(self.terminator.ask_clients(&clients)?)) {
            Ok(()) => {
                out::note("authorities of clients read again: their files have changed");
                self.warn(SystemTime::now());
            }
            Err(error) => out::note(format_args!("the old authorities of clients stay in force: {error}")),
        }
    }

    /// Says that clients are refused because a list of revoked certificates is out of date.
    pub(super) fn warn(&self, now: SystemTime) {
        let Ok(clients) = self.files.load() else { return };
        if let Some((file, end)) = clients.first_list_to_end()
            && end <= now
        {
            let file = file.display();
            tracing::error!(
                "the list of revoked certificates {file} is out of date, so clients of its authority are refused; fetch a new one"
            );
        }
    }
}
