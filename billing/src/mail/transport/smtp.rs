//! Mail over SMTP, with a small store of idle connections.
//!
//! The library's own pool takes a connection back even when its exchange was cut off half-way (by a time limit, by a job
//! that is stopped): the reply to one mail would then be read as the reply to the next, and a refused mail pass for a sent
//! one. Here a connection is owned by its exchange and kept only after a clean end; one that is dropped is closed.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::net::TcpStream;

use super::refusal::means_the_address;
use super::secrets::Secrets;
use super::target::{Security, Server};
use super::{MAIL_LIMIT, MailError, SendError};

/// To connect, and for a check: a server that takes longer counts as unreachable.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// An idle connection is closed after this: servers hang up after some minutes themselves.
const IDLE_LIMIT: Duration = Duration::from_mins(1);
/// More idle connections than this are not kept.
const IDLE_MOST: usize = 8;

pub(super) struct Smtp {
    host: String,
    port: u16,
    security: Security,
    tls: TlsParameters,
    credentials: Option<Credentials>,
    secrets: Secrets,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: AsyncSmtpConnection,
    since: Instant,
}

impl Smtp {
    pub(super) fn new(server: Server) -> Result<Self, MailError> {
        let Server { host, port, security, login } = server;
        let tls = TlsParameters::new(host.clone()).map_err(MailError::Tls)?;
        let secrets = Secrets::new(login.clone().into_iter().flat_map(|(user, password)| [user, password]));
        let credentials = login.map(|(user, password)| Credentials::new(user, password));
        Ok(Self { host, port, security, tls, credentials, secrets, idle: Mutex::default() })
    }

    /// Trusts these certificates beside the public authorities.
    pub(super) fn trust(&mut self, roots_pem: &[u8]) -> Result<(), MailError> {
        let mut tls = TlsParameters::builder(self.host.clone());
        let mut found = false;
        for root in CertificateDer::pem_slice_iter(roots_pem) {
            let root = root.map_err(|_| MailError::Roots)?;
            tls = tls.add_root_certificate(Certificate::from_der(root.to_vec()).map_err(|_| MailError::Roots)?);
            found = true;
        }
        if !found {
            return Err(MailError::Roots);
        }
        self.tls = tls.build().map_err(MailError::Tls)?;
        Ok(())
    }

    pub(super) async fn send(&self, envelope: &Envelope, email: &[u8], within: Duration) -> Result<(), SendError> {
        let exchange = async {
            // Before the first word of the mail none can come twice, so nobody waits for long.
            let mut connection = tokio::time::timeout(MAIL_LIMIT, self.connection())
                .await
                .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
            connection.send(envelope, email).await?;
            self.keep(connection);
            Ok::<(), Fault>(())
        };
        let outcome = tokio::time::timeout(within, exchange).await;
        let recipients: Vec<&str> = envelope.to().iter().map(AsRef::as_ref).collect();
        outcome.map_err(|_| self.late(within))?.map_err(|error| self.classify(&error, &recipients))
    }

    pub(super) async fn check(&self) -> Result<String, SendError> {
        let exchange = async {
            let mut connection = self.connect().await?;
            let answers = connection.test_connected().await;
            let secured = connection.is_encrypted();
            connection.abort().await;
            Ok::<_, Fault>((answers, secured))
        };
        let outcome = tokio::time::timeout(CONNECT_LIMIT, exchange).await;
        let (answers, secured) =
            outcome.map_err(|_| self.late(CONNECT_LIMIT))?.map_err(|error| self.classify(&error, &[]))?;
        if !answers {
            return Err(SendError::Transient(format!("{self}: greeted, then refused NOOP")));
        }
        let tls = if secured { "with tls" } else { "without tls" };
        let login = if self.credentials.is_some() { ", logged in" } else { "" };
        Ok(format!("{self} answers {tls}{login}"))
    }

    /// An idle connection that still answers, or a new one.
    async fn connection(&self) -> Result<AsyncSmtpConnection, Fault> {
        while let Some(mut connection) = self.take_idle() {
            if connection.test_connected().await {
                return Ok(connection);
            }
        }
        self.connect().await
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Fault> {
        let hello = ClientId::default();
        let place = (self.host.as_str(), self.port);
        let mut connection = if self.security == Security::Wrapped {
            let tls = Some(self.tls.clone());
            AsyncSmtpConnection::connect_tokio1(place, Some(CONNECT_LIMIT), &hello, tls, None).await?
        } else {
            let stream = plain_stream(place).await?;
            AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello).await?
        };
        let upgrade = match self.security {
            Security::Required => true,
            Security::Opportunistic => connection.can_starttls(),
            Security::Wrapped | Security::None => false,
        };
        if upgrade {
            connection.starttls(self.tls.clone(), &hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }

    fn take_idle(&self) -> Option<AsyncSmtpConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|kept| kept.since.elapsed() < IDLE_LIMIT && !kept.connection.has_broken());
        idle.pop().map(|kept| kept.connection)
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MOST && !connection.has_broken() {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }

    fn late(&self, limit: Duration) -> SendError {
        SendError::Transient(format!("{self}: no answer within {} s", limit.as_secs_f64()))
    }

    /// What a failure means for the mail. A refused login is the settings' fault and not the mail's: it may wait for the
    /// right password.
    fn classify(&self, fault: &Fault, recipients: &[&str]) -> SendError {
        let error = match fault {
            Fault::Network(error) => return SendError::Transient(format!("{self}: {error}")),
            Fault::Smtp(error) => error,
        };
        let mut reply = self.secrets.hide(&error.to_string());
        for address in recipients {
            reply = reply.replace(address, "recipient");
        }
        let text = format!("{self}: {reply}");
        let code = error.status().map(|code| code.to_string());
        let login = matches!(code.as_deref(), Some("530" | "534" | "535" | "538"));
        // The server takes no such characters in addresses: no later attempt helps.
        let foreign = error.is_client() && !recipients.iter().all(|address| address.is_ascii());
        if error.is_permanent() && code.as_deref().is_some_and(|code| means_the_address(code, &reply)) {
            SendError::Refused(text)
        } else if (error.is_permanent() && !login) || foreign {
            SendError::Permanent(text)
        } else {
            SendError::Transient(text)
        }
    }
}

/// What went wrong in an exchange.
enum Fault {
    /// Before the first word.
    Network(std::io::Error),
    Smtp(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Smtp(error)
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Network(error)
    }
}

/// A connection that sends what is written at once: a mail ends in two small writes, and the second would otherwise wait
/// for the other side's delayed acknowledgement of the first, 40 ms a mail.
async fn plain_stream(place: (&str, u16)) -> std::io::Result<TcpStream> {
    let stream = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(place))
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The address without credentials.
impl fmt::Display for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.security == Security::Wrapped { "smtps" } else { "smtp" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}
