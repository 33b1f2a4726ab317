//! The attacks. Each goes on until it is stopped, and cares for no answer more than it has to.

use std::time::Duration;

use billing::stripe::Secrets;
use futures::future::{BoxFuture, join_all};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::bodies::now;
use crate::harness::SECRET;

type Attack = fn(String, bool, watch::Receiver<bool>) -> BoxFuture<'static, ()>;

pub(super) const ATTACKS: [(&str, Attack); 10] = [
    ("slow headers", |to, long, stop| many(to, if long { 4000 } else { 500 }, stop, slow_headers)),
    ("slow bodies", |to, long, stop| many(to, if long { 4000 } else { 500 }, stop, slow_bodies)),
    ("idle connections", |to, long, stop| many(to, if long { 10_000 } else { 3000 }, stop, idle)),
    ("2 MiB bodies", |to, _, stop| many(to, 4, stop, large_bodies)),
    ("endless bodies", |to, _, stop| many(to, 4, stop, endless_bodies)),
    ("chunk tricks", |to, _, stop| many(to, 4, stop, chunk_tricks)),
    ("pipelining", |to, _, stop| many(to, 4, stop, pipelining)),
    ("wrong signatures", |to, _, stop| many(to, 16, stop, wrong_signatures)),
    ("old requests", |to, _, stop| many(to, 16, stop, old_requests)),
    ("unread answers", |to, _, stop| many(to, 200, stop, unread_answers)),
];

/// So many at once, each connecting again when its connection ends.
fn many<F>(to: String, count: usize, stop: watch::Receiver<bool>, one: fn(TcpStream) -> F) -> BoxFuture<'static, ()>
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    Box::pin(async move {
        let again = |index: usize| {
            let (to, mut stop) = (to.clone(), stop.clone());
            async move {
                let attack = async {
                    // Not all in the same moment.
                    sleep(Duration::from_micros(100 * index as u64)).await;
                    loop {
                        if let Ok(stream) = TcpStream::connect(&to).await {
                            drop(one(stream).await);
                        }
                        sleep(Duration::from_millis(1)).await;
                    }
                };
                tokio::select! {
                    () = attack => {}
                    stopped = stop.wait_for(|stop| *stop) => drop(stopped),
                }
            }
        };
        join_all((0..count).map(again)).await;
    })
}

fn head(length: &str) -> String {
    format!("POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nStripe-Signature: t=1,v1=00\r\n{length}\r\n\r\n")
}

/// A byte a second for ever, or until the other side has had enough.
async fn trickle(mut stream: TcpStream, start: &str, byte: &[u8]) -> std::io::Result<()> {
    stream.write_all(start.as_bytes()).await?;
    let mut answer = [0; 512];
    loop {
        if let Ok(read) = timeout(Duration::from_secs(1), stream.read(&mut answer)).await
            && read? == 0
        {
            return Ok(());
        }
        stream.write_all(byte).await?;
    }
}

async fn slow_headers(stream: TcpStream) -> std::io::Result<()> {
    trickle(stream, "POST /webhooks/stripe HTTP/1.1\r\nX-Slow: ", b"a").await
}

async fn slow_bodies(stream: TcpStream) -> std::io::Result<()> {
    trickle(stream, &head("Content-Length: 100000"), b"{").await
}

async fn idle(mut stream: TcpStream) -> std::io::Result<()> {
    let read = stream.read(&mut [0; 16]).await?;
    assert_eq!(read, 0, "nothing was asked");
    Ok(())
}

/// Waits for the end, and drops what comes before it.
async fn to_the_end(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut answer = vec![0; 4096];
    while timeout(Duration::from_secs(5), stream.read(&mut answer)).await?? > 0 {}
    Ok(())
}

async fn large_bodies(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(head("Content-Length: 2097152").as_bytes()).await?;
    stream.write_all(&vec![b'a'; 2 << 20]).await?;
    to_the_end(&mut stream).await
}

async fn endless_bodies(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(head("Transfer-Encoding: chunked").as_bytes()).await?;
    let chunk = format!("10000\r\n{}\r\n", "a".repeat(0x10000));
    write_for_ever(&mut stream, chunk.as_bytes()).await
}

async fn chunk_tricks(stream: TcpStream) -> std::io::Result<()> {
    let to = stream.peer_addr()?;
    let chunked = head("Transfer-Encoding: chunked");
    let tricks = [
        format!("{chunked}FFFFFFFFFFFFFFFF\r\na"),
        format!("{chunked}-1\r\na\r\n0\r\n\r\n"),
        format!("{chunked}1;{}\r\na\r\n0\r\n\r\n", "x".repeat(100_000)),
        format!("{chunked}1\na\n0\n\n"),
        format!("{chunked}0\r\n{}\r\n", "T: x\r\n".repeat(10_000)),
        format!("{chunked}{}", "1\r\na\r\n".repeat(100_000)),
        head("Transfer-Encoding: chunked\r\nContent-Length: 3") + "0\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n",
        head("Transfer-Encoding: chunked, identity") + "0\r\n\r\n",
        head("Content-Length: 3\r\nContent-Length: 4") + "abcd",
        head("Content-Length: 99999999999999999999"),
        format!("POST / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(2000)),
        "\0\u{1}\u{2}".repeat(10_000),
    ];
    for trick in tricks {
        let mut stream = TcpStream::connect(to).await?;
        // Refused half-way is as good as answered.
        let written = stream.write_all(trick.as_bytes()).await;
        stream.shutdown().await.or(written)?;
        to_the_end(&mut stream).await.unwrap_or_default();
    }
    Ok(())
}

async fn pipelining(stream: TcpStream) -> std::io::Result<()> {
    let (mut read, mut write) = stream.into_split();
    let requests = (head("Content-Length: 2") + "{}" + "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").repeat(100);
    let mut answers = vec![0; 65536];
    tokio::select! {
        written = write_for_ever(&mut write, requests.as_bytes()) => written,
        answered = async {
            while read.read(&mut answers).await? > 0 {}
            Ok(())
        } => answered,
    }
}

async fn write_for_ever(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    loop {
        to.write_all(bytes).await?;
    }
}

/// One request after the other, each as soon as there is an answer.
async fn over_and_over(mut stream: TcpStream, request: &str) -> std::io::Result<()> {
    let mut answer = vec![0; 4096];
    loop {
        stream.write_all(request.as_bytes()).await?;
        if stream.read(&mut answer).await? == 0 {
            return Ok(());
        }
        assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    }
}

fn signed(secret: &str, at: i64) -> String {
    let body = format!(
        r#"{{"id":"evt_forged","object":"event","type":"x","created":1,"data":{{"object":{{"a":"{}"}}}}}}"#,
        "x".repeat(2000)
    );
    let signature = Secrets::parse(secret).unwrap().sign(body.as_bytes(), at);
    let length = body.len();
    format!(
        "POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nStripe-Signature: {signature}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

async fn wrong_signatures(stream: TcpStream) -> std::io::Result<()> {
    over_and_over(stream, &signed("whsec_of_somebody_else", now())).await
}

async fn old_requests(stream: TcpStream) -> std::io::Result<()> {
    over_and_over(stream, &signed(SECRET, now() - 301)).await
}

/// Asks for much and reads nothing.
async fn unread_answers(mut stream: TcpStream) -> std::io::Result<()> {
    let requests = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20);
    write_for_ever(&mut stream, requests.as_bytes()).await
}
