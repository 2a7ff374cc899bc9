//! How a request gets to a worker's thread.
//!
//! - [`hatches`]: one [`Hatch`] per worker, [`Hatches`] to choose from, [`Jobs`] behind each.
//! - [`Hatches::hand_over`]: a request goes to the worker that has the fewest.
//! - [`Jobs::serve`]: what a worker does with them.

use std::{
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
};

use bytes::{Buf, Bytes};
use http::Request;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{AnyBody, Broken, Peer};
use crate::{
    edge::{
        h1,
        http::{
            self as edge,
            reply::{self, Reply, ResponseFuture},
        },
    },
    route::Fault,
    server::{ServerOptions, accept::awake},
    worker::Worker,
};

/// A request for a worker, and the way back.
struct Job {
    request: Request<AnyBody>,
    reply: Reply,
    under_way: UnderWay,
}

/// What a request under way holds; dropped, its place is free.
struct UnderWay {
    load: Arc<AtomicUsize>,
    _place: OwnedSemaphorePermit,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The way to one worker.
#[derive(Debug)]
struct Hatch {
    jobs: mpsc::Sender<Job>,
    /// Requests that went in there and are not over yet.
    load: Arc<AtomicUsize>,
}

/// The ways to all workers of a server.
#[derive(Debug, Clone)]
pub(crate) struct Hatches {
    workers: Arc<[Hatch]>,
    places: Arc<Semaphore>,
}

/// Makes the ways to all workers, and their ends there.
pub(crate) fn hatches(options: &ServerOptions) -> (Hatches, impl Iterator<Item = Jobs> + use<>) {
    let most = options.connections_per_worker.saturating_mul(options.workers.get());
    let most = most.clamp(1, Semaphore::MAX_PERMITS);
    // No job is sent without a place, so no hatch is ever full; it holds memory for what is in it only.
    let (workers, jobs): (Vec<_>, Vec<_>) = (0..options.workers.get())
        .map(|_| {
            let (jobs, received) = mpsc::channel(most);
            (Hatch { jobs, load: Arc::default() }, Jobs(received))
        })
        .unzip();
    (Hatches { workers: workers.into(), places: Arc::new(Semaphore::new(most)) }, jobs.into_iter())
}

impl Hatches {
    /// The places of requests under way.
    pub(super) fn places(&self) -> Arc<Semaphore> {
        Arc::clone(&self.places)
    }

    /// Hands a request to the worker that has the fewest.
    pub(super) fn hand_over<B>(&self, request: Request<B>, place: OwnedSemaphorePermit) -> ResponseFuture
    where
        B: Body + Send + 'static,
        B::Data: Send,
    {
        let fewest = self.workers.iter().min_by_key(|hatch| hatch.load.load(Ordering::Relaxed));
        let Some(hatch) = fewest else { return reply::answered(Fault::PlatformError) };
        hatch.load.fetch_add(1, Ordering::Relaxed);
        let under_way = UnderWay { load: Arc::clone(&hatch.load), _place: place };
        let (reply, response) = reply::pair();
        let request = request.map(|body| -> AnyBody { Box::pin(AsBytes { body }) });
        // A worker that takes no more drops the job, and with it the reply: H24.
        drop(hatch.jobs.try_send(Job { request, reply, under_way }));
        response
    }
}

/// A worker's end.
pub(crate) struct Jobs(mpsc::Receiver<Job>);

impl Jobs {
    /// Serves requests until the server's drain begins, and whatever was handed over by then.
    pub(crate) async fn serve(mut self, worker: Rc<Worker>) {
        let mut drain = worker.drain.clone();
        {
            let mut drain = pin!(drain.begun());
            loop {
                tokio::select! {
                    biased;
                    _ = &mut drain => break,
                    job = self.0.recv() => match job {
                        Some(job) => begin(&worker, job),
                        None => break,
                    },
                }
            }
        }
        self.0.close();
        while let Some(job) = self.0.recv().await {
            begin(&worker, job);
        }
    }
}

fn begin(worker: &Rc<Worker>, job: Job) {
    let open = Open::new(worker);
    tokio::task::spawn_local(async move {
        let Job { mut request, reply, under_way } = job;
        let peer = request.extensions_mut().remove::<Peer>().unwrap_or_default();
        let peer = h1::Peer { client: peer.client, tls: peer.tls.into() };
        let worker = &*open.0;
        let _in_progress = worker.in_progress();
        awake(worker, pin!(edge::serve(worker, request, peer, &|_| true, reply))).await;
        drop(under_way);
    });
}

/// A request that the worker waits for before it ends.
struct Open(Rc<Worker>);

impl Open {
    fn new(worker: &Rc<Worker>) -> Self {
        worker.open.set(worker.open.get() + 1);
        Self(Rc::clone(worker))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.closed.notify_one();
        if thread::panicking() {
            self.0.counters.panics.add(1);
            tracing::error!("a bug: serving a request panicked; it was cut, all others go on");
        }
    }
}

pin_project! {
    /// A body whose data is [`Bytes`] and whose errors say nothing.
    struct AsBytes<B> {
        #[pin]
        body: B,
    }
}

impl<B: Body> Body for AsBytes<B> {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let bytes = |mut data: B::Data| data.copy_to_bytes(data.remaining());
        let frame = |frame: Result<Frame<B::Data>, B::Error>| match frame {
            Ok(frame) => Ok(frame.map_data(bytes)),
            Err(_) => Err(Broken),
        };
        self.project().body.poll_frame(cx).map(|next| next.map(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
