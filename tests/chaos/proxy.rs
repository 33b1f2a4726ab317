//! A name that moves: connections go to the port that it stands for at the moment.

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Proxy {
    pub(crate) port: u16,
    to: watch::Sender<u16>,
}

impl Proxy {
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (to, target) = watch::channel(to);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(pass(near, target.clone()));
            }
        });
        Self { port, to }
    }

    /// From now on it stands for another port; what goes through it is cut off.
    pub(crate) fn move_to(&self, port: u16) {
        self.to.send_replace(port);
    }
}

async fn pass(mut near: TcpStream, mut target: watch::Receiver<u16>) {
    let port = *target.borrow_and_update();
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    tokio::select! {
        passed = tokio::io::copy_bidirectional(&mut near, &mut far) => drop(passed),
        moved = target.changed() => drop(moved),
    }
}
