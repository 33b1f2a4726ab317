//! What a running process is made of: the database, the receiver, the workers, and the signal that ends them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use billing::mail::{DkimError, DkimSigner, MailError, Mailer, TemplateError, Templates};
use billing::store::{PoolSizes, SchemaState, schema_state};
use billing::stripe::Stripe;
use billing::{Clock, Db};
use jobs::{Context, Host, Queue};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::api::{ApiState, api_routes};
use crate::outbox::Outbox;
use crate::settings::{Settings, SettingsError};
use crate::telemetry;
use crate::web::{self, Limits, WebSettings, WebState};

/// Jobs in flight have this long to finish after the signal.
const GRACE: Duration = Duration::from_secs(20);
/// Connections that the kernel keeps until they are accepted, as many as Linux allows: one too many is not refused but left
/// without an answer, and tries again after a second.
const BACKLOG: u32 = 4096;
/// The kernel's buffers of a connection.
const SEND_BYTES: u32 = 64 * 1024;
const RECEIVE_BYTES: u32 = 256 * 1024;
/// Files beside the clients' connections: the database's, mail, logs.
const OTHER_FILES: usize = 128;
/// How long the connections to the database have to close.
const CLOSING: Duration = Duration::from_secs(5);
/// Where mail goes while no server is named.
const OUTBOX: &str = "file://outbox";

/// Ends a process: every part holds one, and the first signal, or a part that fails, sets it.
#[derive(Clone)]
pub(crate) struct Shutdown(Arc<watch::Sender<bool>>);

impl Shutdown {
    /// A shutdown that SIGTERM and SIGINT set.
    pub(crate) fn on_signals() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let shutdown = Self::by_hand();
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let setter = shutdown.clone();
        tokio::spawn(async move {
            let mut signalled = async || {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            signalled().await;
            tracing::info!("stopping: what runs is finished first; another signal ends it at once");
            setter.set();
            signalled().await;
            tracing::warn!("ended by a second signal; what ran runs again elsewhere");
            std::process::exit(1);
        });
        Ok(shutdown)
    }

    pub(crate) fn by_hand() -> Self {
        Self(Arc::new(watch::channel(false).0))
    }

