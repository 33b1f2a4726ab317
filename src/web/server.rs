//! The HTTP/1.1 server under every router: an accept loop of our own, because the limits are the point of it.
//!
//! Every connection's hold on the process ends by itself. Waiting for headers, on a fresh or on a kept-alive connection:
//! `header_read_timeout` (hyper starts that clock anew when a connection goes idle). Reading a body and working: the
//! handler's own limit. A peer that does not read its answer: `write_stall`. The close: two seconds (see `lingering`).
//!
//! Beyond `max_connections` nobody is accepted; new connections wait in the kernel's backlog. The other way, a quick 503
//! and close, would turn a burst that lasts milliseconds into retries that Stripe makes hours later, would have to be
//! written to peers that are still sending, and costs an accept for each. Waiting is bounded because every slot is free
//! again after the limits above.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};

use super::lingering::Lingering;

#[cfg(test)]
mod tests;

/// Pause after an accept that failed for want of file descriptors or memory; trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// hyper's least buffer; a smaller one is refused by a panic.
const LEAST_BUFFER_BYTES: usize = 8192;

/// The bounds of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections served at one moment, at least 1; more wait.
    pub(crate) max_connections: usize,
    /// From the first moment of a connection, or the last answer on it, to the end of the next request's headers.
    pub(crate) header_read_timeout: Duration,
    /// Request line and headers together; more is answered 431.
    pub(crate) max_header_bytes: usize,
    /// How long an answer may wait for its reader to take the next bytes.
    pub(crate) write_stall: Duration,
    /// What requests in flight get to finish after the shutdown; then they are cut off.
    pub(crate) grace: Duration,
}

impl Default for Limits {
    /// 2048 connections, 10 s and 16 KiB for headers, 10 s for a stalled reader, 20 s of grace.
    fn default() -> Self {
        Self {
            max_connections: 2048,
            header_read_timeout: Duration::from_secs(10),
            max_header_bytes: 16 * 1024,
            write_stall: Duration::from_secs(10),
            grace: Duration::from_secs(20),
        }
    }
}

/// Serves `router` on `listener` until `shutdown`, then closes the listener, lets requests in flight finish and returns.
///
/// # Errors
/// None today: what can fail, fails one connection. The result leaves room for a listener that is beyond repair.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let builder = connection_builder(&limits);
    let slots = Arc::new(Semaphore::new(limits.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let (stream, slot) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => {
                log_end(ended);
                continue;
            }
            accepted = accept(&listener, &slots) => accepted,
        };
        let stream = TokioIo::new(Lingering::new(stream, limits.write_stall));
        let connection = builder.serve_connection(stream, TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            let served = connection.await;
            drop(slot);
            served
        });
    }
    // From here on the port refuses, so that a balancer turns to another instance at once.
    drop(listener);
    if timeout(limits.grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "requests did not finish within the grace time and are cut off"
        );
    }
    connections.shutdown().await;
    Ok(())
}

fn connection_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read_timeout)
        .max_header_size(limits.max_header_bytes)
        // Also what a connection holds of a body at most.
        .max_buf_size(limits.max_header_bytes.max(LEAST_BUFFER_BYTES))
        // A sender that has said everything and closes its side still gets its answer.
        .half_close(true);
    builder
}

/// Waits for a slot, then for a connection. May be dropped at any point without losing one.
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let slot = Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection ended before it began");
                }
                return (stream, slot);
            }
            Err(error) if is_of_the_connection(&error) => tracing::debug!(%error, "a connection ended before it began"),
            Err(error) => {
                tracing::error!(%error, "connections cannot be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether an accept failed because of the one connection that it would have given.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn log_end(ended: Result<hyper::Result<()>, JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        // Peers that vanish, stall or speak no HTTP: their doing, and as frequent as they like.
        Ok(Err(error)) => tracing::debug!(%error, "connection ended early"),
        Err(error) => tracing::error!(%error, "a request handler panicked; its connection is closed"),
    }
}
