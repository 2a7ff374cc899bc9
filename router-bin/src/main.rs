//! `busbar`: an HTTP router for apps made of dynos.
mod admin;
mod admin_client;
mod config;
mod declared;
mod dynos;
mod failure;
mod logs;
mod out;
mod say;
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {}
