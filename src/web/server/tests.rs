//! The limits of the server, with routes of its own.

use std::time::Instant;

use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::*;
use crate::web::testing::{hear, listen, say};

fn router() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/slow", get(|| async { sleep(Duration::from_millis(300)).await }))
        .route("/stuck", get(|| async { sleep(Duration::from_mins(10)).await }))
        .route("/large", get(|| async { vec![b'x'; 64 * 1024 * 1024] }))
        .route("/panic", post(|| async { assert!(std::hint::black_box(false), "as told") }))
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
const GET_AND_CLOSE: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";

fn quick() -> Limits {
    Limits { header_read_timeout: Duration::from_millis(200), ..Limits::default() }
}

/// Reads one answer of the router's `/` on a connection that stays.
async fn hear_hello(stream: &mut TcpStream) {
    let mut text = String::new();
    while !text.ends_with("hello") {
        let mut space = [0; 1024];
        let count = stream.read(&mut space).await.unwrap();
        assert_ne!(count, 0, "ended after {text:?}");
        text.push_str(std::str::from_utf8(&space[..count]).unwrap());
    }
}

/// Milliseconds until the peer closes without a word.
async fn silent_end_ms(mut stream: TcpStream) -> u128 {
    let started = Instant::now();
    let mut rest = Vec::new();
    timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    started.elapsed().as_millis()
}

#[tokio::test]
async fn headers_that_do_not_come_end_the_connection() {
    let (address, _stop, _server) = listen(router(), quick()).await;
    assert!(silent_end_ms(TcpStream::connect(address).await.unwrap()).await < 1000);
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    assert!(silent_end_ms(half).await < 1000);
}

#[tokio::test]
async fn an_idle_connection_is_kept_and_then_closed() {
    let (address, _stop, _server) = listen(router(), quick()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..4 {
        stream.write_all(GET).await.unwrap();
        hear_hello(&mut stream).await;
        sleep(Duration::from_millis(100)).await;
    }
    assert!(silent_end_ms(stream).await < 1000);
}

#[tokio::test]
async fn oversized_headers_are_431() {
    let (address, _stop, _server) = listen(router(), Limits::default()).await;
    let fits = format!("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\nx: {}\r\n\r\n", "x".repeat(15 * 1024));
    assert_eq!(say(address, fits.as_bytes()).await.status, 200);
    for size in [17 * 1024, 200 * 1024] {
        let large = format!("GET / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n", "x".repeat(size));
        assert_eq!(say(address, large.as_bytes()).await.status, 431, "{size}");
    }
    let many = format!("GET / HTTP/1.1\r\nhost: h\r\n{}\r\n", "x: y\r\n".repeat(200));
    assert_eq!(say(address, many.as_bytes()).await.status, 431);
    assert_eq!(say(address, b"what is this\r\n\r\n").await.status, 400);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let limits = Limits { max_connections: 1, patience: Duration::from_secs(60), ..Limits::default() };
    let (address, _stop, _server) = listen(router(), limits).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(GET).await.unwrap();
    hear_hello(&mut first).await;
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(GET_AND_CLOSE).await.unwrap();
    let mut byte = [0];
    assert!(timeout(Duration::from_millis(200), second.read(&mut byte)).await.is_err());
    drop(first);
    assert_eq!(hear(second).await.status, 200);
}

#[tokio::test]
async fn who_keeps_us_waiting_longest_gives_way() {
    let (patience, hear_within) = (Duration::from_millis(50), Duration::from_secs(5));
    let limits = Limits { max_connections: 12, max_speaking: 2, patience, hear_within, ..Limits::default() };
    let (address, _stop, _server) = listen(router(), limits).await;
    let mut at_work = TcpStream::connect(address).await.unwrap();
    at_work.write_all(b"GET /slow HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
    for said in [&b""[..], b"GET / HT", b"POST /panic HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nx"] {
        let mut silent = Vec::new();
        for _ in 0..8 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(said).await.unwrap();
            silent.push(stream);
        }
        let answer = timeout(Duration::from_secs(5), say(address, GET_AND_CLOSE)).await.unwrap();
        assert_eq!(answer.status, 200, "{said:?}");
    }
    assert_eq!(hear(at_work).await.status, 200);
}

#[tokio::test]
async fn who_has_said_everything_is_not_behind_those_who_drip() {
    let (patience, hear_within) = (Duration::from_millis(100), Duration::from_secs(60));
    let (address, _stop, _server) =
        listen(router(), Limits { max_speaking: 1, patience, hear_within, ..Limits::default() }).await;
    let mut drip = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HT").await.unwrap();
        drip.push(stream);
    }
    let in_pieces = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (head, rest) = GET_AND_CLOSE.split_at(9);
        stream.write_all(head).await.unwrap();
        sleep(Duration::from_millis(20)).await;
        stream.write_all(rest).await.unwrap();
        hear(stream).await
    };
    let (answer, in_pieces) = tokio::join!(say(address, GET_AND_CLOSE), in_pieces);
    assert_eq!((answer.status, in_pieces.status), (200, 200));
    // In the one line it would have been its turn after all of them.
    let mut byte = [0];
    assert!(timeout(Duration::from_millis(50), drip[99].read(&mut byte)).await.is_err());
}

