//! Requests at a fixed pace that waits for nobody: each as soon as it is due, over as many connections as that takes, up to
//! what one machine can hold open; what is due when all of those wait for an answer is not sent at all.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(15);

/// Requests that may be on their way at a time.
const ON_THEIR_WAY: usize = 2000;

/// How one request was answered.
pub(crate) struct Shot {
    /// `None`: not in time. An error: the connection broke.
    pub(crate) status: Option<Result<u16, std::io::ErrorKind>>,
    pub(crate) took: Duration,
}

/// Fires `rate` requests a second for a while. `request` gives the bytes of each.
pub(crate) async fn fire(
    to: &str,
    rate: f64,
    length: Duration,
    request: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static,
) -> Vec<Shot> {
    let idle: Arc<Mutex<VecDeque<TcpStream>>> = Arc::default();
    let on_their_way: Arc<AtomicUsize> = Arc::default();
    let request = Arc::new(request);
    let mut shots = JoinSet::new();
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let mut fired = 0;
    while began.elapsed() < length {
        tick.tick().await;
        let due = (began.elapsed().as_secs_f64() * rate) as usize;
        while fired < due {
            fired += 1;
            if on_their_way.load(Ordering::Relaxed) >= ON_THEIR_WAY {
                continue;
            }
            let (number, idle, to, request) = (fired, Arc::clone(&idle), to.to_owned(), Arc::clone(&request));
            let on_their_way = Arc::clone(&on_their_way);
            on_their_way.fetch_add(1, Ordering::Relaxed);
            shots.spawn(async move {
                let bytes = request(number);
                let started = Instant::now();
                let status = timeout(PATIENCE, ask(&idle, &to, &bytes)).await.ok();
                let status = status.map(|answered| answered.map_err(|error| error.kind()));
                on_their_way.fetch_sub(1, Ordering::Relaxed);
                Shot { status, took: started.elapsed() }
            });
        }
    }
    shots.join_all().await
}

/// Asks over a connection that is free, or a new one, and leaves it for the next. One that was closed while it was free is
/// no answer.
pub(crate) async fn ask(idle: &Mutex<VecDeque<TcpStream>>, to: &str, request: &[u8]) -> std::io::Result<u16> {
    loop {
        let free = idle.lock().unwrap().pop_front();
        let kept = free.is_some();
        let mut stream = match free {
            Some(stream) => stream,
            None => TcpStream::connect(to).await?,
        };
        match converse(&mut stream, request).await {
            Ok(status) => {
                idle.lock().unwrap().push_back(stream);
                return Ok(status);
            }
            Err(_) if kept => {}
            Err(error) => return Err(error),
        }
    }
}

async fn converse(stream: &mut TcpStream, request: &[u8]) -> std::io::Result<u16> {
    stream.set_nodelay(true)?;
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    loop {
        let mut space = [0; 1024];
        let count = stream.read(&mut space).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&space[..count]);
        if let Some(status) = complete(&answer) {
            return Ok(status);
        }
    }
}

/// The status of an answer that is here to its end.
fn complete(answer: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    (body.len() >= length.unwrap_or(0)).then(|| head.split(' ').nth(1)?.parse().ok())?
}
