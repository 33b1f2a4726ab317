//! The three questions, over real sockets.

use std::time::Duration;

use billing::Engine;
use serde_json::{Value, json};

use crate::web::Limits;
use crate::web::testing::{run, settings};

#[tokio::test]
async fn ready_says_which_part_fails() {
    let web = run(settings(), Limits::default()).await;
    let answer = web.get("/readyz").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body, json!({ "ready": true, "database": "ok", "schema": "current" }));

    let Engine::Sqlite(file) = &web.db else { unreachable!("tests here run on a file") };
    sqlx::query("delete from billing_migrations").execute(&file.writer).await.unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    let answer = web.get("/readyz").await;
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, &body["database"], &body["ready"]), (503, &json!("ok"), &json!(false)), "{body}");
    assert!(body["schema"].as_str().unwrap().contains("billingd migrate"), "{body}");

    web.db.close().await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let answer = web.get("/readyz").await;
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, &body["database"]), (503, &json!("unreachable")), "{body}");
    assert_eq!(web.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_not_waited_for() {
    let web = run(settings(), Limits::default()).await;
    let Engine::Sqlite(file) = &web.db else { unreachable!("tests here run on a file") };
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(file.reader.acquire().await.unwrap());
    }
    let started = std::time::Instant::now();
    assert_eq!(web.get("/readyz").await.status, 503);
    assert!(started.elapsed() < Duration::from_millis(2800));
    drop(held);
}

#[tokio::test]
async fn metrics_are_text_for_prometheus() {
    let web = run(settings(), Limits::default()).await;
    let answer = web.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
}
