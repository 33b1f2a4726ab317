//! One kept-alive HTTP/1.1 connection that does no more than it must: load and receiver share the machine's cores, and
//! what the load costs is missing from the result.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The longest answer; the program's are a few hundred bytes.
const ANSWER_BYTES: usize = 16 << 10;

pub(super) struct Connection {
    stream: TcpStream,
    /// What was read of the answer.
    answer: Vec<u8>,
}

impl Connection {
    pub(super) async fn to(to: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::new() })
    }

    /// Sends a whole request, reads the whole answer and gives its status.
    pub(super) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        loop {
            anyhow::ensure!(self.answer.len() < ANSWER_BYTES, "the answer has no end");
            anyhow::ensure!(self.stream.read_buf(&mut self.answer).await? > 0, "the connection was closed");
            if let Some(status) = whole_answer(&self.answer)? {
                return Ok(status);
            }
        }
    }
}

/// The status, once the answer is there to its end.
fn whole_answer(answer: &[u8]) -> anyhow::Result<Option<u16>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = head.parse(answer)? else { return Ok(None) };
    let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.context("the answer does not say its length")?.value;
    let length: usize = std::str::from_utf8(length)?.trim().parse()?;
    let whole = answer.len() >= head_bytes.saturating_add(length);
    Ok(head.code.filter(|_| whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\nx: y\r\n\r\nhello";
        for cut in 0..answer.len() {
            assert_eq!(whole_answer(&answer[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(whole_answer(answer).unwrap(), Some(503));
        assert!(whole_answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(whole_answer(b"SMTP\r\n\r\n").is_err());
    }
}
