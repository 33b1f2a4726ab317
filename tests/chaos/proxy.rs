//! A name that moves, and a network that comes apart: connections go to the port that it stands for at the moment.

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Proxy {
    pub(crate) port: u16,
    line: watch::Sender<Line>,
}

/// Where connections go, and what becomes of those that there were before.
#[derive(Clone, Copy)]
struct Line {
    to: u16,
    cut: Cut,
}

#[derive(Clone, Copy)]
enum Cut {
    /// Both ends are told.
    Off,
    /// Neither end is told.
    Silent,
}

impl Proxy {
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (line, seen) = watch::channel(Line { to, cut: Cut::Off });
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(pass(near, seen.clone()));
            }
        });
        Self { port, line }
    }

    /// From now on it stands for another port; what goes through it is cut off.
    pub(crate) fn move_to(&self, to: u16) {
        self.line.send_replace(Line { to, cut: Cut::Off });
    }

    /// From now on nothing goes through the connections that there are, and nobody is told. New ones are as good as any.
    pub(crate) fn fall_silent(&self) {
        self.line.send_modify(|line| line.cut = Cut::Silent);
    }
}

async fn pass(mut near: TcpStream, mut line: watch::Receiver<Line>) {
    let to = line.borrow_and_update().to;
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", to)).await else { return };
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    tokio::select! {
        passed = tokio::io::copy_bidirectional(&mut near, &mut far) => drop(passed),
        changed = line.changed() => {
            if changed.is_ok() && matches!(line.borrow().cut, Cut::Silent) {
                std::future::pending::<()>().await;
            }
        }
    }
}
