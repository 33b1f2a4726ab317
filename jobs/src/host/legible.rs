//! A backend whose tasks can all be decoded: one that is no JSON would end the worker that fetched it, and each after it.

use std::task::{self, Poll};

use apalis::prelude::*;
use apalis_core::backend::{BackendConfig, WireFormatBackend};
use serde_json::{Value, json};

use crate::registry::UNREADABLE;

pub(super) struct Legible<B>(pub(super) B);

impl<B: Backend<Task = Task<Vec<u8>>>> Backend for Legible<B> {
    type Task = B::Task;
    type Error = B::Error;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>, worker: &WorkerContext) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx, worker)
    }

    fn poll_next(
        &mut self,
        cx: &mut task::Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Self::Error>>> {
        self.0.poll_next(cx, worker).map_ok(|mut task| {
            if let Err(error) = serde_json::from_slice::<Value>(&task.args) {
                task.args = json!({UNREADABLE: error.to_string()}).to_string().into_bytes();
            }
            task
        })
    }

    fn poll_close(&mut self, cx: &mut task::Context<'_>, worker: &WorkerContext) -> Poll<Result<(), Self::Error>> {
        self.0.poll_close(cx, worker)
    }
}

impl<B: BackendConfig> BackendConfig for Legible<B>
where
    Self: Backend,
{
    type Args = B::Args;
    type Id = B::Id;
    type Kind = B::Kind;
    type Config = B::Config;
    type Layer = B::Layer;

    fn config(&self) -> &Self::Config {
        self.0.config()
    }

    fn middleware(&mut self, worker: &mut WorkerContext) -> Self::Layer {
        self.0.middleware(worker)
    }
}

impl<B: WireFormatBackend> WireFormatBackend for Legible<B>
where
    Self: Backend,
{
    type Codec = B::Codec;
    type Compact = B::Compact;

    fn codec(&self) -> &Self::Codec {
        self.0.codec()
    }
}
