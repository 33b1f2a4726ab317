//! The library's backend, with what it leaves to be desired: a job that cannot be decoded would end the worker that fetched it,
//! and each after it; a worker that is to stop goes on fetching; and it looks into the queue whenever anything at all wakes it,
//! the beginning and the end of each of its own jobs among others, three times a job.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{self, Poll, Waker};

use apalis::prelude::*;
use apalis_core::backend::{BackendConfig, WireFormatBackend};
use futures::task::AtomicWaker;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::registry::UNREADABLE;
use crate::wake::Wake;

pub(crate) struct Careful<B> {
    backend: B,
    wake: Wake,
    /// Whether the last look into the queue found a job, so that there may be another.
    more: bool,
    asking: Arc<Asking>,
    /// The jobs that run; closed once there should be no more.
    running: TaskTracker,
    /// Whether the last job was handed out.
    ended: bool,
}

/// Wakes the worker for a question to the queue that can go on, and notes that it was woken for that.
#[derive(Default)]
struct Asking {
    goes_on: AtomicBool,
    worker: AtomicWaker,
}

impl task::Wake for Asking {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.goes_on.store(true, Ordering::Release);
        self.worker.wake();
    }
}

impl<B> Careful<B> {
    pub(crate) fn new(backend: B, wake: Wake, running: &TaskTracker) -> Self {
        Self { backend, wake, more: false, asking: Arc::default(), running: running.clone(), ended: false }
    }
}

impl<B: Backend<Task = Task<Vec<u8>>>> Backend for Careful<B> {
    type Task = B::Task;
    type Error = B::Error;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>, worker: &WorkerContext) -> Poll<Result<(), Self::Error>> {
        self.backend.poll_ready(cx, worker)
    }

    fn poll_next(
        &mut self,
        cx: &mut task::Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Self::Error>>> {
        if self.ended {
            return Poll::Pending;
        }
        self.asking.worker.register(cx.waker());
        let (told, goes_on) = (self.wake.poll(cx), self.asking.goes_on.swap(false, Ordering::Acquire));
        if !(told || goes_on || self.more) {
            return Poll::Pending;
        }
        let waker = Waker::from(Arc::clone(&self.asking));
        let polled = self.backend.poll_next(&mut task::Context::from_waker(&waker), worker);
        self.more = polled.is_ready();
        if polled.is_pending() {
            // Where the queue is empty, the library has kept our waker for the end of the next job. This, the one public way
            // to give it the worker's own, is told to nobody.
            worker.heartbeat(cx);
        }
        polled.map_ok(|mut task| {
            self.wake.came();
            // It may have been on its way when the worker was told to stop, and is ours; nothing is on its way after it.
            self.ended = self.running.is_closed();
            if let Err(error) = serde_json::from_slice::<Value>(&task.args) {
                task.args = json!({UNREADABLE: error.to_string()}).to_string().into_bytes();
            }
            task
        })
    }

    fn poll_close(&mut self, cx: &mut task::Context<'_>, worker: &WorkerContext) -> Poll<Result<(), Self::Error>> {
        self.backend.poll_close(cx, worker)
    }
}

impl<B: BackendConfig> BackendConfig for Careful<B>
where
    Self: Backend,
{
    type Args = B::Args;
    type Id = B::Id;
    type Kind = B::Kind;
    type Config = B::Config;
    type Layer = B::Layer;

    fn config(&self) -> &Self::Config {
        self.backend.config()
    }

    fn middleware(&mut self, worker: &mut WorkerContext) -> Self::Layer {
        self.backend.middleware(worker)
    }
}

impl<B: WireFormatBackend> WireFormatBackend for Careful<B>
where
    Self: Backend,
{
    type Codec = B::Codec;
    type Compact = B::Compact;

    fn codec(&self) -> &Self::Codec {
        self.backend.codec()
    }
}
