//! The library's backend, with what it leaves to be desired: a job that cannot be decoded would end the worker that fetched it,
//! and each after it; a worker that is to stop goes on fetching; and events should come together before they are fetched.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use apalis::prelude::*;
use apalis_core::backend::{BackendConfig, WireFormatBackend};
use serde_json::{Value, json};
use tokio::time::Sleep;
use tokio_util::task::TaskTracker;

use crate::Gathering;
use crate::registry::UNREADABLE;

pub(super) struct Careful<B> {
    backend: B,
    /// The jobs that run; closed once there should be no more.
    running: TaskTracker,
    /// Whether the last job was handed out.
    ended: bool,
    /// Of the queue of events.
    gathering: Option<Arc<Gathering>>,
    /// Until when nothing is looked for.
    pause: Option<Pin<Box<Sleep>>>,
}

impl<B> Careful<B> {
    pub(super) fn new(backend: B, running: &TaskTracker, gathering: Option<Arc<Gathering>>) -> Self {
        Self { backend, running: running.clone(), ended: false, gathering, pause: None }
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
        if let Some(pause) = &mut self.pause {
            task::ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        self.backend.poll_next(cx, worker).map_ok(|mut task| {
            let pause = self.gathering.as_ref().and_then(|gathering| gathering.pause());
            self.pause = pause.map(|pause| Box::pin(tokio::time::sleep(pause)));
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
