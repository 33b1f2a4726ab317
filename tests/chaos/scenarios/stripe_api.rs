//! Stripe's API is down, slow, rate-limiting, or answers garbage. Events that need no question go on at full speed; the
//! others wait.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness::{On, Site};
use crate::manner::{self, Manner};
use crate::stage::{Report, Stage, Wish};

pub(super) async fn play(on: On, wish: Wish) -> Report {
    let manner = watch::Sender::new(Manner::Good);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut site = Site::new(on).await;
    site.set("STRIPE_API_BASE", &format!("http://{}", listener.local_addr().unwrap()));
    site.set("STRIPE_API_KEY", "sk_test_key");
    let asked = manner.subscribe();
    tokio::spawn(manner::listen(listener, manner.subscribe(), move |stream| {
        let manner = asked.clone();
        async move { drop(answer(stream, &manner).await) }
    }));
    let mut stage = Stage::new(site, wish).await;
    stage.model.asks = true;
    stage.start().await;
    stage.unhurt = true;
    stage
        .through(async |_, _| {
            for bad in [Manner::Down, Manner::Slow, Manner::RateLimiting, Manner::Garbage] {
                manner.send_replace(bad);
                tokio::time::sleep(wish.seconds(4, 30)).await;
            }
            manner.send_replace(Manner::Good);
        })
        .await
}

/// One question, one answer: what a session sold.
async fn answer(stream: TcpStream, manner: &watch::Receiver<Manner>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let question = lines.next_line().await?.unwrap_or_default();
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    let sold = question.contains("/line_items");
    let items = json!({"object": "list", "has_more": false, "data": [
        {"id": "li_1", "object": "item", "quantity": 1, "price": {"id": "price_credits_10", "object": "price"}},
    ]});
    let known = if sold { "200 OK" } else { "404 Not Found" };
    let manner = *manner.borrow();
    let (status, body) = match manner {
        Manner::Down => return Ok(()),
        Manner::RateLimiting => ("429 Too Many Requests\r\nRetry-After: 1", "{}".to_owned()),
        Manner::Garbage => ("200 OK", "<html>\u{0} {\"object\": [".to_owned()),
        Manner::Slow => {
            tokio::time::sleep(Duration::from_secs(8)).await;
            (known, items.to_string())
        }
        Manner::Good => (known, items.to_string()),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    write.write_all(format!("{head}{body}").as_bytes()).await
}
