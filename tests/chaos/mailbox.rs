//! A mail server that remembers what it took, by the mail's own id, and can be as bad as any.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::manner::{self, Manner};

#[derive(Clone, Default)]
pub(crate) struct Mailbox {
    taken: Arc<Mutex<BTreeMap<String, usize>>>,
    manner: watch::Sender<Manner>,
}

impl Mailbox {
    /// Starts the server, and gives its URL.
    pub(crate) async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let mailbox = self.clone();
        tokio::spawn(manner::listen(listener, self.manner.subscribe(), move |stream| {
            let mailbox = mailbox.clone();
            // A client that is killed ends its conversation with an error, and that is all.
            async move { drop(mailbox.converse(stream).await) }
        }));
        url
    }

    pub(crate) fn behave(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// How often each mail was taken.
    pub(crate) fn messages(&self) -> BTreeMap<String, usize> {
        self.taken.lock().unwrap().clone()
    }

    async fn converse(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        self.say(&mut write, "220 chaos").await?;
        while let Some(line) = lines.next_line().await? {
            match line.get(..4).map(str::to_ascii_uppercase).as_deref() {
                Some("DATA") => {
                    self.say(&mut write, "354 go on").await?;
                    let mut id = String::new();
                    while let Some(line) = lines.next_line().await? {
                        if line == "." {
                            break;
                        }
                        if line.len() > 11 && line[..11].eq_ignore_ascii_case("message-id:") {
                            line[11..].trim().clone_into(&mut id);
                        }
                    }
                    // Taken is what it says it takes, and says to somebody.
                    if self.say(&mut write, "250 taken").await? {
                        *self.taken.lock().unwrap().entry(id).or_insert(0) += 1;
                    }
                }
                Some("QUIT") => return self.say(&mut write, "221 bye").await.map(drop),
                Some("MAIL") if *self.manner.borrow() == Manner::RateLimiting => {
                    write.write_all(b"451 4.7.1 too many mails, come again later\r\n").await?;
                }
                _ => self.say(&mut write, "250 fine").await.map(drop)?,
            }
        }
        Ok(())
    }

    /// Says it in the manner of the moment; whether it was said at all.
    async fn say(&self, write: &mut tokio::net::tcp::OwnedWriteHalf, words: &str) -> std::io::Result<bool> {
        let manner = *self.manner.borrow();
        match manner {
            Manner::Down => return Err(std::io::ErrorKind::ConnectionAborted.into()),
            Manner::Slow => tokio::time::sleep(Duration::from_secs(4)).await,
            Manner::Garbage => {
                write.write_all(b"\x16\x03\x01 HTTP/1.1 200 OK\r\n\r\n<html>").await?;
                return Ok(false);
            }
            Manner::Good | Manner::RateLimiting => {}
        }
        write.write_all(format!("{words}\r\n").as_bytes()).await?;
        Ok(true)
    }
}
