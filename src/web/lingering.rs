//! A TCP stream that neither waits for ever on a reader that does not read, nor cuts off an answer by closing too soon.
//!
//! Closing a socket with unread bytes in its buffer makes the kernel send a reset, and a reset throws away what the
//! peer has not read yet: a sender of a body that is too large would see "connection reset" instead of its 413. So
//! after the last answer the write side is closed first, and what still comes is read and dropped for a moment.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// What is read and dropped after the last answer, at most; a sender of more gets its reset.
const DROPPED_BYTES: usize = 8 * 1024 * 1024;
/// How long that may take.
const LINGER: Duration = Duration::from_secs(2);

pub(crate) struct Lingering {
    tcp: TcpStream,
    /// How long a write may wait for the peer to read.
    write_stall: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs once our side is closed.
    linger: Option<Pin<Box<Sleep>>>,
    dropped_bytes: usize,
    /// The peer has closed its side: nothing more can come.
    read_closed: bool,
}

impl Lingering {
    pub(crate) fn new(tcp: TcpStream, write_stall: Duration) -> Self {
        Self { tcp, write_stall, stalled: None, linger: None, dropped_bytes: 0, read_closed: false }
    }

    /// Passes on a write's result, and fails it when it has waited too long.
    fn watch(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let write_stall = self.write_stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(write_stall)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads and drops until the peer closes, too much came, or it took too long.
    fn poll_drop_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [0; 8192];
        while !self.read_closed && self.dropped_bytes < DROPPED_BYTES {
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut self.tcp).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => self.dropped_bytes += buffer.filled().len(),
                Poll::Ready(_) => self.read_closed = true,
                Poll::Pending => return self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER))).as_mut().poll(cx),
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Lingering {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buffer))?;
        self.read_closed |= buffer.filled().len() == before && buffer.remaining() > 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.tcp).poll_shutdown(cx))?;
            self.linger = Some(Box::pin(sleep(LINGER)));
        }
        self.poll_drop_rest(cx).map(Ok)
    }
}
