//! How a mail leaves: over SMTP, or into a folder that stands in for it while developing.

mod outbox;
mod refusal;
mod secrets;
mod smtp;
mod target;

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use lettre::message::Mailbox;

use self::outbox::Outbox;
use self::smtp::Smtp;
use self::target::Target;
use super::{DkimSigner, Message};

/// Why a mailer cannot be made. The texts repeat nothing of the settings.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    #[error(
        "expected smtp://[user:password@]host[:port][?tls=required|opportunistic|none], \
         smtps://[user:password@]host[:port] or file://folder: {problem}"
    )]
    Url { problem: &'static str },
    #[error("expected a sender like `Billing <billing@example.com>` or `billing@example.com`")]
    From,
    #[error("expected certificates in PEM")]
    Roots,
    #[error("tls is not possible with this host name or these certificates")]
    Tls(#[source] lettre::transport::smtp::Error),
}

/// How long a server that is well may take for a whole mail: longer than connecting takes, as it examines a mail before it
/// accepts it, and a mail given up after that comes twice.
pub const MAIL_LIMIT: Duration = Duration::from_secs(30);

/// Why a mail was not sent, split by what to do about it. The texts carry neither credentials nor the recipient's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Worth another attempt: no connection, no answer in time, a 4xx reply, a server that does not accept our login.
    #[error("{0}")]
    Transient(String),
    /// The same mail fails again: a 5xx reply, an invalid address.
    #[error("{0}")]
    Permanent(String),
    /// The server takes nothing for this address, now or later: there is nobody behind it.
    #[error("{0}")]
    Refused(String),
}

/// Sends mails from one address by one way. Cheap to share behind an `Arc`; keeps idle connections.
pub struct Mailer {
    from: Mailbox,
    way: Way,
    /// `None`: as fast as the server takes them.
    rate: Option<DefaultDirectRateLimiter>,
    /// `None`: mails go unsigned.
    signer: Option<DkimSigner>,
}

enum Way {
    Smtp(Smtp),
    Outbox(Outbox),
}

impl Mailer {
    /// A mailer to `smtp_url`: `smtp://`, `smtps://` or `file://folder` (a relative folder is one of the working
    /// directory). Connects to nothing yet.
    ///
    /// TLS of `smtp://`: `?tls=required` (the default where there is a password), `opportunistic` (the default
    /// elsewhere: STARTTLS where the server offers it) or `none`. Ports: 587 with a password, else 25; 465 for `smtps://`.
    /// User and password are percent-encoded.
    pub fn new(smtp_url: &str, from: &str) -> Result<Self, MailError> {
        let from = from.trim().parse().map_err(|_| MailError::From)?;
        let way = match Target::parse(smtp_url)? {
            Target::Folder(folder) => Way::Outbox(Outbox::new(folder)),
            Target::Server(server) => Way::Smtp(Smtp::new(server)?),
        };
        Ok(Self { from, way, rate: None, signer: None })
    }

    /// At most so many mails a second from this process, for servers that count; zero is no limit. Who comes too early
    /// waits.
    #[must_use]
    pub fn limited_to(mut self, per_second: u32) -> Self {
        self.rate = NonZeroU32::new(per_second).map(|rate| {
            // One at a time and evenly: a burst is what such servers refuse.
            RateLimiter::direct(Quota::per_second(rate).allow_burst(NonZeroU32::MIN))
        });
        self
    }

    /// Also trusts servers whose certificate goes back to one of these (PEM), beside the public authorities: those of a
    /// house's own mail server. Changes nothing for a folder.
    pub fn trusting(mut self, roots_pem: &[u8]) -> Result<Self, MailError> {
        if let Way::Smtp(smtp) = &mut self.way {
            smtp.trust(roots_pem)?;
        }
        Ok(self)
    }

    /// Signs every mail.
    #[must_use]
    pub fn signed_by(mut self, signer: DkimSigner) -> Self {
        self.signer = Some(signer);
        self
    }

    /// Hands the mail over: when this returns `Ok`, the server (or the folder) has it. After an error, and when the call
    /// is given up half-way, the server may have it all the same; the next attempt carries the same `Message-ID`.
    ///
    /// A server has so long for the whole mail, from its turn.
    pub async fn send(&self, message: &Message, within: Duration) -> Result<(), SendError> {
        let email = message.to_email(&self.from)?;
        let mut bytes = email.formatted();
        if let Some(signer) = &self.signer {
            let failed = || SendError::Permanent(format!("the mail cannot be signed for {signer:?}"));
            bytes = signer.sign(&bytes, message.date.timestamp()).ok_or_else(failed)?;
        }
        if let Some(rate) = &self.rate {
            rate.until_ready().await;
        }
        match &self.way {
            Way::Smtp(smtp) => smtp.send(email.envelope(), &bytes, within).await,
            Way::Outbox(outbox) => outbox.write(message, &bytes).await,
        }
    }

    /// Whether mail can leave: connects, secures and logs in as for a mail, or writes to the folder; says what answered.
    pub async fn check(&self) -> Result<String, SendError> {
        match &self.way {
            Way::Smtp(smtp) => smtp.check().await,
            Way::Outbox(outbox) => outbox.check().await,
        }
    }
}

/// Shows the way without credentials.
impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match &self.way {
            Way::Smtp(smtp) => smtp.to_string(),
            Way::Outbox(outbox) => outbox.to_string(),
        };
        f.debug_struct("Mailer")
            .field("to", &way)
            .field("from", &self.from.to_string())
            .field("signer", &self.signer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