    pub(crate) fn set(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is set.
    pub(crate) fn wait(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut receiver = self.0.subscribe();
        async move {
            // The sender lives in every clone; should all be gone, it is over, too.
            receiver.wait_for(|set| *set).await.map(drop).unwrap_or_default();
        }
    }
}

/// Opens the configured database without connecting yet.
pub(crate) fn open(settings: &Settings, connections: u32) -> anyhow::Result<Db> {
    Db::open(&settings.database_url.0, &settings.database_schema, sizes(connections)).map_err(|error| unusable(&error))
}

/// Gives the connections back. Not for long: jobs that were cut off still have theirs.
pub(crate) async fn close(db: &Db) {
    if tokio::time::timeout(CLOSING, db.close()).await.is_err() {
        tracing::warn!("the database's connections are not closed, for something still waits on them");
    }
}

/// The same for a process that works on jobs.
pub(crate) fn open_for_jobs(settings: &Settings, connections: u32) -> anyhow::Result<Db> {
    Db::open_for_jobs(&settings.database_url.0, &settings.database_schema, sizes(connections))
        .map_err(|error| unusable(&error))
}

/// Nothing is connected to before it is asked, so it is the setting that is wrong.
fn unusable(error: &sqlx::Error) -> anyhow::Error {
    SettingsError::of([("DATABASE_URL".to_owned(), format!("cannot be used: {error}"))]).into()
}

fn sizes(connections: u32) -> PoolSizes {
    PoolSizes { connections, acquire_timeout: Duration::from_secs(5) }
}

/// Opens the database for a command that looks or changes something, and sees that the schema is there.
pub(crate) async fn open_migrated(settings: &Settings) -> anyhow::Result<Db> {
    let db = open(settings, 4)?;
    match schema_state(&db).await.context("the database does not answer")? {
        SchemaState::Current | SchemaState::Ahead { .. } => Ok(db),
        state => anyhow::bail!("{state}"),
    }
}

/// What mails are written with.
pub(crate) fn templates(settings: &Settings) -> Result<Templates, TemplateError> {
    Templates::load(settings.mail_templates_dir.as_deref(), settings.mail_default_locale.as_deref())
}

/// The configured way of mails, with what it takes to trust its server and to sign.
///
/// # Errors
/// The setting that is wrong, and how. Nothing is connected to.
pub(crate) fn mailer(settings: &Settings) -> Result<Mailer, (String, String)> {
    let wrong = |name: &str, error: &dyn std::fmt::Display| (name.to_owned(), error.to_string());
    let smtp_url = settings.smtp_url.as_ref().map_or(OUTBOX, |url| url.0.as_str());
    let from = settings.mail_from.as_deref().unwrap_or("Billing <billing@localhost>");
    let mut mailer = Mailer::new(smtp_url, from)
        .map_err(|error| match error {
            MailError::From => wrong("MAIL_FROM", &error),
            error => wrong("SMTP_URL", &error),
        })?
        .limited_to(settings.smtp_rate_per_second);
    let read = |name: &str, file: &Path| {
        std::fs::read(file).map_err(|error| wrong(name, &format_args!("{} cannot be read: {error}", file.display())))
    };
    if let Some(file) = &settings.smtp_ca_file {
        let roots = read("SMTP_CA_FILE", file)?;
        mailer = mailer.trusting(&roots).map_err(|error| wrong("SMTP_CA_FILE", &error))?;
    }
    if let Some(dkim) = &settings.dkim {
        let key = read("MAIL_DKIM_KEY_FILE", &dkim.key_file)?;
        let signer = DkimSigner::new(&dkim.domain, &dkim.selector, &key).map_err(|error| {
            let name =
                if error == DkimError::Name { "MAIL_DKIM_DOMAIN, MAIL_DKIM_SELECTOR" } else { "MAIL_DKIM_KEY_FILE" };
            wrong(name, &error)
        })?;
        mailer = mailer.signed_by(signer);
    }
    Ok(mailer)
}

/// What jobs may use.
///
/// # Errors
/// All that is wrong with what the settings name.
pub(crate) fn context(settings: &Settings, db: Db, clock: Clock) -> anyhow::Result<Context> {
    let stripe = match &settings.stripe_api_key {
        Some(key) => Some(Stripe::new(&key.0, settings.stripe_api_base.as_deref(), settings.stripe_reads_per_second)?),
        None => None,
    };
    let (templates, mailer) = match (templates(settings), mailer(settings)) {
        (Ok(templates), Ok(mailer)) => (templates, mailer),
        (templates, mailer) => {
            let templates = templates.err().map(|error| {
                let locale = matches!(error, TemplateError::NoDefault(..));
                let name = if locale { "MAIL_DEFAULT_LOCALE" } else { "MAIL_TEMPLATES_DIR" };
                (name.to_owned(), error.to_string())
            });
            return Err(SettingsError::of(templates.into_iter().chain(mailer.err())).into());
        }
    };
    Ok(Context {
        db,
        clock,
        policy: Arc::new(settings.policy.clone()),
        stripe,
        templates: Arc::new(templates),
        mailer: Arc::new(mailer),
        links: Arc::new(settings.links.clone()),
        batch_size: Arc::default(),
        running: TaskTracker::new(),
    })
}

/// Serves the API alone on `listener` until the shutdown.
pub(crate) async fn serve_api(
    settings: &Settings,
    db: Db,
    clock: Clock,
    listener: TcpListener,
    metrics: PrometheusHandle,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let key = settings.token_key.clone().context("JWT_SECRET is missing")?;
    let api = ApiState::new(db.clone(), clock, settings.policy.clone(), key);
    tracing::info!(address = %listener.local_addr()?, "the API listens");
    web::serve(listener, web::api_router(api, db, metrics), limits(), shutdown.wait()).await?;
    Ok(())
}

/// What is served beside the receiver.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    pub(crate) api: bool,
    /// Where mail is shown; only while developing.
    pub(crate) outbox: Option<Outbox>,
}

