//! The library's backend, with what it leaves to be desired: a job that cannot be decoded would end the worker that fetched it,
//! and each after it; a worker that is to stop goes on fetching; it looks into the queue whenever anything at all wakes it,
//! the beginning and the end of each of its own jobs among others, three times a job; and it waits for an answer for as long as
//! that takes, a quarter of an hour where the database is gone without a word.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{self, Poll, Waker};
use std::time::Duration;

use apalis::prelude::*;
use apalis_core::backend::{BackendConfig, WireFormatBackend};
use futures::task::AtomicWaker;
use serde_json::{Value, json};
use tokio::time::Sleep;
use tokio_util::task::TaskTracker;

use crate::registry::UNREADABLE;
use crate::wake::Wake;

/// After so long without an answer the worker starts again, with another connection. A lock on the whole queue, or on the file,
/// that somebody else has for less is waited for.
const SILENCE: Duration = Duration::from_secs(15);

/// How long nothing has been heard of what is waited for.
#[derive(Default)]
struct Silence(Option<Pin<Box<Sleep>>>);

impl Silence {
    fn begin(&mut self) {
        self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep(SILENCE)));
    }

    fn end(&mut self) {
        self.0 = None;
    }

    /// Whether it has lasted too long; whoever polls is woken when it has.
    fn poll(&mut self, cx: &mut task::Context<'_>) -> bool {
        self.0.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready())
    }
}

pub(crate) struct Careful<B> {
    backend: B,
    wake: Wake,
    /// Since a heartbeat or an acknowledgement is under way.
    writing: Silence,
    /// Since a question to the queue, until something is heard of it.
    asked: Silence,
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
        Self {
            backend,
            wake,
            writing: Silence::default(),
            asked: Silence::default(),
            more: false,
            asking: Arc::default(),
            running: running.clone(),
            ended: false,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum QueueError<E: Error> {
    #[error(transparent)]
    Library(E),
    #[error("the queue has not answered for {} s", SILENCE.as_secs())]
    Silent,
}

impl<B: Backend<Task = Task<Vec<u8>>, Error: Error>> Backend for Careful<B> {
    type Task = B::Task;
    type Error = QueueError<B::Error>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>, worker: &WorkerContext) -> Poll<Result<(), Self::Error>> {
        let polled = self.backend.poll_ready(cx, worker);
        if polled.is_ready() {
            self.writing.end();
        } else {
            self.writing.begin();
            if self.writing.poll(cx) {
                return Poll::Ready(Err(QueueError::Silent));
            }
        }
        polled.map_err(QueueError::Library)
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
        if goes_on {
            self.asked.end();
        } else if self.asked.poll(cx) {
            return Poll::Ready(Some(Err(QueueError::Silent)));
        }
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
            if !goes_on {
                self.asked.begin();
            }
        } else {
            self.asked.end();
        }
        let polled = polled.map_err(QueueError::Library);
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
        self.backend.poll_close(cx, worker).map_err(QueueError::Library)
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;

    use super::*;
    use crate::Queue;
    use crate::wake::Signal;

    /// A queue that is asked over a connection on which nothing comes back, or whose heartbeat is.
    #[derive(Clone, Copy, PartialEq)]
    enum Mute {
        Asked,
        Beating,
    }

    impl Backend for Mute {
        type Task = Task<Vec<u8>>;
        type Error = Infallible;

        fn poll_ready(&mut self, _: &mut task::Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
            if *self == Self::Beating { Poll::Pending } else { Poll::Ready(Ok(())) }
        }

        fn poll_next(
            &mut self,
            _: &mut task::Context<'_>,
            _: &WorkerContext,
        ) -> Poll<Option<Result<Self::Task, Infallible>>> {
            Poll::Pending
        }

        fn poll_close(&mut self, _: &mut task::Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
    }

    /// The clock of the test stands still but for what is waited for.
    #[tokio::test(start_paused = true)]
    async fn a_queue_that_does_not_answer_is_an_error_after_a_while() {
        let worker = WorkerContext::new("worker");
        for mute in [Mute::Asked, Mute::Beating] {
            let mut backend = Careful::new(mute, Signal::default().wake(Queue::Events), &TaskTracker::new());
            let started = tokio::time::Instant::now();
            let polled = poll_fn(|cx| {
                std::task::ready!(backend.poll_ready(cx, &worker))?;
                backend.poll_next(cx, &worker).map(|next| next.transpose().map(drop))
            });
            let error = polled.await.unwrap_err();
            assert!(matches!(error, QueueError::Silent), "{error}");
            assert!((SILENCE..SILENCE * 2).contains(&started.elapsed()), "{:?}", started.elapsed());
        }
    }
}
