//! A mail server that takes everything and keeps nothing: what is measured is the way to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running server; ends when dropped.
pub(super) struct Sink {
    pub(super) address: SocketAddr,
    counts: Arc<Counts>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    mails: AtomicU64,
    connections: AtomicU64,
}

impl Sink {
    pub(super) async fn open() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let counts = Arc::new(Counts::default());
        let server = tokio::spawn(accept(listener, counts.clone()));
        Ok(Self { address, counts, server })
    }

    /// Mails taken so far.
    pub(super) fn mails(&self) -> u64 {
        self.counts.mails.load(Ordering::Relaxed)
    }

    /// Connections made so far.
    pub(super) fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn accept(listener: TcpListener, counts: Arc<Counts>) {
    while let Ok((stream, _)) = listener.accept().await {
        counts.connections.fetch_add(1, Ordering::Relaxed);
        let counts = counts.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &counts).await {
                tracing::debug!(%error, "a connection for mail broke off");
            }
        });
    }
}

async fn converse(stream: TcpStream, counts: &Counts) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    writer.write_all(b"220 bench\r\n").await?;
    let mut line = Vec::new();
    let mut in_mail = false;
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let answer: &[u8] = match (in_mail, line.get(..4)) {
            (true, _) if line == b".\r\n" => {
                in_mail = false;
                counts.mails.fetch_add(1, Ordering::Relaxed);
                b"250 taken\r\n"
            }
            (true, _) => continue,
            (false, Some(b"DATA")) => {
                in_mail = true;
                b"354 go on\r\n"
            }
            (false, Some(b"QUIT")) => return writer.write_all(b"221 bye\r\n").await,
            (false, _) => b"250 fine\r\n",
        };
        writer.write_all(answer).await?;
    }
}
