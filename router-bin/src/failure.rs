//! How the program fails: the message on standard error and the exit code.

use std::{io, process::ExitCode};

use busbar_registry::{Address, Refusal};
use dyno_runtime::{buildpack::BuildError, slug::SlugError};

use crate::{admin_client::CallError, config::Refused, out};

/// The exit codes of `busbar`; docs/operating.md lists them. 0 is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for could not be done.
    Failed = 1,
    /// The command line is wrong. clap uses the same number.
    Usage = 2,
    /// A configuration, a Procfile or an `.env` file is wrong.
    Configuration = 3,
    /// An address or a socket file cannot be had.
    Bind = 4,
    /// The process to talk to does not answer.
    Unreachable = 5,
    /// Ctrl-C a second time: stopped without waiting.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why the program ends without success. Each message says what happened, to which thing, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A configuration file.
    #[error(transparent)]
    Config(#[from] Refused),
    /// What the configuration declares is taken by others.
    #[error(transparent)]
    Declared(#[from] crate::declared::NotDeclared),
    /// A directory is no app.
    #[error(transparent)]
    App(#[from] dyno_runtime::DefinitionError),
    /// A slug.
    #[error("{r17}{0}", r17 = if matches!(.0, SlugError::Checksum { .. }) { "Error R17 (Checksum error) -> " } else { "" })]
    Slug(#[from] SlugError),
    /// A build.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// An `.env` file.
    #[error("{file} has mistakes\n{source}")]
    EnvFile {
        /// Its path.
        file: String,
        /// All of them.
        source: dyno_runtime::config_vars::EnvFileError,
    },
    /// The runtime does not start.
    #[error("dynos cannot be started: {0}")]
    Runtime(#[from] dyno_runtime::StartError),
    /// The runtime does not run the app.
    #[error("the app cannot be started: {0}")]
    Deploy(#[from] dyno_runtime::RuntimeError),
    /// The registry says no.
    #[error(transparent)]
    Registry(#[from] Refusal),
    /// A certificate.
    #[error(transparent)]
    Certificate(#[from] router_core::tls::CertificateError),
    /// Certificates that came over the admin API.
    #[error(transparent)]
    Uploads(#[from] crate::uploads::UploadError),
    /// The keys of session tickets.
    #[error(transparent)]
    TicketKeys(#[from] router_core::tls::TicketKeysError),
    /// Where requested certificates are kept.
    #[error("certificates cannot be kept: {0}, or choose another `storage` in [acme]")]
    Storage(String),
    /// TLS itself.
    #[error(transparent)]
    Tls(#[from] router_core::tls::TlsError),
    /// Told to stop a second time.
    #[error("stopped at once: what was still open was cut")]
    Interrupted,
    /// A flag that clap cannot check.
    #[error("{0}")]
    Usage(String),
    /// An address is taken or forbidden.
    #[error("cannot listen on {address}: {}; {advice}", reason(.source))]
    Bind {
        /// The address.
        address: Address,
        /// Why.
        source: io::Error,
        /// What to do.
        advice: String,
    },
    /// A socket file cannot be had.
    #[error(transparent)]
    Socket(#[from] crate::admin::socket::SocketError),
    /// A call of the admin API.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A file other than the configuration.
    #[error("{what} {path} cannot be {deed}: {}; {advice}", reason(.source))]
    File {
        /// `log file`, `Procfile`.
        what: &'static str,
        /// Its path.
        path: String,
        /// `read`, `opened`, `written`.
        deed: &'static str,
        /// Why.
        source: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// The kernel refused something that it nearly never refuses.
    #[error("{deed} failed: {source}; see the system's log and limits")]
    System {
        /// What was done.
        deed: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A command that was run ended with this status, and has said why itself.
    #[error("the command ended with status {0}")]
    Status(u8),
    /// Whoever read our output has gone; there is nothing left to do, and nothing is wrong.
    #[error("nobody reads the output")]
    OutputClosed,
}

impl Failure {
    /// Says it on standard error. What is wrong with a file begins with its name and line, as editors like it.
    pub(crate) fn tell(&self) {
        match self {
            Self::Config(Refused::Wrong(_)) => out::lines(self),
            Self::Status(_) => {}
            other => out::note(other),
        }
    }

    /// What the program returns. `None`: nothing is wrong after all.
    pub(crate) fn exit(&self) -> Option<ExitCode> {
        match self {
            Self::Status(status) => Some(ExitCode::from(*status)),
            _ => self.own_exit().map(ExitCode::from),
        }
    }

    fn own_exit(&self) -> Option<Exit> {
        match self {
            Self::Status(_) => None,
            Self::Config(_)
            | Self::Certificate(_)
            | Self::Uploads(_)
            | Self::TicketKeys(_)
            | Self::Declared(_)
            | Self::App(_)
            | Self::EnvFile { .. } => Some(Exit::Configuration),
            Self::Usage(_) => Some(Exit::Usage),
            Self::Interrupted | Self::Build(BuildError::Stopped) | Self::Slug(SlugError::Stopped) => {
                Some(Exit::Interrupted)
            }
            Self::Registry(Refusal::Unreachable { .. }) => Some(Exit::Unreachable),
            Self::Bind { .. } | Self::Socket(_) => Some(Exit::Bind),
            Self::Call(call) if call.is_unreachable() => Some(Exit::Unreachable),
            Self::Call(_)
            | Self::File { .. }
            | Self::System { .. }
            | Self::Tls(_)
            | Self::Storage(_)
            | Self::Runtime(_)
            | Self::Deploy(_)
            | Self::Slug(_)
            | Self::Build(_)
            | Self::Registry(_) => Some(Exit::Failed),
            Self::OutputClosed => None,
        }
    }
}

/// The system's words without their number: `address already in use`.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split_once(" (os error").map_or(text.as_str(), |(text, _)| text);
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_the_systems_words_in_our_sentence() {
        assert_eq!(reason(&io::Error::from_raw_os_error(98)), "address already in use");
        assert_eq!(reason(&io::Error::other("odd")), "odd");
    }
}
