//! A mail server that takes everything and remembers what it took, by the mail's own id.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Default)]
pub(crate) struct Mailbox(Arc<Mutex<BTreeMap<String, usize>>>);

impl Mailbox {
    /// Starts the server, and gives its URL.
    pub(crate) async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let mailbox = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mailbox = mailbox.clone();
                // A client that is killed ends its conversation with an error, and that is all.
                tokio::spawn(async move { mailbox.converse(stream).await });
            }
        });
        url
    }

    /// How often each mail was taken.
    pub(crate) fn messages(&self) -> BTreeMap<String, usize> {
        self.0.lock().unwrap().clone()
    }

    async fn converse(&self, stream: TcpStream) -> std::io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 chaos\r\n").await?;
        while let Some(line) = lines.next_line().await? {
            match line.get(..4).map(str::to_ascii_uppercase).as_deref() {
                Some("DATA") => {
                    write.write_all(b"354 go on\r\n").await?;
                    let mut id = String::new();
                    while let Some(line) = lines.next_line().await? {
                        if line == "." {
                            *self.0.lock().unwrap().entry(std::mem::take(&mut id)).or_insert(0) += 1;
                            write.write_all(b"250 taken\r\n").await?;
                            break;
                        }
                        if line.len() > 11 && line[..11].eq_ignore_ascii_case("message-id:") {
                            line[11..].trim().clone_into(&mut id);
                        }
                    }
                }
                Some("QUIT") => return write.write_all(b"221 bye\r\n").await,
                _ => write.write_all(b"250 fine\r\n").await?,
            }
        }
        Ok(())
    }
}
