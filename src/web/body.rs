//! Reading a body without trusting it: each is bounded, and so is the sum of all that are in memory.
//!
//! Whoever sends a body has not shown a good signature yet, and the signature needs the whole body. So the sum is
//! counted in bytes that have *arrived*, never in bytes that were announced: a thousand connections that announce a
//! mebibyte and send nothing hold nothing.

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room made on the word of a `Content-Length` alone; nearly every event fits, so it is read without moving.
const TRUSTED_BYTES: usize = 64 * 1024;

/// The memory for bodies; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Bodies {
    room: Arc<Semaphore>,
    max_body_bytes: usize,
}

/// A body in memory; its place is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Vec<u8>,
    /// `None` for an empty body.
    pub(crate) place: Option<OwnedSemaphorePermit>,
}

/// Why a body was not read to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    TooLarge,
    /// The bodies of others take all the room there is.
    NoRoom,
    /// The sender ended it early, or it is not the HTTP that its headers promise.
    Broken,
}

impl Bodies {
    pub(crate) fn new(max_body_bytes: usize, buffered_bytes: usize) -> Self {
        // Never less than one body, or none would ever fit.
        let room = buffered_bytes.max(max_body_bytes).min(Semaphore::MAX_PERMITS);
        Self { room: Arc::new(Semaphore::new(room)), max_body_bytes }
    }

    /// Reads `body` to its end; as long as the sender likes, so the caller sets the time.
    pub(crate) async fn read(&self, mut body: Body) -> Result<Held, Unread> {
        // What is announced as too large is refused before the first byte; a chunked body announces nothing (0).
        let announced = usize::try_from(body.size_hint().lower()).map_err(|_| Unread::TooLarge)?;
        if announced > self.max_body_bytes {
            return Err(Unread::TooLarge);
        }
        let mut held = Held { bytes: Vec::with_capacity(announced.min(TRUSTED_BYTES)), place: None };
        while let Some(frame) = body.frame().await {
            // Trailers say nothing to us.
            let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
            if held.bytes.len() + data.len() > self.max_body_bytes {
                return Err(Unread::TooLarge);
            }
            let count = u32::try_from(data.len()).map_err(|_| Unread::TooLarge)?;
            let more = Arc::clone(&self.room).try_acquire_many_owned(count).map_err(|_| Unread::NoRoom)?;
            match &mut held.place {
                Some(place) => place.merge(more),
                none => *none = Some(more),
            }
            // The one copy: out of the connection's buffer, which is then free for the rest. Verifying, parsing and
            // storing use these bytes where they are.
            held.bytes.extend_from_slice(&data);
        }
        Ok(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_bounded_alone_and_together() {
        let bodies = Bodies::new(10, 15);
        let first = bodies.read(Body::from("1234567890")).await.unwrap();
        assert_eq!(first.bytes, b"1234567890");
        assert_eq!(bodies.read(Body::from("12345678901")).await.unwrap_err(), Unread::TooLarge);
        assert_eq!(bodies.read(Body::from("123456")).await.unwrap_err(), Unread::NoRoom);
        assert_eq!(bodies.read(Body::from("12345")).await.unwrap().bytes, b"12345");
        drop(first);
        assert!(bodies.read(Body::from("1234567890")).await.is_ok());
        assert!(bodies.read(Body::empty()).await.unwrap().bytes.is_empty());
    }
}