#[tokio::test]
async fn who_is_not_heard_in_time_is_503() {
    let limits = Limits { max_speaking: 1, hear_within: Duration::from_millis(50), ..Limits::default() };
    let (address, _stop, _server) = listen(router(), limits).await;
    let mut at_work = TcpStream::connect(address).await.unwrap();
    at_work.write_all(b"GET /stuck HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(say(address, GET).await.status, 503);
}

#[tokio::test]
async fn who_has_not_said_everything_stands_in_line_until_its_time_is_up_or_the_end() {
    let header_read_timeout = Duration::from_millis(500);
    let limits =
        Limits { max_speaking: 1, hear_within: Duration::from_millis(20), header_read_timeout, ..Limits::default() };
    let (address, stop, server) = listen(router(), Limits { grace: Duration::ZERO, ..limits }).await;
    let mut at_work = TcpStream::connect(address).await.unwrap();
    at_work.write_all(b"GET /stuck HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(100)).await;
    let half = b"GET / HT";
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(half).await.unwrap();
    let mut byte = [0];
    assert!(timeout(Duration::from_millis(200), first.peek(&mut byte)).await.is_err(), "refused as if it were whole");
    assert_eq!(timeout(Duration::from_secs(5), hear(first)).await.unwrap().status, 503);
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(half).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    stop.send(()).unwrap();
    assert_eq!(timeout(Duration::from_secs(5), hear(second)).await.unwrap().status, 503);
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_says_the_rest_while_it_stands_in_line_is_heard_like_a_whole_request() {
    let limits = Limits {
        max_speaking: 1,
        hear_within: Duration::from_millis(20),
        header_read_timeout: Duration::from_secs(600),
        ..Limits::default()
    };
    let (address, _stop, _server) = listen(router(), limits).await;
    let mut at_work = TcpStream::connect(address).await.unwrap();
    at_work.write_all(b"GET /stuck HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(100)).await;
    let mut late = TcpStream::connect(address).await.unwrap();
    late.write_all(&GET[..8]).await.unwrap();
    sleep(Duration::from_millis(300)).await;
    late.write_all(&GET[8..]).await.unwrap();
    assert_eq!(timeout(Duration::from_secs(30), hear(late)).await.expect("stands there").status, 503);
}

#[tokio::test]
async fn who_stands_in_line_with_half_a_request_gives_way_to_who_comes() {
    let (patience, hear_within) = (Duration::from_millis(50), Duration::from_millis(50));
    let limits = Limits { max_connections: 3, max_speaking: 1, patience, hear_within, ..Limits::default() };
    let (address, _stop, _server) = listen(router(), limits).await;
    let mut at_work = TcpStream::connect(address).await.unwrap();
    at_work.write_all(b"GET /stuck HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    let mut half = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HT").await.unwrap();
        half.push(stream);
    }
    sleep(Duration::from_millis(100)).await;
    let answer = timeout(Duration::from_secs(5), say(address, GET)).await.expect("not let in");
    assert_eq!(answer.status, 503);
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_off() {
    let limits = Limits { max_connections: 1, write_stall: Duration::from_millis(200), ..Limits::default() };
    let (address, _stop, _server) = listen(router(), limits).await;
    let mut stalled = TcpStream::connect(address).await.unwrap();
    stalled.write_all(b"GET /large HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    // Its place is free again although it neither reads nor closes.
    let answer = timeout(Duration::from_secs(5), say(address, GET_AND_CLOSE)).await.unwrap();
    assert_eq!(answer.status, 200);
    drop(stalled);
}

#[tokio::test]
async fn a_panic_costs_one_connection() {
    let (address, _stop, _server) = listen(router(), Limits::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"POST /panic HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    silent_end_ms(stream).await;
    assert_eq!(say(address, GET_AND_CLOSE).await.status, 200);
}

#[tokio::test]
async fn a_shutdown_finishes_what_runs_and_closes_what_idles() {
    let (address, stop, server) = listen(router(), Limits::default()).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(GET).await.unwrap();
    hear_hello(&mut idle).await;
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(100)).await;
    stop.send(()).unwrap();
    assert!(silent_end_ms(idle).await < 200);
    assert!(TcpStream::connect(address).await.is_err());
    let answer = hear(busy).await;
    assert_eq!(answer.status, 200);
    timeout(Duration::from_secs(2), server).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_shutdown_waits_no_longer_than_the_grace_time() {
    let limits = Limits { grace: Duration::from_millis(200), ..Limits::default() };
    let (address, stop, server): (_, oneshot::Sender<()>, _) = listen(router(), limits).await;
    let mut stuck = TcpStream::connect(address).await.unwrap();
    stuck.write_all(b"GET /stuck HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(100)).await;
    stop.send(()).unwrap();
    timeout(Duration::from_secs(2), server).await.unwrap().unwrap().unwrap();
}
