//! Mail through a real SMTP server.

use std::process::{Child, Stdio};

use serde_json::json;

use crate::bodies::{day, event, invoice, purchase};
use crate::harness::{Site, eventually, on_both, python};

on_both!(a_failed_payment_reaches_the_owner_over_smtp, a_server_that_refuses_for_now_is_tried_again);

/// Answers 451 to the first `refusals` messages and 250 to all others; writes each accepted one to a file.
const SERVER: &str = r#"
import asyncio, pathlib, sys, time
from aiosmtpd.controller import Controller
folder, refusals = pathlib.Path(sys.argv[1]), int(sys.argv[2])
class Handler:
    seen = 0
    async def handle_DATA(self, server, session, envelope):
        Handler.seen += 1
        if Handler.seen <= refusals:
            return "451 come back later"
        (folder / f"{Handler.seen}.eml").write_bytes(envelope.content)
        return "250 taken"
controller = Controller(Handler(), hostname="127.0.0.1", port=int(sys.argv[3]))
controller.start()
print("ready", flush=True)
time.sleep(300)
"#;

struct Smtp(Child);

impl Drop for Smtp {
    fn drop(&mut self) {
        let ended = self.0.kill().and_then(|()| self.0.wait());
        drop(ended);
    }
}

fn server(site: &mut Site, refusals: u32) -> Smtp {
    use std::io::BufRead;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = site.dir.path().join("received");
    std::fs::create_dir(&folder).unwrap();
    let mut child = python()
        .args(["-c", SERVER, folder.to_str().unwrap(), &refusals.to_string(), &port.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    site.set("SMTP_URL", &format!("smtp://127.0.0.1:{port}"));
    Smtp(child)
}

fn received(site: &Site) -> Vec<String> {
    let mut mails: Vec<_> =
        std::fs::read_dir(site.dir.path().join("received")).unwrap().map(|entry| entry.unwrap().path()).collect();
    mails.sort();
    mails.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

async fn a_failed_payment_reaches_the_owner_over_smtp(mut site: Site) {
    let smtp = server(&mut site, 0);
    site.start_web().await;
    site.start(&["worker"]);
    site.ok(&[
        "workspaces",
        "put",
        "acme",
        "--name",
        "Acmé",
        "--owner-email",
        "ann@example.com",
        "--owner-name",
        "Änn",
    ]);
    site.post_all(&purchase("acme", "cus_1")[..3]).await;
    site.post_all(&[event("failed", "invoice.payment_failed", day(28), invoice("2", "cus_1", "open", 4900, day(28)))])
        .await;
    site.settle().await;
    let arrived = async || received(&site).pop();
    let mail = eventually("the mail arrives", arrived).await;
    for part in [
        "To: ",
        "ann@example.com",
        "Message-ID: <",
        "Auto-Submitted: auto-generated",
        "multipart/alternative",
        "text/plain",
        "text/html",
    ] {
        assert!(mail.contains(part), "{part} is not in {mail}");
    }
    let sent = async || {
        let emails = site.query("select status || ' ' || template || ' ' || recipient from emails").await;
        (emails == ["sent payment_failed ann@example.com"]).then_some(())
    };
    eventually("the mail is marked as sent", sent).await;
    drop(smtp);
}

async fn a_server_that_refuses_for_now_is_tried_again(mut site: Site) {
    let smtp = server(&mut site, 1);
    site.start_web().await;
    site.start(&["worker"]);
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
    site.post_all(&purchase("acme", "cus_1")).await;
    site.settle().await;
    let retrying = async || {
        let jobs = site.json(&["jobs", "list", "--queue", "mail", "--state", "retrying", "--json"]);
        (jobs[0]["last_error"].as_str()?.contains("451")).then_some(())
    };
    eventually("the refusal is seen and the job waits", retrying).await;
    let arrived = async || received(&site).pop();
    eventually("the mail arrives", arrived).await;
    assert_eq!(site.json(&["jobs", "list", "--queue", "mail", "--state", "dead", "--json"]), json!([]));
    drop(smtp);
}
