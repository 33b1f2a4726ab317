//! Real sockets and real files: a tiny server on the loopback answers as it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::mail::message::tests::sample;

const FROM: &str = "Billing <billing@example.org>";

/// How the server answers.
#[derive(Clone, Copy)]
struct Manner {
    greeting: &'static str,
    auth: &'static str,
    recipient: &'static str,
    body: &'static str,
}

const KIND: Manner = Manner { greeting: "220 hello", auth: "235 welcome", recipient: "250 fine", body: "250 queued" };

/// Instead of an answer: silence.
const NEVER: &str = "never";

/// An empty answer hangs up.
async fn converse(stream: TcpStream, manner: Manner) -> Option<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let mut answer = async |text: &str| -> Option<()> {
        if text.is_empty() {
            return None;
        }
        if text == NEVER {
            std::future::pending::<()>().await;
        }
        writer.write_all(format!("{text}\r\n").as_bytes()).await.ok()
    };
    answer(manner.greeting).await?;
    while let Some(line) = lines.next_line().await.ok()? {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => answer("250-server\r\n250 AUTH PLAIN").await?,
            "AUTH" => answer(&manner.auth.replace("{line}", &line)).await?,
            "RCPT" => answer(&manner.recipient.replace("{line}", &line)).await?,
            "DATA" => {
                answer("354 go on").await?;
                while lines.next_line().await.ok()?? != "." {}
                answer(manner.body).await?;
            }
            "QUIT" => return answer("221 bye").await,
            _ => answer("250 ok").await?,
        }
    }
    Some(())
}

/// The server's `host:port`, and how many connections it took.
async fn server(manner: Manner) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(converse(stream, manner));
        }
    });
    (place, taken)
}

async fn outcome(manner: Manner) -> Result<(), SendError> {
    let (place, _) = server(manner).await;
    Mailer::new(&format!("smtp://{place}"), FROM).unwrap().send(&sample(), MAIL_LIMIT).await
}

#[tokio::test]
async fn the_reply_decides_the_fate() {
    let transient = [
        Manner { body: "451 try later", ..KIND },
        Manner { recipient: "450 greylisted", ..KIND },
        Manner { greeting: "421 too busy", ..KIND },
        Manner { body: "", ..KIND },
        Manner { greeting: "", ..KIND },
        Manner { greeting: "nonsense", ..KIND },
    ];
    for manner in transient {
        let error = outcome(manner).await.unwrap_err();
        assert!(matches!(error, SendError::Transient(_)), "{error:?}");
    }
    for manner in [Manner { body: "550 no", ..KIND }, Manner { recipient: "550 5.1.1 no such user", ..KIND }] {
        let error = outcome(manner).await.unwrap_err();
        assert!(matches!(error, SendError::Refused(_)), "{error:?}");
    }
    for manner in [Manner { body: "554 5.6.0 no", ..KIND }, Manner { recipient: "550 5.7.1 not from you", ..KIND }] {
        let error = outcome(manner).await.unwrap_err();
        assert!(matches!(error, SendError::Permanent(_)), "{error:?}");
    }
    outcome(KIND).await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_transient() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap();
    drop(listener);
    let mailer = Mailer::new(&format!("smtp://{place}"), FROM).unwrap();
    assert!(matches!(mailer.send(&sample(), MAIL_LIMIT).await, Err(SendError::Transient(_))));
    assert!(matches!(mailer.check().await, Err(SendError::Transient(_))));
}

