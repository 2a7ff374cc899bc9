//! The router as a `tower::Service`: what passes, what is refused, and what happens when somebody leaves.

mod faults;
mod leaving;
mod passing;
mod refused;
