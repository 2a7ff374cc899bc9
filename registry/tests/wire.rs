//! The registry over real sockets. Each test has a server of its own.

#[cfg(test)]
mod wire {
    mod docs;
    mod hold;
    mod holder;
    mod refusals;
    mod server;
    mod trait_over_sockets;
}
