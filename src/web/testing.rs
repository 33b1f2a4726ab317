//! For tests: a receiver on a real socket over a real file, and HTTP said by hand, byte by byte.

use std::net::SocketAddr;
use std::time::Duration;

use billing::store::PoolSizes;
use billing::stripe::Secrets;
use billing::{Clock, Db, Engine};
use chrono::DateTime;
use metrics_exporter_prometheus::PrometheusBuilder;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::committer::Committers;
use super::{Limits, WebSettings, WebState, receiver_router, serve, start_committers};

pub(crate) const NOW: i64 = 1_760_000_000;

/// A receiver that is up.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) secrets: Secrets,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) server: JoinHandle<std::io::Result<()>>,
    pub(crate) committers: Committers,
    _dir: TempDir,
}

/// A database file in a directory of its own, with all tables.
pub(crate) async fn database() -> (Db, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("billing.db").display());
    let sizes = PoolSizes { connections: 4, acquire_timeout: Duration::from_secs(2) };
    let db = Db::open(&url, "billing", sizes).unwrap();
    jobs::migrate(&db, "billing").await.unwrap();
    (db, dir)
}

pub(crate) fn settings() -> WebSettings {
    WebSettings::new(Secrets::parse("whsec_test").unwrap())
}

pub(crate) async fn run(settings: WebSettings, limits: Limits) -> Running {
    let (db, dir) = database().await;
    let clock = Clock::manual(DateTime::from_timestamp(NOW, 0).unwrap());
    let secrets = settings.secrets.clone();
    let (queue, committers) = start_committers(&db, &clock, &settings);
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let router =
        receiver_router(WebState::new(db.clone(), clock.clone(), settings, queue, metrics), None::<axum::Router>);
    let (address, stop, server) = listen(router, limits).await;
    Running { address, db, clock, secrets, stop, server, committers, _dir: dir }
}

/// Serves `router` on a free port until told or until the sender is dropped.
pub(crate) async fn listen(
    router: axum::Router,
    limits: Limits,
) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let server = tokio::spawn(serve(listener, router, limits, async move {
        stopped.await.unwrap_or_default();
    }));
    (address, stop, server)
}

/// An event's body.
pub(crate) fn event(id: &str) -> String {
    format!(
        r#"{{"id":"{id}","object":"event","type":"invoice.paid","created":{NOW},"livemode":false,"data":{{"object":{{"id":"in_1","object":"invoice"}}}}}}"#
    )
}

impl Running {
    /// Posts `body` with a good signature.
    pub(crate) async fn post(&self, body: &[u8]) -> Answer {
        let signature = self.secrets.sign(body, self.clock.now().timestamp());
        self.post_signed(body, Some(&signature)).await
    }

    pub(crate) async fn post_signed(&self, body: &[u8], signature: Option<&str>) -> Answer {
        say(self.address, &request(body, signature)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        say(self.address, format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").as_bytes()).await
    }

    /// Events in the inbox.
    pub(crate) async fn stored(&self) -> i64 {
        let Engine::Sqlite(file) = &self.db else { unreachable!("tests here run on a file") };
        sqlx::query_scalar("select count(*) from stripe_events").fetch_one(&file.reader).await.unwrap()
    }

    /// `status` and `last_error` of an event.
    pub(crate) async fn status(&self, id: &str) -> (String, Option<String>) {
        let Engine::Sqlite(file) = &self.db else { unreachable!("tests here run on a file") };
        sqlx::query_as("select status, last_error from stripe_events where id = $1")
            .bind(id)
            .fetch_one(&file.reader)
            .await
            .unwrap()
    }
}

/// The bytes of a whole request.
pub(crate) fn request(body: &[u8], signature: Option<&str>) -> Vec<u8> {
    let mut request = head(&format!("content-length: {}\r\nconnection: close", body.len()), signature);
    request.extend_from_slice(body);
    request
}

/// The bytes of a request up to its body.
pub(crate) fn head(framing: &str, signature: Option<&str>) -> Vec<u8> {
    let signature = signature.map(|signature| format!("stripe-signature: {signature}\r\n")).unwrap_or_default();
    format!("POST /webhooks/stripe HTTP/1.1\r\nhost: h\r\n{framing}\r\n{signature}\r\n").into_bytes()
}

/// What came back: the head in lower case, and the body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The code of an error body, which has exactly the promised form.
    pub(crate) fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert!(body["error"]["message"].is_string(), "{}", self.body);
        body["error"]["code"].as_str().unwrap().to_owned()
    }
}

/// Sends `bytes` and reads to the end of the connection.
pub(crate) async fn say(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    hear(stream).await
}

pub(crate) async fn hear(mut stream: TcpStream) -> Answer {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}
