//! What a fault means in words.
//!
//! - [`Fault::visitor`]: for whoever sent the request.
//! - [`Fault::operator`]: for whoever runs the app or the router: what happened, what to do.

use super::{Fault, Mismatch, RequestError, RequestFlaw, Restriction};

/// A fault for a visitor, who wants to know whether it is their doing and whether to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visitor {
    /// A headline.
    pub title: &'static str,
    /// One or two sentences. They give away nothing about the app's dynos.
    pub message: &'static str,
}

/// A fault for an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operator {
    /// What happened.
    pub happened: &'static str,
    /// What to do about it.
    pub todo: &'static str,
}

impl Fault {
    /// What the page says.
    pub const fn visitor(self) -> Visitor {
        match self {
            Self::BacklogTooDeep | Self::RequestLimit => Visitor {
                title: "Too busy right now",
                message: "The application gets more requests than it can answer. Please try again in a moment.",
            },
            Self::RequestTimeout | Self::IdleConnection => Visitor {
                title: "The application took too long",
                message: "The application did not answer in time. Please try again in a moment.",
            },
            Self::BootTimeout => Visitor {
                title: "Still starting",
                message: "The application is starting and was not ready in time. Please try again in a moment.",
            },
            Self::Maintenance => Visitor {
                title: "Offline for maintenance",
                message: "This application is undergoing maintenance right now. Please check back later.",
            },
            Self::BlankApp | Self::UnknownHost => Visitor {
                title: "There is nothing here yet",
                message: "No application answers to this address. Please check how it is spelled.",
            },
            Self::AppCrashed
            | Self::ClosedWithoutResponse
            | Self::NoWebProcesses
            | Self::PoorlyFormattedResponse
            | Self::ServerRequestInterrupted
            | Self::ConnectTimeout
            | Self::ConnectRefused
            | Self::DynoMismatch(_)
            | Self::ResponseRestriction(_)
            | Self::AllQuarantined => Visitor {
                title: "Application error",
                message: "An error occurred in the application, and this page could not be served. \
                          Please try again in a moment.",
            },
            Self::ForcedClose | Self::PlatformError => Visitor {
                title: "Service error",
                message: "The request could not be completed, and the application is not at fault. \
                          Please try again.",
            },
            Self::ClientInterrupted | Self::ClientIdle | Self::StreamBroken => Visitor {
                title: "Request interrupted",
                message: "The connection broke before the request was completed.",
            },
            Self::Misdirected | Self::TlsMismatch => Visitor {
                title: "Wrong connection",
                message: "This host is not served over this connection. Please open the address again.",
            },
            Self::RequestFlaw(RequestFlaw::PlainOnTls) => Visitor {
                title: "This port speaks TLS",
                message: "The address begins with http://, but this port takes encrypted connections only. \
                          Please open it with https:// instead.",
            },
            Self::RequestError(_) | Self::RequestFlaw(_) => Visitor {
                title: "Request not understood",
                message: "The browser or program sent a request that is not valid HTTP, or beyond a limit.",
            },
        }
    }