/// Serves the receiver on `listener` until the shutdown, and what `beside` says beside it.
pub(crate) async fn serve(
    settings: &Settings,
    db: Db,
    clock: Clock,
    listener: TcpListener,
    metrics: PrometheusHandle,
    beside: Beside,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let secrets = settings.webhook_secrets.clone().context("STRIPE_WEBHOOK_SECRET is missing")?;
    let web_settings = WebSettings {
        livemode: settings.policy.livemode,
        max_body_bytes: settings.max_body_bytes,
        event_lanes: settings.event_lanes,
        ..WebSettings::new(secrets)
    };
    let gauges = tokio::spawn(telemetry::refresh_gauges(db.clone(), clock.clone()));
    let (queue, committers) = web::start_committers(&db, &clock, &web_settings);
    let api = match (&settings.token_key, beside.api) {
        (Some(key), true) => Some(ApiState::new(db.clone(), clock.clone(), settings.policy.clone(), key.clone())),
        (None, true) => {
            tracing::warn!("neither JWT_SECRET nor JWT_PUBLIC_KEY is set: there is no API under /v1");
            None
        }
        (_, false) => None,
    };
    let state = WebState::new(db, clock, web_settings, queue, metrics);
    tracing::info!(address = %listener.local_addr()?, "the receiver listens");
    web::serve(
        listener,
        web::receiver_router(state, api.map(api_routes).into_iter().chain(beside.outbox.map(Outbox::routes))),
        limits(),
        shutdown.wait(),
    )
    .await?;
    committers.drain().await;
    gauges.abort();
    Ok(())
}

/// Answers how a worker does, on `listener`, until the shutdown.
pub(crate) async fn serve_health(
    db: Db,
    listener: TcpListener,
    metrics: PrometheusHandle,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "health and metrics are told");
    web::serve(listener, web::health_router(db, metrics), limits(), shutdown.wait()).await?;
    Ok(())
}

/// Runs jobs until the shutdown.
pub(crate) async fn work(
    settings: &Settings,
    context: Context,
    queues: Vec<(Queue, usize)>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    if settings.smtp_url.is_none() && queues.iter().any(|(queue, _)| *queue == Queue::Mail) {
        tracing::warn!("SMTP_URL is not set: mail is written to the directory ./outbox");
    }
    tracing::info!(?queues, "the worker runs");
    let schema = settings.database_schema.clone();
    Host { context, schema, queues, grace: GRACE }.run(shutdown.wait()).await?;
    Ok(())
}

/// The same in a task of its own: before a worker starts again it waits, and nothing else of its task goes on meanwhile, not
/// even who listens.
pub(crate) async fn work_in_a_task(
    settings: Settings,
    context: Context,
    queues: Vec<(Queue, usize)>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    tokio::spawn(async move { work(&settings, context, queues, shutdown).await }).await?
}

/// The server's limits, as far as this process may have files open. The limit that most systems begin with, 1024, is for
/// programs of long ago; a process may raise it up to another.
fn limits() -> Limits {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limits = Limits::default();
    let open_files = getrlimit(Resource::Nofile);
    let wanted = (limits.max_connections + OTHER_FILES) as u64;
    let wanted = open_files.maximum.map_or(wanted, |most| wanted.min(most));
    let mut may = open_files.current.unwrap_or(wanted);
    if may < wanted {
        match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..open_files }) {
            Ok(()) => may = wanted,
            Err(error) => tracing::debug!(%error, "the limit of open files stays at {may}"),
        }
    }
    let may = usize::try_from(may).unwrap_or(usize::MAX).saturating_sub(OTHER_FILES);
    Limits { max_connections: limits.max_connections.min(may), max_speaking: limits.max_speaking.min(may), ..limits }
}

/// Listens where the settings say.
pub(crate) fn listen(settings: &Settings) -> anyhow::Result<TcpListener> {
    listen_on(settings.listen, "BIND_ADDR and PORT")
}

/// Listens at an address that comes from these settings.
pub(crate) fn listen_on(address: SocketAddr, settings: &str) -> anyhow::Result<TcpListener> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        // Each connection has its own from here; the kernel would let them grow to megabytes for peers that do not read.
        socket.set_send_buffer_size(SEND_BYTES)?;
        socket.set_recv_buffer_size(RECEIVE_BYTES)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().with_context(|| format!("cannot listen on {address}; see {settings}"))
}

/// The queues with their usual concurrency.
pub(crate) fn all_queues() -> Vec<(Queue, usize)> {
    Queue::ALL.into_iter().map(|queue| (queue, queue.concurrency())).collect()
}
