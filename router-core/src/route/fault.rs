//! Everything that can end a request other than a dyno's own answer.
//!
//! - [`Fault`]: the closed list, most of it Heroku's H-codes (Dev Center, Error Codes).
//! - [`Mismatch`], [`Restriction`], [`RequestError`], [`RequestFlaw`]: the kinds within one fault.
//! - [`grpc`]: what it is to a client that speaks gRPC.
//! - [`Facts`]: code, status, log level, blame, retry: one `match` without a wildcard gives them.
//! - [`explain`]: what it means in words, for visitors and for operators.
//! - [`errors_markdown`]: `docs/errors.md`, printed from all of this.
//!
//! Not in the list, because a router cannot make them: H16 and H23 (retired by Heroku), H82 and H83 (Heroku's
//! billing and its announced brown-outs).

pub mod explain;
mod facts;
pub mod grpc;
mod markdown;

pub use facts::{At, Blame, Code, Facts, Retry, Sock};
pub use markdown::errors_markdown;

/// Declares an enum together with the list of all its values, which therefore cannot miss one.
macro_rules! closed {
    (@len) => { 1 };
    (@len $Kind:ident) => { $Kind::ALL.len() };
    (@put $all:ident $n:ident $Variant:ident) => { $all[$n] = Self::$Variant; $n += 1; };
    (@put $all:ident $n:ident $Variant:ident $Kind:ident) => {
        let mut kind = 0;
        while kind < $Kind::ALL.len() {
            $all[$n] = Self::$Variant($Kind::ALL[kind]);
            kind += 1;
            $n += 1;
        }
    };
    ($(#[$meta:meta])* pub enum $Enum:ident {
        $(#[$first_meta:meta])* $First:ident,
        $( $(#[$variant_meta:meta])* $Variant:ident $(($Kind:ident))?, )*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $Enum {
            $(#[$first_meta])* $First,
            $( $(#[$variant_meta])* $Variant $(($Kind))?, )*
        }
        impl $Enum {
            /// Each of them once, in ascending order.
            #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses a bad index")]
            pub const ALL: [Self; 1 $( + closed!(@len $($Kind)?) )*] = {
                let mut all = [Self::$First; 1 $( + closed!(@len $($Kind)?) )*];
                let mut n = 1;
                $( closed!(@put all n $Variant $($Kind)?); )*
                assert!(n == all.len());
                all
            };
        }
    };
}

closed! {
    /// What ended a request, other than a dyno's own answer.
    ///
    /// ```
    /// use router_core::route::fault::{At, Fault};
    /// let facts = Fault::RequestTimeout.facts();
    /// assert_eq!(facts.code.map(|code| code.as_str()), Some("H12"));
    /// assert_eq!((facts.status, facts.at, facts.desc), (503, At::Error, "Request timeout"));
    /// ```
    pub enum Fault {
        /// H10: every web dyno of the app has crashed.
        AppCrashed,
        /// H11: too many requests of the app are in flight or waiting.
        BacklogTooDeep,
        /// H12: the dyno sent no byte within the first-byte timeout.
        RequestTimeout,
        /// H13: the dyno closed the connection before it sent a byte.
        ClosedWithoutResponse,
        /// H14: the formation has no web dyno.
        NoWebProcesses,
        /// H15: the dyno was silent for the idle timeout in mid-response, or both sides of an upgraded connection were.
        IdleConnection,
        /// H17: the dyno's response is not HTTP.
        PoorlyFormattedResponse,
        /// H18: the dyno broke the connection after it had begun to answer or to take a request that must not be repeated.
        ServerRequestInterrupted,
        /// H19: no dyno that was tried accepted a connection in time.
        ConnectTimeout,
        /// H20: no dyno came up while the request was held.
        BootTimeout,
        /// H21: every dyno that was tried refused the connection.
        ConnectRefused,
        /// H17, H21: every dyno that was tried accepted the connection and speaks something else than its app says.
        DynoMismatch(Mismatch),
        /// H22: the app's own limit of requests in flight is reached.
        RequestLimit,
        /// H24: the router was stopped and its grace period ended in mid-request.
        ForcedClose,
        /// H25: the response breaks a limit.
        ResponseRestriction(Restriction),
        /// H26: the request breaks a rule, found out when its app was already known.
        RequestError(RequestError),
        /// H27: the client closed before it had the whole response.
        ClientInterrupted,
        /// H28: the client neither sent nor took a byte for the idle timeout when it was its turn.
        ClientIdle,
        /// H31: the request came to a router that does not serve its host on this endpoint.
        Misdirected,
        /// H32: the TLS name (SNI) and the host of the request belong to different certificates.
        TlsMismatch,
        /// H33: an HTTP/2 stream broke and neither side can be blamed for certain.
        StreamBroken,
        /// H34: there are dynos, but every one of them is in quarantine.
        AllQuarantined,
        /// H80: maintenance mode is on.
        Maintenance,
        /// H81: the app was never deployed.
        BlankApp,
        /// H99: the router itself failed.
        PlatformError,
        /// No app answers to this host. It has no code, because there is no app whose log could show it.
        UnknownHost,
        /// The request head breaks HTTP, so that its app is not known.
        RequestFlaw(RequestFlaw),
    }
}

closed! {
    /// What a dyno does not speak although its app's `dyno_protocol` says so.
    pub enum Mismatch {
        /// HTTP/2 (H17).
        NoHttp2,
        /// TLS with a certificate that its app expects (H21).
        Tls,
    }
}

closed! {
    /// Which limit a response breaks (H25).
    pub enum Restriction {
        /// `Content-Length` is not one number.
        ContentLength,
        /// A `Set-Cookie` line is longer than 8192 bytes.
        Cookie,
        /// A header line is longer than 512 KiB, or the head as a whole is too large.
        Header,
        /// The status line is longer than 8192 bytes.
        StatusLine,
    }
}

closed! {
    /// Which rule a request breaks after its app is known (H26).
    pub enum RequestError {
        /// `Expect` asks for something other than `100-continue`.
        Expectation,
        /// `Connection`, `Upgrade` or `Expect` cannot be understood.
        BadHeader,
        /// The chunked body breaks the chunked coding (RFC 9112 section 7.1).
        BadChunk,
        /// The trailer section after the last chunk is not a list of fields.
        BadTrailer,
    }
}

closed! {
    /// What is wrong with a request head, before its app is known.
    ///
    /// Busbar refuses what two HTTP parsers could read differently (RFC 9112 sections 2.2, 5.1, 5.2, 6.3), also
    /// where Heroku's router repaired it.
    pub enum RequestFlaw {
        /// A line ends with LF alone.
        BareLf,
        /// A CR not followed by LF.
        BareCr,
        /// A NUL or another control byte in the head.
        ControlByte,
        /// Not `METHOD SP TARGET SP VERSION`.
        BadRequestLine,
        /// The method is not a token of 1 to 127 characters.
        BadMethod,
        /// `CONNECT`: Busbar tunnels only upgraded connections.
        ConnectMethod,
        /// The target is none of the forms a server accepts (RFC 9112 section 3.2).
        BadTarget,
        /// A header line that is not a token, a colon and a value.
        BadHeader,
        /// A space or tab between a header's name and its colon.
        SpaceBeforeColon,
        /// A header continued on the next line.
        ObsFold,
        /// A header's name has `_`, and those are refused.
        Underscore,
        /// `Content-Length` is not one number.
        BadContentLength,
        /// Several `Content-Length` headers that differ.
        SeveralContentLengths,
        /// Both `Content-Length` and `Transfer-Encoding`.
        ContentLengthAndTransferEncoding,
        /// `Transfer-Encoding` does not end with one `chunked`, or came with HTTP/1.0.
        BadTransferEncoding,
        /// `Transfer-Encoding` has other codings before `chunked`.
        UnknownTransferEncoding,
        /// No `Host` header.
        MissingHost,
        /// More than one `Host` header, even if they are equal.
        SeveralHosts,
        /// `Host` is empty or not a host with an optional port.
        BadHost,
        /// The target is in absolute-form and names another host than `Host` does.
        HostMismatch,
        /// A header line longer than 8192 bytes or a name longer than 1000.
        HeaderTooLong,
        /// More than 1000 headers.
        TooManyHeaders,
        /// The head as a whole does not fit its buffer.
        HeadTooLarge,
        /// The request line is longer than 8192 bytes.
        TargetTooLong,
        /// Neither HTTP/1.0 nor HTTP/1.1.
        VersionNotSupported,
        /// The head was begun but not finished in time.
        HeadTimeout,
        /// Plain HTTP was sent to a port that speaks TLS.
        PlainOnTls,
    }
}

impl Fault {
    /// The position in [`Fault::ALL`]: counters are kept in an array of that length.
    pub fn index(self) -> usize {
        Self::ALL.binary_search(&self).unwrap_or_default()
    }
    /// Whether the client gets a page. It gets none where it is gone or its stream is broken.
    pub fn is_answered(self) -> bool {
        self.facts().status != 499
    }
}

impl From<RequestFlaw> for Fault {
    fn from(flaw: RequestFlaw) -> Self {
        Self::RequestFlaw(flaw)
    }
}

impl From<RequestError> for Fault {
    fn from(error: RequestError) -> Self {
        Self::RequestError(error)
    }
}

impl From<Restriction> for Fault {
    fn from(restriction: Restriction) -> Self {
        Self::ResponseRestriction(restriction)
    }
}

impl std::fmt::Display for Fault {
    /// `H12 Request timeout`, `Bad request: bare LF`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let facts = self.facts();
        if let Some(code) = facts.code {
            write!(f, "{code} ")?;
        }
        f.write_str(facts.desc)?;
        facts.cause.map_or(Ok(()), |cause| write!(f, ": {cause}"))
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn all_is_ascending_and_a_fault_knows_its_place() {
        assert!(Fault::ALL.is_sorted());
        for (index, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault.index(), index);
        }
    }

    #[test]
    fn every_h_code_a_router_can_make_is_made() {
        let made: BTreeSet<_> =
            Fault::ALL.iter().filter_map(|fault| fault.facts().code).map(Code::as_str).collect();
        let herokus =
            "H10 H11 H12 H13 H14 H15 H17 H18 H19 H20 H21 H22 H24 H25 H26 H27 H28 H31 H32 H33 H34 H80 H81 H99";
        assert_eq!(made, herokus.split(' ').collect());
    }

    #[test]
    fn a_fault_is_small() {
        assert!(size_of::<Fault>() <= 2);
    }

    #[test]
    fn ids_are_unique() {
        let ids: BTreeSet<_> = Fault::ALL.iter().map(|fault| fault.facts().id).collect();
        assert_eq!(ids.len(), Fault::ALL.len());
    }

    #[test]
    fn an_uncoded_fault_blames_the_client_and_is_a_4xx_501_or_505() {
        for fault in Fault::ALL.into_iter().filter(|fault| fault.facts().code.is_none()) {
            let facts = fault.facts();
            assert_eq!(facts.blame, Blame::Client, "{fault}");
            assert!((400..500).contains(&facts.status) || [501, 505].contains(&facts.status), "{fault}");
        }
    }

    #[test]
    fn it_reads_as_an_operator_says_it() {
        assert_eq!(Fault::RequestTimeout.to_string(), "H12 Request timeout");
        assert_eq!(Fault::from(Restriction::Cookie).to_string(), "H25 HTTP restriction: oversized cookie");
        assert_eq!(Fault::from(RequestFlaw::BareLf).to_string(), "Bad request: bare LF");
    }
}
