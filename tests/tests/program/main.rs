//! The program `busbar`, as people run it: real processes, real sockets, real clients.
//!
//! - [`up`], [`end`]: an app from its Procfile, and how it stops. [`adopt`]: what becomes of its dynos after `kill -9`.
//! - [`load`]: under load: dynos that are killed, scaled and restarted. [`life`]: preboot, rolling restarts, idle apps.
//!   [`release`]: the command before a deploy.
//! - [`attached`]: `busbar run`, on a terminal and between pipes.
//! - [`edge`], [`reload`], [`drain`]: `busbar router` with a file. [`registry`]: with dynos that register.
//! - [`acme`]: certificates that it requests itself.
//! - [`bad_input`]: what is refused, with which words and which exit code. [`verbs`]: what the other verbs say.
//! - [`build`]: source becomes a slug; [`build_apart`]: by buildpacks that mean harm; [`build_cache`]: what they keep;
//!   [`build_stop`]: how it is stopped. [`slug`]: an app in one file.
//! - [`sockets`]: socket files, and a machine that has no file descriptors left.
//! - [`scanners`]: what sslyze and testssl.sh find wrong with its TLS: nothing.
//! - [`stapling`]: OCSP responses beside certificates.
//! - [`swaps`]: certificate files that change under load.
//! - [`tls`]: certificates in files, and what curl and openssl make of them.
//! - [`up_tls`]: a local authority, and what a browser ([`chromium`]) makes of it.
//! - [`isolation`]: dynos that are kept apart. [`doctor`]: how far they can be, here.
//! - [`websocket`]: a WebSocket library through the router.
//!
//! The harness: [`binary`] finds the program, [`busbar`] runs it, [`wait`] waits, [`traffic`] is the client that counts,
//! [`terminal`] is somebody's terminal, [`tools`] finds or installs programs of others.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says what it needs by failing"
)]

mod acme;
mod adopt;
mod attached;
mod bad_input;
mod binary;
mod build;
mod build_apart;
mod build_cache;
mod build_stop;
mod busbar;
mod chromium;
mod doctor;
mod drain;
mod edge;
mod end;
mod isolation;
mod life;
mod load;
mod registry;
mod release;
mod reload;
mod scanners;
mod slug;
mod sockets;
mod stapling;
mod swaps;
mod terminal;
mod tls;
mod tools;
mod traffic;
mod up;
mod up_tls;
mod verbs;
mod wait;
mod websocket;