    /// What happened, and what to do.
    #[expect(clippy::too_many_lines, reason = "one row for each fault")]
    pub const fn operator(self) -> Operator {
        let (happened, todo) = match self {
            Self::AppCrashed => (
                "Every web dyno of the app has crashed.",
                "Read the app's log above this line for why the dynos exited; deploy a fix or roll back, then restart.",
            ),
            Self::BacklogTooDeep => (
                "The app has more requests in flight or waiting than `in_flight_per_dyno` and `queue_limit` allow.",
                "Look for requests that became slow; add web dynos. Raise the limits only if the dynos can take more.",
            ),
            Self::RequestTimeout => (
                "The dyno had the whole request and sent no byte for `first_byte_timeout_ms`. It was not told and may still be working.",
                "Move long work to a worker dyno or begin to stream the answer early. Give the app's own server a shorter timeout than the router's.",
            ),
            Self::ClosedWithoutResponse => (
                "The dyno closed the connection before it sent a byte.",
                "Look for a crash or a worker timeout in the app's log. On idle apps: keep connections open longer in the app server (95 s) than `dyno_keepalive_ms`.",
            ),
            Self::NoWebProcesses => (
                "The app's formation has no web dyno.",
                "Scale `web` to 1 or more. The Procfile needs a `web` line.",
            ),
            Self::IdleConnection => (
                "The dyno was silent for `idle_timeout_ms` in mid-response, or both sides of an upgraded connection were.",
                "Send something at least every 45 s: a WebSocket ping, a comment line in an event stream.",
            ),
            Self::PoorlyFormattedResponse => (
                "What the dyno sent is not an HTTP response.",
                "Ask the dyno directly with `curl -v`; look for output printed to the socket or a TLS server on a plain port.",
            ),
            Self::ServerRequestInterrupted => (
                "The dyno broke the connection in mid-response, or dropped a reused one after taking a request that must not be repeated.",
                "Look for a crash, an out-of-memory kill or a short worker timeout; keep connections open longer in the app server than `dyno_keepalive_ms`.",
            ),
            Self::ConnectTimeout => (
                "No dyno that was tried accepted a connection within `connect_timeout_ms`.",
                "The dynos are too busy to accept or unreachable: raise the app server's concurrency and backlog, add dynos, check the network.",
            ),
            Self::BootTimeout => (
                "No dyno came up within `hold_timeout_ms` while the request waited.",
                "Make the app listen on $PORT sooner: load lazily, do migrations in the release phase.",
            ),
            Self::ConnectRefused => (
                "Every dyno that was tried refused the connection.",
                "The processes run but do not listen on $PORT at the address that was registered; check the bind address and the log.",
            ),
            Self::DynoMismatch(Mismatch::NoHttp2) => (
                "The app's `dyno_protocol` is HTTP/2, and every dyno that was tried answered the connection's first bytes with something else.",
                "Let the dynos speak HTTP/2 (in the clear with prior knowledge, or over TLS with ALPN h2), or set `dyno_protocol` to http1.",
            ),
            Self::DynoMismatch(Mismatch::Tls) => (
                "The app's `dyno_protocol` is encrypted, and the TLS handshake failed with every dyno that was tried.",
                "See that the dynos speak TLS, that `dyno_ca` signed their certificates, and that those are for `dyno_server_name`, or for the dynos' addresses.",
            ),
            Self::RequestLimit => (
                "The app has `request_limit` requests in flight.",
                "Raise or remove the limit, or look for who sends so many.",
            ),
            Self::ForcedClose => (
                "The router was stopped and its grace period ended before the request did.",
                "Expected for long requests during a restart; a longer grace period spares more of them.",
            ),
            Self::ResponseRestriction(restriction) => return restriction.operator(),
            Self::RequestError(error) => return error.operator(),
            Self::ClientInterrupted => (
                "The client closed the connection before it had the whole answer.",
                "Nothing, if rare: people close pages. If frequent, the app is slower than its clients' patience.",
            ),
            Self::ClientIdle => (
                "The client neither sent its request body nor took the response for `idle_timeout_ms`.",
                "Usually a broken mobile connection. Let uploads be resumed.",
            ),
            Self::Misdirected => (
                "The request came over an endpoint that does not serve its host.",
                "Check the domain's DNS record; it may still point to an old target.",
            ),
            Self::TlsMismatch => (
                "The host of the request is not covered by the certificate the TLS connection was made with.",
                "Let the client open a connection per certificate; check which certificate names both hosts.",
            ),
            Self::StreamBroken => (
                "An HTTP/2 stream was reset, and it is not certain by whose fault.",
                "Nothing, if rare. Compare with H18 and H27 at the same time.",
            ),
            Self::AllQuarantined => (
                "The app has dynos, but each of them refused or timed out lately, and none recovered within `hold_timeout_ms`.",
                "The same as for H19 and H21, whose lines precede this one.",
            ),
            Self::Maintenance => ("Maintenance mode is on. Dynos keep running.", "When done, turn it off."),
            Self::BlankApp => ("The app exists but was never deployed.", "Deploy it."),
            Self::PlatformError => (
                "The router itself failed; it is not the app's fault.",
                "Read the router's own log for this request id and report it as a bug.",
            ),
            Self::UnknownHost => (
                "No app has this host among its domains.",
                "Add it to its app's domains. Many of these at once are usually scanners.",
            ),
            Self::RequestFlaw(flaw) => return flaw.operator(),
        };
        Operator { happened, todo }
    }
}

impl Restriction {
    const fn operator(self) -> Operator {
        let (happened, todo) = match self {
            Self::ContentLength => (
                "The response's `Content-Length` is not one plain number.",
                "Set it once; most often app and middleware both set it, or a proxy in the dyno joined two.",
            ),
            Self::Cookie => (
                "A `Set-Cookie` line is longer than 8192 bytes.",
                "Keep the session on the server and only its key in the cookie.",
            ),
            Self::Header => (
                "A response header line is longer than 512 KiB, or the response head is too large.",
                "Send such data in the body.",
            ),
            Self::StatusLine => {
                ("The response's status line is longer than 8192 bytes.", "Send such data in the body.")
            }
        };
        Operator { happened, todo }
    }
}

