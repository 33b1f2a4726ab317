//! The HTTP/1.1 server under every router: an accept loop of our own, because the limits are the point of it.
//!
//! Every connection's hold on the process ends by itself. Waiting for headers, on a fresh or on a kept-alive connection:
//! `header_read_timeout` (hyper starts that clock anew when a connection goes idle). Reading a body and working: the
//! handler's own limit. A peer that does not read its answer: `write_stall`. The close: two seconds (see `lingering`).
//!
//! Where there is no room for another connection, one that keeps us waiting gives way (see `seats`), and until it has gone
//! new ones wait in the kernel's backlog, for a burst that lasts milliseconds should not become retries that Stripe makes
//! hours later. Who has said everything is not behind those who have not (see `whole`), and is told 503, unread, when there is no
//! room for `hear_within`: what it costs to refuse must not add to what there is too much of.
//!
//! A connection that has not said anything costs little: HTTP, with its buffers, begins with its first byte. So there is
//! room for many of those, and for fewer that speak.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tower::Service;

use super::lingering::Lingering;
use super::seats::{Listened, Seat, Seats, Turn, Watched};
use super::whole;

#[cfg(test)]
mod tests;

/// Pause after an accept that failed for want of file descriptors or memory; trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// hyper's least buffer; a smaller one is refused by a panic.
const LEAST_BUFFER_BYTES: usize = 8192;

/// The bounds of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at one moment, at least 1, most of which say nothing.
    pub(crate) max_connections: usize,
    /// Those of them that have said something, at least 1.
    pub(crate) max_speaking: usize,
    /// Where there is no room, a connection that we have waited for so long gives way.
    pub(crate) patience: Duration,
    /// One whose request is here whole and that has waited for us for so long is answered 503.
    pub(crate) hear_within: Duration,
    /// From the first moment of a connection to its first byte, and from there, or the last answer, to the end of the next
    /// request's headers. Where there is no room, who has begun a request may stand in line for as long, or down to half of it:
    /// thousands that came in one moment should not all come back in one.
    pub(crate) header_read_timeout: Duration,
    /// Request line and headers together; more is answered 431.
    pub(crate) max_header_bytes: usize,
    /// How long an answer may wait for its reader to take the next bytes.
    pub(crate) write_stall: Duration,
    /// What requests in flight get to finish after the shutdown; then they are cut off.
    pub(crate) grace: Duration,
}

impl Default for Limits {
    /// 16,384 connections, 1536 that speak, 250 ms of patience, 300 ms to be heard (who drips has given way to a whole request
    /// by then), 10 s and 16 KiB for headers, 10 s for a stalled reader, 20 s of grace.
    fn default() -> Self {
        Self {
            max_connections: 16 * 1024,
            max_speaking: 1536,
            patience: Duration::from_millis(250),
            hear_within: Duration::from_millis(300),
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
    let seats = Seats::new(limits.max_connections, limits.patience);
    let speaking = Seats::new(limits.max_speaking, limits.patience);
    let graceful = GracefulShutdown::new();
    let (closing, closed) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let (tcp, seat) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => {
                log_end(ended);
                continue;
            }
            accepted = accept(&listener, &seats) => accepted,
        };
        let (builder, router, speaking, watcher, mut closed) =
            (builder.clone(), router.clone(), Arc::clone(&speaking), graceful.watcher(), closed.clone());
        connections.spawn(async move {
            // Looks at the first byte and leaves it where it is; to be told that there may be one is not enough.
            let mut first = [0];
            let heard = tokio::select! {
                heard = timeout(limits.header_read_timeout, tcp.peek(&mut first)) => matches!(heard, Ok(Ok(1))),
                () = seat.asked_to_leave() => false,
                _ = closed.wait_for(|closed| *closed) => false,
            };
            if !heard {
                return Ok(());
            }
            let speaks = tokio::select! {
                speaks = place_to_speak(&tcp, &seat, &speaking, &limits) => speaks,
                _ = closed.wait_for(|closed| *closed) => None,
            };
            let mut stream = Lingering::new(tcp, limits.write_stall);
            let Some(speaks) = speaks else {
                refuse_unheard(&mut stream).await;
                return Ok(());
            };
            // Apart, so that those who say nothing do not take up its room.
            Box::pin(async move {
                let stream = TokioIo::new(Listened::new(stream, Arc::clone(&speaks)));
                let connection = builder.serve_connection(stream, answering(router, Arc::clone(&speaks)));
                serve_until_asked(watcher.watch(connection), &speaks).await
            })
            .await
        });
    }
    // From here on the port refuses, so that a balancer turns to another instance at once.
    drop(listener);
    closing.send_replace(true);
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

/// Serves a connection to its end, or until its seat is wanted and we really wait for its peer: what it has said meanwhile
/// may not have come to our attention yet, for when seats are wanted there is much to do.
async fn serve_until_asked(connection: impl Future<Output = hyper::Result<()>>, seat: &Seat) -> hyper::Result<()> {
    /// A request passes through so many hands until it is complete.
    const LOOKS: usize = 4;
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            biased;
            served = &mut connection => return served,
            () = seat.asked_to_leave() => {}
        }
        for _ in 0..LOOKS {
            tokio::select! {
                biased;
                served = &mut connection => return served,
                () = tokio::task::yield_now() => {}
            }
        }
        if seat.is_waited_for() {
            return Ok(());
        }
    }
}

/// Waits for a place among those that speak; not behind those who drip, once the request is here whole. From then on it is us
/// who keep it waiting, and not for long. The others have time: to refuse them early would have them back at once.
async fn place_to_speak(tcp: &TcpStream, seat: &Seat, speaking: &Arc<Seats>, limits: &Limits) -> Option<Arc<Seat>> {
    let place = tokio::select! {
        biased;
        place = speaking.take() => Some(place),
        () = whole::is_here(tcp) => None,
        () = seat.asked_to_leave() => return None,
        () = sleep(limits.header_read_timeout.mul_f64(rand::random_range(0.5..1.0))) => return None,
    };
    seat.hears();
    match place {
        Some(place) => Some(place),
        None => timeout(limits.hear_within, speaking.take_soon()).await.ok(),
    }
}

/// Says 503 to a request that nobody has the time to read.
async fn refuse_unheard(stream: &mut Lingering) {
    const UNHEARD: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let said = async {
        stream.write_all(UNHEARD).await?;
        stream.shutdown().await
    };
    if let Err(error) = said.await {
        tracing::debug!(%error, "a connection ended before it was refused");
    }
    metrics::counter!("billingd_webhooks_total", "outcome" => "unheard").increment(1);
}

/// The routes, and the word on whose turn it is.
fn answering(
    router: Router,
    seat: Arc<Seat>,
) -> impl hyper::service::Service<
    hyper::Request<hyper::body::Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future: Send + 'static,
> {
    hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (mut router, seat) = (router.clone(), Arc::clone(&seat));
        async move {
            let request = request.map(|body| Watched::new(body, Arc::clone(&seat)));
            let answer = router.call(request).await;
            seat.turn(Turn::Open);
            answer
        }
    })
}

/// Waits for a seat, then for a connection. May be dropped at any point without losing one.
async fn accept(listener: &TcpListener, seats: &Arc<Seats>) -> (TcpStream, Arc<Seat>) {
    loop {
        let seat = seats.take_soon().await;
        match listener.accept().await {
            Ok((stream, _peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection ended before it began");
                }
                seat.waits();
                return (stream, seat);
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
