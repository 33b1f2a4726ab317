//! Room for connections. While there is room nobody is bothered; when there is none, whoever has kept us waiting longest
//! gives way to who comes.
//!
//! A peer keeps us waiting while its headers or its body are not complete, and while it keeps a connection open between two
//! requests. An honest one is never among the first for long: what it has to say comes in one piece. So thousands of idle or
//! dripping connections push out each other, and who has something to say is let in. A request that is complete is at work,
//! and is never pushed out.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::HttpBody;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

/// How long who was asked to leave may take; then the next is asked, too.
const LEAVING: Duration = Duration::from_millis(5);
/// When everybody is at work: how long until we look again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A number of seats; connections hold one each.
pub(super) struct Seats {
    free: Arc<Semaphore>,
    /// Nobody is asked to leave before it has been waited for so long.
    patience: Duration,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// In the order in which the waiting began.
    seats: BTreeMap<u64, (Instant, Arc<Notify>)>,
    last: u64,
}

/// A connection's place, free again when this is dropped.
pub(super) struct Seat {
    seats: Arc<Seats>,
    leave: Arc<Notify>,
    /// Its number among those that are waited for.
    number: Mutex<Option<u64>>,
    _permit: OwnedSemaphorePermit,
}

impl Seats {
    pub(super) fn new(count: usize, patience: Duration) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        Arc::new(Self { free, patience, waiting: Mutex::default() })
    }

    /// Waits until there is a seat, and asks others to leave for it.
    pub(super) async fn take(self: &Arc<Self>) -> Arc<Seat> {
        loop {
            let pause = if self.free.available_permits() == 0 { self.ask_to_leave() } else { LOOK_AGAIN };
            tokio::select! {
                biased;
                permit = Arc::clone(&self.free).acquire_owned() => {
                    let _permit = permit.expect("the semaphore is never closed");
                    let (seats, leave, number) = (Arc::clone(self), Arc::default(), Mutex::default());
                    return Arc::new(Seat { seats, leave, number, _permit });
                }
                () = sleep(pause) => {}
            }
        }
    }

    /// Asks the one that has been waited for longest, and gives the time until it is worth asking again.
    fn ask_to_leave(&self) -> Duration {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(longest) = waiting.seats.first_entry() else { return LOOK_AGAIN };
        let waited = longest.get().0.elapsed();
        if waited < self.patience {
            return self.patience.saturating_sub(waited).min(LOOK_AGAIN);
        }
        let (_, leave) = longest.remove();
        leave.notify_one();
        metrics::counter!("billingd_connections_pushed_out_total").increment(1);
        LEAVING
    }
}

impl Seat {
    /// The peer is waited for, from now on.
    pub(super) fn waits(&self) {
        self.works();
        let mut waiting = self.seats.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.last += 1;
        let number = waiting.last;
        waiting.seats.insert(number, (Instant::now(), Arc::clone(&self.leave)));
        *self.number.lock().unwrap_or_else(PoisonError::into_inner) = Some(number);
    }

    /// It is our turn; nobody asks the connection to leave.
    pub(super) fn works(&self) {
        let number = self.number.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(number) = number {
            self.seats.waiting.lock().unwrap_or_else(PoisonError::into_inner).seats.remove(&number);
        }
    }

    /// Waits until the seat is wanted for somebody else.
    pub(super) async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.works();
    }
}

/// A request's body that tells when it is complete.
pub(super) struct Watched {
    body: Incoming,
    seat: Arc<Seat>,
}

impl Watched {
    pub(super) fn new(body: Incoming, seat: Arc<Seat>) -> Self {
        if body.is_end_stream() {
            seat.works();
        }
        Self { body, seat }
    }
}

impl HttpBody for Watched {
    type Data = <Incoming as HttpBody>::Data;
    type Error = <Incoming as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.seat.works();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
