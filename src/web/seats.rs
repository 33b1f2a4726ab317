//! Room for connections. While there is room nobody is bothered; when there is none, whoever has kept us waiting longest
//! gives way to who comes.
//!
//! A peer keeps us waiting while its headers or its body are not complete, and while it keeps a connection open between two
//! requests. An honest one is never among the first for long: what it has to say comes in one piece. So thousands of idle or
//! dripping connections push out each other, and who has something to say is let in. A request that is complete is at work,
//! and is never pushed out.
//!
//! Who wants a seat stands in one of two lines, from whose heads seats are given in turn: one for those whose request is here
//! whole, and one for the rest. So nobody who keeps others waiting is in front of one who does not, however many they are.

use std::collections::BTreeMap;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::HttpBody;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

/// How long who was asked to leave may take; then the next is asked, too.
const LEAVING: Duration = Duration::from_millis(50);
/// So many may be asked in that time for those who may keep us waiting as well: all at once, thousands would come and go in one
/// moment, again and again, and everybody else would wait for that.
const AT_A_TIME: usize = 64;
/// When everybody is at work: how long until we look again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A number of seats; connections hold one each.
pub(super) struct Seats {
    free: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    soon: Line,
    rest: Line,
}

/// Those who want a seat, one behind the other; only the first looks for one.
struct Line {
    /// For them nobody is asked to leave before it has been waited for so long.
    patience: Duration,
    /// How many are asked in a moment of `LEAVING`; `None`: one for each that stands here.
    at_a_time: Option<usize>,
    /// When the last was asked.
    first: tokio::sync::Mutex<Option<Instant>>,
    standing: AtomicUsize,
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
    turn: Mutex<Turn>,
    _permit: OwnedSemaphorePermit,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// There is none: the peer may say something.
    Open,
    /// Its headers are here, and nobody has asked for its body; that is our delay.
    Called,
    /// Its body is asked for.
    Wanted,
    /// All of it is here.
    Complete,
}

impl Seats {
    /// `patience` is how long a seat is kept by one who keeps us waiting while a whole request wants it; for one that may
    /// keep us waiting as well it is four times that, for to change often between such costs more than it helps.
    pub(super) fn new(count: usize, patience: Duration) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        let line = |patience, at_a_time| Line {
            patience,
            at_a_time,
            first: tokio::sync::Mutex::default(),
            standing: AtomicUsize::new(0),
        };
        let (soon, rest) = (line(patience, None), line(patience * 4, Some(AT_A_TIME)));
        Arc::new(Self { free, waiting: Mutex::default(), soon, rest })
    }

    /// Waits until there is a seat for one that may keep us waiting.
    pub(super) async fn take(self: &Arc<Self>) -> Arc<Seat> {
        self.take_in(&self.rest).await
    }

    /// The same for one that will not: whose request is here whole, or who has yet to say anything.
    pub(super) async fn take_soon(self: &Arc<Self>) -> Arc<Seat> {
        self.take_in(&self.soon).await
    }

    /// Whoever is first in a line asks others to leave, for all that stand in it.
    async fn take_in(self: &Arc<Self>, line: &Line) -> Arc<Seat> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return self.seat(permit);
        }
        let _standing = Standing::in_line(&line.standing);
        let mut asked = line.first.lock().await;
        let mut permit = pin!(Arc::clone(&self.free).acquire_owned());
        loop {
            let pause =
                if self.free.available_permits() == 0 { self.ask_to_leave(line, &mut asked) } else { LOOK_AGAIN };
            tokio::select! {
                biased;
                permit = &mut permit => return self.seat(permit.expect("the semaphore is never closed")),
                () = sleep(pause) => {}
            }
        }
    }

    fn seat(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Arc<Seat> {
        let (seats, leave, number, turn) = (Arc::clone(self), Arc::default(), Mutex::default(), Mutex::new(Turn::Open));
        Arc::new(Seat { seats, leave, number, turn, _permit: permit })
    }

    /// Asks those that have been waited for longest, and gives the time until it is worth asking again.
    fn ask_to_leave(&self, line: &Line, asked: &mut Option<Instant>) -> Duration {
        let mut count = line.standing.load(Ordering::Relaxed).max(1);
        if let Some(at_a_time) = line.at_a_time {
            let left = asked.map_or(Duration::ZERO, |at| LEAVING.saturating_sub(at.elapsed()));
            if !left.is_zero() {
                return left;
            }
            count = count.min(at_a_time);
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..count {
            let Some(longest) = waiting.seats.first_entry() else { return LOOK_AGAIN };
            let waited = longest.get().0.elapsed();
            if waited < line.patience {
                return line.patience.saturating_sub(waited).min(LOOK_AGAIN);
            }
            let (_, leave) = longest.remove();
            leave.notify_one();
            *asked = Some(Instant::now());
            metrics::counter!("billingd_connections_pushed_out_total").increment(1);
        }
        LEAVING
    }
}

/// One more in the line, until this is dropped.
struct Standing<'a>(&'a AtomicUsize);