impl RequestError {
    const fn operator(self) -> Operator {
        let (happened, todo) = match self {
            Self::Expectation => (
                "The client's `Expect` header is something other than `100-continue`.",
                "Nothing; HTTP knows no other expectation.",
            ),
            Self::BadHeader => (
                "`Connection`, `Upgrade` or `Expect` cannot be understood; `Connection: upgrade` needs an `Upgrade` header.",
                "A proxy before the router often drops one of the two: let it pass both for WebSockets.",
            ),
            Self::BadChunk => (
                "The chunked request body is malformed. The connection to the dyno was cut, so that it takes no half request for a whole one.",
                "Look at the client: it is a broken library, or an attempt at request smuggling.",
            ),
            Self::BadTrailer => (
                "What follows the last chunk of the request body is not a list of header lines.",
                "Look at the client. Most often it forgot the empty line that ends a chunked body.",
            ),
        };
        Operator { happened, todo }
    }
}

impl RequestFlaw {
    const fn operator(self) -> Operator {
        const CLIENT: &str = "Fix the client. If a proxy stands before the router, look there first.";
        const SMUGGLING: &str = "Treat it as an attempt at request smuggling unless the client is known. Fix the client or the proxy before the router.";
        let (happened, todo) = match self {
            Self::BareLf => ("A line of the request head ends with LF without CR.", SMUGGLING),
            Self::BareCr => ("The request head has a CR that no LF follows.", SMUGGLING),
            Self::ControlByte => ("The request head has a NUL or another control byte.", SMUGGLING),
            Self::BadRequestLine => (
                "The first line is not `METHOD TARGET VERSION` with single spaces.",
                "Often TLS or another protocol sent to the plain HTTP port.",
            ),
            Self::BadMethod => ("The method is not a word of 1 to 127 allowed characters.", CLIENT),
            Self::ConnectMethod => (
                "The client asked for a tunnel with CONNECT.",
                "Nothing: Busbar is no forward proxy; scanners look for one.",
            ),
            Self::BadTarget => {
                ("The request target is neither a path, nor `*` for OPTIONS, nor an absolute URL.", CLIENT)
            }
            Self::BadHeader => ("A header line is not a name, a colon and a value.", CLIENT),
            Self::SpaceBeforeColon => {
                ("There is a space or tab between a header's name and its colon.", SMUGGLING)
            }
            Self::Underscore => (
                "A header's name has an underscore, and `underscores` in `[edge]` refuses those.",
                "Let the client write `-`; many app servers cannot tell the two apart.",
            ),
            Self::ObsFold => ("A header continues on a second line, which HTTP/1.1 abolished.", SMUGGLING),
            Self::BadContentLength => ("`Content-Length` is not one plain number.", SMUGGLING),
            Self::SeveralContentLengths => {
                ("There are several `Content-Length` headers, and they differ.", SMUGGLING)
            }
            Self::ContentLengthAndTransferEncoding => {
                ("The request has both `Content-Length` and `Transfer-Encoding`.", SMUGGLING)
            }
            Self::BadTransferEncoding => {
                ("`Transfer-Encoding` does not end with one `chunked`, or came with HTTP/1.0.", SMUGGLING)
            }
            Self::UnknownTransferEncoding => {
                ("`Transfer-Encoding` has other codings before `chunked`; none is understood.", CLIENT)
            }
            Self::MissingHost => (
                "The request has no `Host` header.",
                "Usually a scanner or a health check: give the check a host.",
            ),
            Self::SeveralHosts => ("The request has more than one `Host` header.", SMUGGLING),
            Self::HostMismatch => ("The target names another host than the `Host` header does.", CLIENT),
            Self::BadHost => ("`Host` is empty or not a host name with an optional port.", CLIENT),
            Self::HeaderTooLong => (
                "The value of a request header is longer than 8192 bytes, or its name longer than 1000.",
                "Usually cookies grown too big: clear them and keep sessions on the server.",
            ),
            Self::TooManyHeaders => ("The request has more than 1000 headers.", CLIENT),
            Self::HeadTooLarge => (
                "The request's headers together exceed the head limit.",
                "Usually cookies grown too big: clear them and keep sessions on the server.",
            ),
            Self::TargetTooLong => {
                ("The request line is longer than 8192 bytes.", "Send such data in a request body.")
            }
            Self::VersionNotSupported => ("The version is neither HTTP/1.0 nor HTTP/1.1.", CLIENT),
            Self::HeadTimeout => (
                "The client began a request and did not finish its head in time.",
                "Usually a broken connection; many at once are a slow-header attack, which the router withstands.",
            ),
            Self::PlainOnTls => (
                "Plain HTTP was sent to a port that speaks TLS.",
                "Let the client use `https://`; for old `http://` links listen on a plain port and set `https_redirect`.",
            ),
        };
        Operator { happened, todo }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sentence_ends_and_breaks_no_table() {
        for fault in Fault::ALL {
            let (visitor, operator) = (fault.visitor(), fault.operator());
            for text in [visitor.message, operator.happened, operator.todo] {
                assert!(text.ends_with('.') && !text.contains(['|', '\n']), "{fault}: {text}");
            }
        }
    }
}
