//! `GET /outbox`, in `dev` alone and on loopback alone: the mails that were written to a folder, to be looked at.
//!
//! What is shown was written by people and by Stripe: everything is escaped, a mail's HTML lies in a frame without rights,
//! and the pages' policy lets nothing be run or loaded.

mod read;

use std::path::PathBuf;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use self::read::Summary;

/// More mails than this are not listed.
const MOST: usize = 200;
/// Nothing is run, nothing is loaded, and nobody else frames it. A frame made of the page itself inherits this.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// A folder of mails.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    folder: Arc<PathBuf>,
}

#[derive(Template)]
#[template(path = "outbox/list.html")]
struct List {
    mails: Vec<Summary>,
    most: usize,
    folder: String,
}

#[derive(Template)]
#[template(path = "outbox/mail.html")]
struct Show {
    mail: Summary,
    html: String,
    text: String,
    head: String,
}

impl Outbox {
    /// The folder of a `file://` address. `None`: mail goes elsewhere.
    pub(crate) fn of(smtp_url: &str) -> Option<Self> {
        let folder = smtp_url.strip_prefix("file://").filter(|folder| !folder.is_empty())?;
        Some(Self { folder: Arc::new(PathBuf::from(folder)) })
    }

    pub(crate) fn routes(self) -> Router {
        Router::new().route("/outbox", get(list)).route("/outbox/{file}", get(show)).with_state(self)
    }

    /// The file of a mail, if it is among the newest.
    pub(crate) fn file_of(&self, template: &str, dedupe_key: &str) -> Option<String> {
        let end = billing::mail::outbox_name_end(template, dedupe_key);
        read::newest(&self.folder, MOST).into_iter().find(|name| name.ends_with(&end))
    }
}

async fn list(State(outbox): State<Outbox>) -> Response {
    let folder = outbox.folder.display().to_string();
    let mails = tokio::task::spawn_blocking(move || {
        let names = read::newest(&outbox.folder, MOST);
        names.iter().filter_map(|name| read::read(&outbox.folder, name).map(|mail| mail.summary)).collect()
    });
    match mails.await {
        Ok(mails) => page(&List { mails, most: MOST, folder }),
        Err(error) => failed(&error),
    }
}

async fn show(State(outbox): State<Outbox>, Path(file): Path<String>) -> Response {
    match tokio::task::spawn_blocking(move || read::read(&outbox.folder, &file)).await {
        Ok(Some(mail)) => page(&Show { mail: mail.summary, html: mail.html, text: mail.text, head: mail.head }),
        Ok(None) => (StatusCode::NOT_FOUND, "there is no such mail\n").into_response(),
        Err(error) => failed(&error),
    }
}

fn page(template: &impl Template) -> Response {
    let html = match template.render() {
        Ok(html) => html,
        Err(error) => return failed(&error),
    };
    let mut response = Html(html).into_response();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn failed(error: &dyn std::error::Error) -> Response {
    tracing::error!(error = %error, "the outbox cannot be shown");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}