impl<'a> Standing<'a> {
    fn in_line(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Seat {
    /// The peer is waited for, from now on, unless it was already or a request of its is at work.
    pub(super) fn waits(&self) {
        let mut number = self.number.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = matches!(*self.turn.lock().unwrap_or_else(PoisonError::into_inner), Turn::Called | Turn::Complete);
        if number.is_some() || ours {
            return;
        }
        let mut waiting = self.seats.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.last += 1;
        *number = Some(waiting.last);
        let last = waiting.last;
        waiting.seats.insert(last, (Instant::now(), Arc::clone(&self.leave)));
    }

    /// The peer has said something: it is our turn.
    pub(super) fn hears(&self) {
        let number = self.number.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(number) = number {
            self.seats.waiting.lock().unwrap_or_else(PoisonError::into_inner).seats.remove(&number);
        }
    }

    /// Where the request of the moment stands.
    pub(super) fn turn(&self, turn: Turn) {
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = turn;
        if turn != Turn::Wanted {
            self.hears();
        }
    }

    /// The body is asked for; a peer that has not sent it is waited for from then on.
    fn wants_body(&self) {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if *turn == Turn::Called {
            *turn = Turn::Wanted;
        }
    }

    pub(super) fn is_waited_for(&self) -> bool {
        self.number.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Waits until the seat is wanted for somebody else.
    pub(super) async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hears();
    }
}

/// A connection that tells when its peer is waited for: not when bytes of its are here and we have not come to them.
pub(super) struct Listened<S> {
    stream: S,
    seat: Arc<Seat>,
}

impl<S> Listened<S> {
    pub(super) fn new(stream: S, seat: Arc<Seat>) -> Self {
        Self { stream, seat }
    }

    fn notes<T>(&self, done: Poll<T>) -> Poll<T> {
        if done.is_pending() {
            self.seat.waits();
        } else {
            self.seat.hears();
        }
        done
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Listened<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.notes(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listened<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.notes(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.notes(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.notes(closed)
    }
}

/// A request's body that tells when it is complete.
pub(super) struct Watched {
    body: Incoming,
    seat: Arc<Seat>,
}

impl Watched {
    pub(super) fn new(body: Incoming, seat: Arc<Seat>) -> Self {
        seat.turn(if body.is_end_stream() { Turn::Complete } else { Turn::Called });
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
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            self.seat.wants_body();
            return Poll::Pending;
        };
        if frame.is_none() || self.body.is_end_stream() {
            self.seat.turn(Turn::Complete);
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

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// Of 200 seats that are waited for and 200 who want one: how many have been asked to leave after some time.
    async fn asked_after(soon: bool, time: Duration) -> usize {
        let seats = Seats::new(200, Duration::from_millis(100));
        let mut sitting = Vec::new();
        for _ in 0..200 {
            let seat = seats.take().await;
            seat.waits();
            sitting.push(seat);
        }
        for _ in 0..200 {
            let seats = Arc::clone(&seats);
            tokio::spawn(async move { if soon { seats.take_soon().await } else { seats.take().await } });
        }
        sleep(time).await;
        sitting.iter().filter(|seat| seat.asked_to_leave().now_or_never().is_some()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn for_whole_requests_all_are_asked_at_once_and_for_others_a_few_at_a_time() {
        let ms = Duration::from_millis;
        assert_eq!(asked_after(true, ms(90)).await, 0);
        assert_eq!(asked_after(true, ms(110)).await, 200);
        assert_eq!(asked_after(false, ms(390)).await, 0);
        assert_eq!(asked_after(false, ms(410)).await, AT_A_TIME);
        assert_eq!(asked_after(false, ms(460)).await, 2 * AT_A_TIME);
    }
}