#[tokio::test]
async fn a_connection_serves_one_mail_after_the_other() {
    let (place, taken) = server(KIND).await;
    let mailer = Mailer::new(&format!("smtp://{place}"), FROM).unwrap();
    for _ in 0..3 {
        mailer.send(&sample(), MAIL_LIMIT).await.unwrap();
    }
    assert_eq!(taken.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn no_more_mails_a_second_than_allowed() {
    let (place, _) = server(KIND).await;
    let mailer = Mailer::new(&format!("smtp://{place}"), FROM).unwrap().limited_to(20);
    let message = sample();
    let started = std::time::Instant::now();
    for _ in 0..6 {
        mailer.send(&message, MAIL_LIMIT).await.unwrap();
    }
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(200), "{took:?}");
}

#[tokio::test]
async fn a_connection_that_was_cut_off_is_not_used_again() {
    let (place, taken) = server(Manner { body: NEVER, ..KIND }).await;
    let mailer = Mailer::new(&format!("smtp://{place}"), FROM).unwrap();
    let message = sample();
    for connections in 1..=3 {
        // Given up while the reply to this mail is still due: it must not be read as the reply to the next.
        tokio::time::timeout(Duration::from_millis(100), mailer.send(&message, MAIL_LIMIT)).await.unwrap_err();
        assert_eq!(taken.load(Ordering::SeqCst), connections);
    }
}

#[tokio::test]
async fn a_server_has_as_long_as_it_is_given() {
    let (place, _) = server(Manner { body: NEVER, ..KIND }).await;
    let mailer = Mailer::new(&format!("smtp://{place}"), FROM).unwrap();
    let error = mailer.send(&sample(), Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(&error, SendError::Transient(text) if text.ends_with("no answer within 0.1 s")), "{error:?}");
}

#[tokio::test]
async fn a_refused_login_waits_for_the_right_password() {
    let (place, _) = server(Manner { auth: "535 no: {line}", ..KIND }).await;
    let mailer = Mailer::new(&format!("smtp://postmaster:hunter2@{place}?tls=none"), FROM).unwrap();
    for error in [mailer.send(&sample(), MAIL_LIMIT).await.unwrap_err(), mailer.check().await.unwrap_err()] {
        let SendError::Transient(text) = &error else { panic!("{error:?}") };
        assert!(text.contains("535") && text.ends_with("no: AUTH PLAIN ***"), "{text}");
    }
    assert!(!format!("{mailer:?}").contains("hunter2"));
    assert!(!format!("{mailer:?}").contains("postmaster"));
}

#[tokio::test]
async fn a_password_needs_tls() {
    let (place, _) = server(KIND).await;
    let mailer = Mailer::new(&format!("smtp://postmaster:hunter2@{place}"), FROM).unwrap();
    let error = mailer.send(&sample(), MAIL_LIMIT).await.unwrap_err();
    assert!(matches!(&error, SendError::Transient(text) if text.contains("STARTTLS")), "{error:?}");
}

#[tokio::test]
async fn a_refusal_does_not_repeat_the_address() {
    let error = outcome(Manner { recipient: "550 unknown: {line}", ..KIND }).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("unknown") && !text.contains("zoe@example.com"), "{text}");
}

#[tokio::test]
async fn a_check_says_who_answered() {
    let (place, _) = server(KIND).await;
    let open = Mailer::new(&format!("smtp://{place}"), FROM).unwrap();
    assert_eq!(open.check().await.unwrap(), format!("smtp://{place} answers without tls"));
    let login = Mailer::new(&format!("smtp://u:hunter2@{place}?tls=none"), FROM).unwrap();
    assert_eq!(login.check().await.unwrap(), format!("smtp://{place} answers without tls, logged in"));
}

#[tokio::test]
async fn an_outbox_holds_whole_mails() {
    let folder = std::env::temp_dir().join(format!("outbox-{}", crate::clock::new_id()));
    let place = folder.join("deep");
    let mailer = Mailer::new(&format!("file://{}", place.display()), FROM).unwrap();
    assert!(mailer.check().await.unwrap().ends_with("is writable"));
    mailer.send(&sample(), MAIL_LIMIT).await.unwrap();
    mailer.send(&sample(), MAIL_LIMIT).await.unwrap();
    let names: Vec<String> =
        std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, ["20261102T000000-payment_failed-fb160614.eml"]);
    let text = std::fs::read_to_string(place.join(&names[0])).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let boundary = head.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap();
    let parts: Vec<&str> = body.split(&format!("--{boundary}")).collect();
    assert_eq!(parts.len(), 4, "nothing, text, HTML, end: {text}");
    assert!(parts[1].contains("Content-Type: text/plain; charset=utf-8"), "{text}");
    assert!(parts[2].contains("Content-Type: text/html; charset=utf-8"), "{text}");
    assert!(parts[3].starts_with("--"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn an_outbox_that_cannot_be_is_transient() {
    let mailer = Mailer::new("file:///dev/null/outbox", FROM).unwrap();
    assert!(matches!(mailer.send(&sample(), MAIL_LIMIT).await, Err(SendError::Transient(_))));
    assert!(matches!(mailer.check().await, Err(SendError::Transient(_))));
}

#[test]
fn a_sender_must_be_an_address() {
    for from in ["", "Billing", "Billing <billing>", "billing@example.org\r\nBcc: x@example.org"] {
        assert!(matches!(Mailer::new("file://outbox", from), Err(MailError::From)), "{from}");
    }
    Mailer::new("file://outbox", "billing@example.org").unwrap();
}
