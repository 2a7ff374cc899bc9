//! `busbar`: an HTTP router for apps made of dynos.
mod config;
mod logs;
mod say;
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {}
