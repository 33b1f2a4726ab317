//! Every row of the contract's table, over real sockets.

use std::time::{Duration, Instant};

use billing::Engine;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::MANY_REFUSED;
use crate::web::testing::{NOW, event, head, hear, request, run, say, settings};
use crate::web::{Limits, REFUSALS_TOLD};

#[tokio::test]
async fn a_new_event_is_stored_and_a_repeated_one_is_a_duplicate() {
    let web = run(settings(), Limits::default()).await;
    let first = web.post(event("evt_1").as_bytes()).await;
    assert_eq!((first.status, first.body.as_str()), (200, r#"{"received":true,"duplicate":false}"#));
    assert!(first.head.contains("content-type: application/json"), "{}", first.head);
    let second = web.post(event("evt_1").as_bytes()).await;
    assert_eq!((second.status, second.body.as_str()), (200, r#"{"received":true,"duplicate":true}"#));
    assert_eq!(web.stored().await, 1);
    assert_eq!(web.status("evt_1").await, ("received".to_owned(), None));
}

#[tokio::test]
async fn many_at_once_are_each_answered_for_themselves() {
    let web = run(settings(), Limits::default()).await;
    let bodies: Vec<String> = (0..200).map(|n| event(&format!("evt_{}", n % 100))).collect();
    let answers = futures::future::join_all(bodies.iter().map(|body| web.post(body.as_bytes()))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(answers.iter().filter(|answer| answer.body.contains("\"duplicate\":true")).count(), 100);
    assert_eq!(web.stored().await, 100);
}

#[tokio::test]
async fn a_bad_signature_is_400_and_stores_nothing() {
    let web = run(settings(), Limits::default()).await;
    let body = event("evt_1");
    let body = body.as_bytes();
    let forged = billing::stripe::Secrets::parse("whsec_other").unwrap().sign(body, NOW);
    let cases = [
        (None, "signature_missing"),
        (Some(String::new()), "signature_malformed"),
        (Some("t=x,v1=y".to_owned()), "signature_malformed"),
        (Some(forged), "signature_mismatch"),
        (Some(web.secrets.sign(b"another body", NOW)), "signature_mismatch"),
        (Some(web.secrets.sign(body, NOW - 301)), "signature_out_of_tolerance"),
        (Some(web.secrets.sign(body, NOW + 301)), "signature_out_of_tolerance"),
        // Two headers, of which one is good.
        (Some(format!("{}\r\nstripe-signature: t=1,v1=2", web.secrets.sign(body, NOW))), "signature_malformed"),
    ];
    for (signature, code) in cases {
        let answer = web.post_signed(body, signature.as_deref()).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{signature:?}");
    }
    assert_eq!(web.stored().await, 0);
    for at in [NOW - 300, NOW + 300] {
        assert_eq!(web.post_signed(body, Some(&web.secrets.sign(body, at))).await.status, 200);
    }
}

#[tokio::test]
async fn a_body_that_is_no_event_is_400_and_stores_nothing() {
    let web = run(settings(), Limits::default()).await;
    let cases: [(&[u8], &str); 6] = [
        (b"", "not_json"),
        (b"hello", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"{\"id\":\"evt_1\",\"type\":\"a\",\"x\":\"\xff\",\"data\":{\"object\":{}}}", "not_json"),
        (b"[1]", "not_an_event"),
        (br#"{"object":"customer","id":"cus_1"}"#, "not_an_event"),
    ];
    for (body, code) in cases {
        let answer = web.post(body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{}", String::from_utf8_lossy(body));
    }
    assert_eq!(web.stored().await, 0);
}

#[tokio::test]
async fn the_other_mode_is_stored_as_ignored() {
    let mut only_live = settings();
    only_live.livemode = Some(true);
    let web = run(only_live, Limits::default()).await;
    let answer = web.post(event("evt_test").as_bytes()).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"received":true,"duplicate":false}"#));
    let (status, reason) = web.status("evt_test").await;
    assert_eq!(status, "ignored");
    assert_eq!(reason.as_deref(), Some("livemode is false, this instance takes true"));
    let live = event("evt_live").replace("\"livemode\":false", "\"livemode\":true");
    assert_eq!(web.post(live.as_bytes()).await.status, 200);
    assert_eq!(web.status("evt_live").await.0, "received");
}

#[tokio::test]
async fn two_mebibytes_are_413_announced_or_not() {
    let web = run(settings(), Limits::default()).await;
    let body = vec![b' '; 2 * 1024 * 1024];
    let signature = web.secrets.sign(&body, NOW);
    // Announced, and sent all the same: the answer must survive the bytes that nobody reads.
    let answer = web.post_signed(&body, Some(&signature)).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    // Announced and not sent: refused without waiting for it.
    let answer = say(web.address, &head("content-length: 2097152", Some(&signature))).await;
    assert_eq!(answer.status, 413);
    // Chunked: nobody knows before it is there.
    let mut chunked = head("transfer-encoding: chunked", Some(&signature));
    for chunk in body.chunks(64 * 1024) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let answer = say(web.address, &chunked).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    assert_eq!(web.stored().await, 0);
}

#[tokio::test]
async fn a_body_of_just_the_limit_is_taken() {
    let web = run(settings(), Limits::default()).await;
    let mut body = event("evt_large");
    body.extend(std::iter::repeat_n(' ', 1024 * 1024 - body.len()));
    assert_eq!(web.post(body.as_bytes()).await.status, 200);
    body.push(' ');
    assert_eq!(web.post(body.as_bytes()).await.status, 413);
}

#[tokio::test]
async fn a_slow_body_is_408_and_the_connection_ends() {
    let mut quick = settings();
    quick.answer_within = Duration::from_millis(200);
    let web = run(quick, Limits::default()).await;
    let started = Instant::now();
    let mut stream = TcpStream::connect(web.address).await.unwrap();
    stream.write_all(&head("content-length: 100", None)).await.unwrap();
    stream.write_all(b"{\"id\"").await.unwrap();
    let answer = hear(stream).await;
    assert_eq!((answer.status, answer.code().as_str()), (408, "body_timeout"));
    assert!(answer.head.contains("connection: close"), "{}", answer.head);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_sender_that_closes_its_side_still_gets_its_answer() {
    let web = run(settings(), Limits::default()).await;
    let body = event("evt_1");
    let whole = request(body.as_bytes(), Some(&web.secrets.sign(body.as_bytes(), NOW)));
    let mut stream = TcpStream::connect(web.address).await.unwrap();
    stream.write_all(&whole).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(hear(stream).await.status, 200);
    assert_eq!(web.stored().await, 1);

    // In the middle of the body: nothing is stored, and it is told.
    let mut stream = TcpStream::connect(web.address).await.unwrap();
    stream.write_all(&whole[..whole.len() - 10]).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = hear(stream).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "body_incomplete"));
    assert_eq!(web.stored().await, 1);
}

#[tokio::test]
async fn a_database_that_is_gone_is_503_with_retry_after_and_no_cause() {
    let web = run(settings(), Limits::default()).await;
    web.db.close().await;
    let answer = web.post(event("evt_1").as_bytes()).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"));
    assert!(answer.head.contains("retry-after: 5"), "{}", answer.head);
    assert!(!answer.body.contains("pool"), "{}", answer.body);
}

#[tokio::test]
async fn a_database_that_is_slow_is_503_in_time_and_works_again_after() {
    let mut quick = settings();
    quick.answer_within = Duration::from_millis(300);
    let web = run(quick, Limits::default()).await;
    let Engine::Sqlite(file) = &web.db else { unreachable!("tests here run on a file") };
    let held = file.writer.acquire().await.unwrap();
    let answer = web.post(event("evt_1").as_bytes()).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"));
    drop(held);
    assert_eq!(web.post(event("evt_2").as_bytes()).await.status, 200);
}

#[tokio::test]
async fn a_full_queue_is_503_at_once() {
    let mut narrow = settings();
    narrow.queue_requests = 1;
    let web = run(narrow, Limits::default()).await;
    let Engine::Sqlite(file) = &web.db else { unreachable!("tests here run on a file") };
    let held = file.writer.acquire().await.unwrap();
    let first = event("evt_first");
    let mut first = Box::pin(web.post(first.as_bytes()));
    // The committer takes the first and stands; one more fits into the queue.
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut first).await.is_err());
    let bodies: Vec<String> = (0..5).map(|n| event(&format!("evt_{n}"))).collect();
    let all = futures::future::join_all(bodies.iter().map(|body| async {
        let started = Instant::now();
        (web.post(body.as_bytes()).await.status, started.elapsed())
    }));
    let release = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(held);
    };
    let (answers, ()) = tokio::join!(all, release);
    let at_once = answers.iter().filter(|(status, took)| *status == 503 && *took < Duration::from_millis(900)).count();
    let taken = answers.iter().filter(|(status, _)| *status == 200).count();
    assert_eq!((at_once, taken), (4, 1), "{answers:?}");
    assert_eq!(first.await.status, 200);
}

#[tokio::test]
async fn bodies_that_wait_together_are_bounded_too() {
    let mut tight = settings();
    tight.max_body_bytes = 1024;
    tight.buffered_bytes = 1024;
    let web = run(tight, Limits::default()).await;
    let mut first = TcpStream::connect(web.address).await.unwrap();
    first.write_all(&head("content-length: 1000", None)).await.unwrap();
    first.write_all(&[b' '; 900]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let answer = web.post(event("evt_1").as_bytes()).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"));
    drop(first);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(web.post(event("evt_1").as_bytes()).await.status, 200);
}

/// A sleep is never too short, so this holds on any machine; without the pauses it takes a few milliseconds.
#[tokio::test]
async fn who_is_refused_again_and_again_waits_for_each_answer() {
    let web = run(settings(), Limits::default()).await;
    let told = REFUSALS_TOLD.get();
    let began = Instant::now();
    for _ in 0..told + 30 {
        assert_eq!(web.post_signed(b"{}", None).await.status, 400);
    }
    // Meanwhile some more were told of, at once.
    let again = began.elapsed().as_secs_f64() * f64::from(told) + 1.0;
    let waited = (30.0 - again).max(0.0);
    assert!(began.elapsed() >= MANY_REFUSED.mul_f64(waited), "{:?}", began.elapsed());
}

#[tokio::test]
async fn other_methods_and_paths_are_refused_in_json() {
    let web = run(settings(), Limits::default()).await;
    let answer = web.get("/webhooks/stripe").await;
    assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
    assert!(answer.head.contains("allow: post"), "{}", answer.head);
    for path in ["/", "/webhooks", "/webhooks/stripe/", "/nowhere"] {
        let answer = web.get(path).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}");
    }
}

#[tokio::test]
async fn outcomes_are_counted() {
    // The tests' runtime has one thread, so that what runs in it counts here and nowhere else.
    let recorder = PrometheusBuilder::new().build_recorder();
    let _here = metrics::set_default_local_recorder(&recorder);
    let web = run(settings(), Limits::default()).await;
    for _ in 0..2 {
        web.post(event("evt_1").as_bytes()).await;
    }
    web.post(b"hello").await;
    web.post_signed(b"{}", None).await;
    let text = recorder.handle().render();
    for outcome in ["accepted", "duplicate", "bad_body", "bad_signature"] {
        let line = format!("billingd_webhooks_total{{outcome=\"{outcome}\"}} 1");
        assert!(text.contains(&line), "{line} in {text}");
    }
    assert!(text.contains("billingd_ingest_batch_events_count 2"), "{text}");
    assert!(text.contains("billingd_ingest_commit_seconds_count 2"), "{text}");
}

#[tokio::test]
async fn what_was_accepted_is_committed_before_the_end() {
    let web = run(settings(), Limits::default()).await;
    let Engine::Sqlite(file) = &web.db else { unreachable!("tests here run on a file") };
    let held = file.writer.acquire().await.unwrap();
    let body = event("evt_1");
    let whole = request(body.as_bytes(), Some(&web.secrets.sign(body.as_bytes(), NOW)));
    let mut stream = TcpStream::connect(web.address).await.unwrap();
    stream.write_all(&whole).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    web.stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(held);
    assert_eq!(hear(stream).await.status, 200);
    web.server.await.unwrap().unwrap();
    web.committers.drain().await;
    let stored: i64 = sqlx::query_scalar("select count(*) from stripe_events").fetch_one(&file.reader).await.unwrap();
    assert_eq!(stored, 1);
}
