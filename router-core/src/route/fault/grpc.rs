//! What a fault is to a client that speaks gRPC: such a client looks for a status of its own in the head of the answer, and
//! makes little of HTTP's.
//!
//! - [`Status`]: gRPC's own codes, those of them that a router has a use for.
//! - [`is_grpc`]: whether a request is one of gRPC.

use super::{Fault, RequestFlaw};

/// A status of gRPC (its `statuscodes.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The client has gone.
    Cancelled = 1,
    /// Too late.
    DeadlineExceeded = 4,
    /// Too large.
    ResourceExhausted = 8,
    /// There is no such thing here.
    Unimplemented = 12,
    /// Somebody broke a rule of the protocol.
    Internal = 13,
    /// Not now; a client may try again, and many do so by themselves.
    Unavailable = 14,
}

/// Whether a request with this `Content-Type` is one of gRPC, or of gRPC-Web.
pub fn is_grpc(content_type: &[u8]) -> bool {
    let Some((kind, rest)) = content_type.split_at_checked(b"application/grpc".len()) else { return false };
    kind.eq_ignore_ascii_case(b"application/grpc")
        && matches!(rest.first(), None | Some(b'+' | b';' | b'-' | b' '))
}

impl Fault {
    /// What a client that speaks gRPC is told in its own words.
    pub const fn grpc_status(self) -> Status {
        match self {
            Self::ClientInterrupted | Self::ClientIdle | Self::StreamBroken => Status::Cancelled,
            Self::RequestTimeout | Self::IdleConnection => Status::DeadlineExceeded,
            Self::UnknownHost | Self::BlankApp => Status::Unimplemented,
            Self::RequestFlaw(
                RequestFlaw::HeaderTooLong
                | RequestFlaw::TooManyHeaders
                | RequestFlaw::HeadTooLarge
                | RequestFlaw::TargetTooLong,
            ) => Status::ResourceExhausted,
            Self::PoorlyFormattedResponse
            | Self::ResponseRestriction(_)
            | Self::RequestError(_)
            | Self::RequestFlaw(_) => Status::Internal,
            Self::AppCrashed
            | Self::BacklogTooDeep
            | Self::ClosedWithoutResponse
            | Self::NoWebProcesses
            | Self::ServerRequestInterrupted
            | Self::ConnectTimeout
            | Self::BootTimeout
            | Self::ConnectRefused
            | Self::DynoMismatch(_)
            | Self::RequestLimit
            | Self::ForcedClose
            | Self::Misdirected
            | Self::TlsMismatch
            | Self::AllQuarantined
            | Self::Maintenance
            | Self::PlatformError => Status::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_known_by_its_content_type() {
        let yes: [&[u8]; 4] = [
            b"application/grpc",
            b"application/grpc+proto",
            b"Application/GRPC;x=y",
            b"application/grpc-web",
        ];
        assert!(yes.into_iter().all(is_grpc));
        let no: [&[u8]; 4] = [b"", b"application/json", b"application/grpcx", b"text/application/grpc"];
        assert!(!no.into_iter().any(is_grpc));
    }
}
