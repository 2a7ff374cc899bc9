//! Prints `docs/errors.md`: `cargo run -p router-core --example print_errors > docs/errors.md`
use std::io::Write as _;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(router_core::route::fault::errors_markdown().as_bytes())
}
