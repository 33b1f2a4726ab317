//! How a server of somebody else's behaves.

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Counts from the next word of any conversation on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    #[default]
    Good,
    /// Nobody listens, and conversations end.
    Down,
    /// It takes seconds to say anything.
    Slow,
    /// No more for the moment.
    RateLimiting,
    /// It answers, but not in its protocol.
    Garbage,
}

/// Hands out connections, and does not listen while it is down.
pub(crate) async fn listen<F: Future<Output = ()> + Send + 'static>(
    mut listener: TcpListener,
    mut manner: watch::Receiver<Manner>,
    converse: impl Fn(TcpStream) -> F,
) {
    let address = listener.local_addr().unwrap();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => Some(accepted),
            down = manner.wait_for(|manner| *manner == Manner::Down) => match down {
                Ok(_) => None,
                // The scenario is over.
                Err(_) => return,
            },
        };
        let Some(accepted) = accepted else {
            drop(listener);
            if manner.wait_for(|manner| *manner != Manner::Down).await.is_err() {
                return;
            }
            listener = TcpListener::bind(address).await.unwrap();
            continue;
        };
        if let Ok((stream, _)) = accepted {
            tokio::spawn(converse(stream));
        }
    }
}
