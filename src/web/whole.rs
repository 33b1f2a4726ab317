//! Whether a request is here to its last byte, before anything reads it: such a one keeps nobody waiting.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// What is looked at first; the headers, and with most events their body.
const FIRST_LOOK_BYTES: usize = 16 * 1024;
/// Larger requests are not looked for; about what the kernel keeps for one connection.
const MOST_BYTES: usize = 64 * 1024;
/// From the first look to the second: headers and body may come one after the other.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// From there each pause is four times the last, up to this: of those who drip there may be thousands.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Returns when the request at the head of the stream has come whole. Leaves all of it where it is.
pub(super) async fn is_here(stream: &TcpStream) {
    let mut pause = FIRST_PAUSE;
    while !look(stream, FIRST_LOOK_BYTES).await {
        sleep(pause).await;
        pause = (pause * 4).min(LONGEST_PAUSE);
    }
}

/// Keeps no buffer while others are looked at: there may be thousands.
async fn look(stream: &TcpStream, bytes: usize) -> bool {
    let seen = poll_fn(|cx| {
        let mut space = vec![0; bytes];
        let mut space = ReadBuf::new(&mut space);
        let length = match stream.poll_peek(cx, &mut space) {
            Poll::Ready(Ok(_)) => length(space.filled()),
            _ => None,
        };
        Poll::Ready((length, space.filled().len()))
    });
    match seen.await {
        (Some(length), count) if length <= count => true,
        (Some(length), _) if length <= MOST_BYTES && bytes < length => Box::pin(look(stream, length)).await,
        _ => false,
    }
}

/// How many bytes the request has with its body, once its headers are here. `None` also for what does not say it.
fn length(said: &[u8]) -> Option<usize> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = request.parse(said) else { return None };
    let mut body = 0;
    for header in request.headers.iter() {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return None;
        }
        if header.name.eq_ignore_ascii_case("content-length") {
            body = std::str::from_utf8(header.value).ok()?.trim().parse().ok()?;
        }
    }
    head.checked_add(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_how_long_it_is() {
        let request = b"POST / HTTP/1.1\r\nHost: h\r\ncontent-Length: 5\r\n\r\nhello";
        for cut in 0..request.len() {
            let whole = length(&request[..cut]).is_some_and(|length| length <= cut);
            assert!(!whole, "{cut}");
        }
        assert_eq!(length(request), Some(request.len()));
        assert_eq!(length(b"GET / HTTP/1.1\r\n\r\nGET"), Some(18));
        assert_eq!(length(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"), None);
        assert_eq!(length(b"POST / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n"), None);
        assert_eq!(length(b"what is this\r\n\r\n"), None);
    }
}
