//! The library's backend, with what it leaves to be desired: a job that cannot be decoded would end the worker that fetched it,
//! and each after it; and a worker that is to stop goes on fetching.

use std::task::{self, Poll};

use apalis::prelude::*;
use apalis_core::backend::{BackendConfig, WireFormatBackend};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::registry::UNREADABLE;

pub(super) struct Careful<B> {
    backend: B,
    /// The jobs that run; closed once there should be no more.
    running: TaskTracker,
    /// Whether the last job was handed out.
    ended: bool,
}

impl<B> Careful<B> {
    pub(super) fn new(backend: B, running: &TaskTracker) -> Self {
        Self { backend, running: running.clone(), ended: false }
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
        self.backend.poll_next(cx, worker).map_ok(|mut task| {
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
