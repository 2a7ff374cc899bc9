//! Connections that have done one request and then do nothing: what they cost is somebody else's memory.

use std::{io, sync::mpsc, thread};

use tokio::{sync::oneshot, task::LocalSet};

use super::{Plan, client::Client as _, http1::Http1, line::Dialer, tally::Mishap};
use crate::{alarm::Alarm, wire::Scratch};

/// Open connections; dropping this closes them.
pub struct Idle {
    /// How many there are.
    pub connections: usize,
    close: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<io::Result<()>>>,
}

impl Idle {
    /// Opens `connections`, each of which does the plan's request once.
    ///
    /// # Errors
    /// The machine gave no thread. Connections that fail are only left out of the number.
    pub fn open(plan: &Plan, connections: usize) -> io::Result<Self> {
        let plan = plan.clone();
        let (close, closed) = oneshot::channel();
        let (opened, is_open) = mpsc::channel();
        let thread = thread::Builder::new().name("idle".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            LocalSet::new().block_on(&runtime, async move {
                let (dialer, scratch, alarm) = (Dialer::new(&plan)?, Scratch::new(), Alarm::start()?);
                let mut clients = Vec::new();
                for _ in 0..connections {
                    let mut client = Http1::new(&plan, dialer.clone(), scratch.clone(), alarm.clone());
                    let done = tokio::time::timeout(plan.timeout, client.exchange()).await;
                    match done.unwrap_or(Err(Mishap::TimedOut)) {
                        Ok(answered) if answered.status < 400 => clients.push(client),
                        _ => break, // at its limit: more would only take time
                    }
                }
                let _gone = opened.send(clients.len());
                let _dropped = closed.await;
                Ok(())
            })
        })?;
        let connections = is_open.recv().unwrap_or(0);
        Ok(Self { connections, close: Some(close), thread: Some(thread) })
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.close.take();
        if let Some(thread) = self.thread.take() {
            let _best_effort = thread.join();
        }
    }
}
