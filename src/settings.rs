//! Settings: read once at start, checked all at once, then passed on. Built-in defaults, then `billingd.toml`, then the
//! environment; the later wins.

mod names;
mod plans;
mod sources;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use billing::apply::Policy;
use billing::mail::UnsubscribeLink;
use billing::rules::{Rules, SpentRefund};
use billing::stripe::Secrets;
use billing::stripe::client::READS_PER_SECOND;
use chrono::TimeDelta;
use jobs::Links;
pub(crate) use names::SETTINGS;
pub(crate) use sources::SettingsError;
use sources::Sources;

use crate::api::TokenKey;

/// The secret with which `dev`, `demo` and `trigger` sign where none is set.
pub(crate) const DEVELOPMENT_SECRET: &str = "whsec_development";

/// The key of the API's tokens in `dev` and `demo` where none is set.
pub(crate) const DEVELOPMENT_JWT_SECRET: &str = "development-jwt-secret-of-billingd";

/// What the operator has decided. Secrets show as `***`.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) database_url: Hidden,
    pub(crate) database_schema: String,
    pub(crate) listen: SocketAddr,
    /// Where a worker tells of its health and metrics; `None`: nowhere.
    pub(crate) metrics_addr: Option<SocketAddr>,
    /// `None`: not set.
    pub(crate) webhook_secrets: Option<Secrets>,
    pub(crate) stripe_api_key: Option<Hidden>,
    pub(crate) stripe_api_base: Option<String>,
    pub(crate) stripe_reads_per_second: NonZeroU32,
    pub(crate) event_lanes: i16,
    /// Verifies the billing API's tokens; `None`: not set.
    pub(crate) token_key: Option<TokenKey>,
    pub(crate) smtp_url: Option<Hidden>,
    /// Certificates that the mail server's may go back to, beside the public authorities.
    pub(crate) smtp_ca_file: Option<PathBuf>,
    pub(crate) mail_from: Option<String>,
    /// `None`: mails go unsigned.
    pub(crate) dkim: Option<Dkim>,
    pub(crate) mail_templates_dir: Option<PathBuf>,
    pub(crate) mail_default_locale: Option<String>,
    /// Mails a second at most from this process; 0 is no limit.
    pub(crate) smtp_rate_per_second: u32,
    pub(crate) links: Links,
    pub(crate) policy: Policy,
    pub(crate) trial_days: i64,
    pub(crate) max_body_bytes: usize,
    /// `true`: JSON, one object a line.
    pub(crate) log_json: bool,
    pub(crate) log_filter: String,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hidden(pub(crate) String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Who signs mails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dkim {
    pub(crate) domain: String,
    pub(crate) selector: String,
    pub(crate) key_file: PathBuf,
}

/// What a command cannot do without.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needs {
    pub(crate) webhook_secret: bool,
    pub(crate) token_key: bool,
    pub(crate) stripe_api_key: bool,
}

/// How `dev` and `demo` differ: unset secrets get development values, and nothing listens beyond loopback with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Development,
    Production,
}

impl Settings {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// One error that lists every setting that is missing or malformed.
    pub(crate) fn load(stage: Stage, needs: Needs) -> Result<Self, SettingsError> {
        let (settings, checked) = Self::load_with_problems(stage, needs)?;
        checked.map(|()| settings)
    }

    /// The same for who wants to know what else is wrong: what does not hold stands as if it were not set.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn load_with_problems(
        stage: Stage,
        needs: Needs,
    ) -> Result<(Self, Result<(), SettingsError>), SettingsError> {
        Ok(Self::read(Sources::of_process()?, stage, needs))
    }

    fn read(mut from: Sources, stage: Stage, needs: Needs) -> (Self, Result<(), SettingsError>) {
        let development = stage == Stage::Development;
        let database_url = from.text("DATABASE_URL").unwrap_or_else(|| "sqlite://billingd.db".to_owned());
        if !["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| database_url.starts_with(scheme)) {
            from.wrong("DATABASE_URL", "has to begin with sqlite:// or postgres://");
        }
        let database_schema = from.text("DATABASE_SCHEMA").unwrap_or_else(|| "billing".to_owned());
        let word = |text: &str| {
            text.len() <= 40
                && text.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
                && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        if !word(&database_schema) {
            from.wrong("DATABASE_SCHEMA", "has to be a lower-case name of letters, digits and _, at most 40 of them");
        }
        let listen = from.listen(if development { "127.0.0.1" } else { "0.0.0.0" });

        let secret = from.text("STRIPE_WEBHOOK_SECRET");
        let development_secret = development && secret.is_none();
        let list = secret.or_else(|| development.then(|| DEVELOPMENT_SECRET.to_owned()));
        let webhook_secrets = list.as_deref().and_then(Secrets::parse);
        if list.is_some() && webhook_secrets.is_none() {
            from.wrong("STRIPE_WEBHOOK_SECRET", "holds an empty secret; give one or several, separated by commas");
        } else if list.is_none() && needs.webhook_secret {
            from.missing("STRIPE_WEBHOOK_SECRET", "the endpoint's signing secret, whsec_…, from Stripe's dashboard");
        }
        let development_key =
            development && ["JWT_SECRET", "JWT_PUBLIC_KEY"].iter().all(|name| from.text(name).is_none());
        for (known, name) in [(development_secret, "STRIPE_WEBHOOK_SECRET"), (development_key, "JWT_SECRET")] {
            if known && !listen.ip().is_loopback() {
                from.wrong("BIND_ADDR", &format!("is beyond loopback, and {name} is only the development value"));
            }
        }
        let stripe_api_key = from.text("STRIPE_API_KEY");
        if stripe_api_key.as_ref().is_some_and(|key| !key.starts_with("sk_") && !key.starts_with("rk_")) {
            from.wrong("STRIPE_API_KEY", "has to begin with sk_ or rk_");
        }
        if stripe_api_key.is_none() && needs.stripe_api_key {
            from.missing(
                "STRIPE_API_KEY",
                "a secret or restricted key, from Stripe's dashboard; it needs to read events and subscriptions",
            );
        }
        let by_key = stripe_api_key.as_deref().and_then(|key| match key.split('_').nth(1) {
            Some("live") => Some(true),
            Some("test") => Some(false),
            _ => None,
        });
        let livemode = from.flag("STRIPE_LIVEMODE").or(by_key);

        let token_key = token_key(&mut from, development, needs);
        let smtp_url = from.text("SMTP_URL");
        if smtp_url
            .as_ref()
            .is_some_and(|url| !["smtp://", "smtps://", "file://"].iter().any(|scheme| url.starts_with(scheme)))
        {
            from.wrong("SMTP_URL", "has to begin with smtp://, smtps:// or file://");
        }
        let settings = Self {
            database_url: Hidden(database_url),
            database_schema,
            listen,
            metrics_addr: from.address("METRICS_ADDR"),
            webhook_secrets,
            stripe_api_key: stripe_api_key.map(Hidden),
            stripe_api_base: from.url("STRIPE_API_BASE"),
            stripe_reads_per_second: u32::try_from(from.number("STRIPE_READS_PER_SECOND", 20, 1..=100))
                .ok()
                .and_then(NonZeroU32::new)
                .unwrap_or(READS_PER_SECOND),
            event_lanes: i16::try_from(from.number("EVENT_LANES", i64::from(jobs::LANES), 1..=64))
                .unwrap_or(jobs::LANES),
            token_key,
            smtp_url: smtp_url.map(Hidden),
            smtp_ca_file: from.text("SMTP_CA_FILE").map(PathBuf::from),
            mail_from: from.text("MAIL_FROM"),
            dkim: dkim(&mut from),
            mail_templates_dir: from.text("MAIL_TEMPLATES_DIR").map(PathBuf::from),
            mail_default_locale: from.text("MAIL_DEFAULT_LOCALE"),
            smtp_rate_per_second: u32::try_from(from.number("SMTP_RATE_PER_SECOND", 0, 0..=10_000)).unwrap_or(0),
            links: Links {
                app_url: from.url("APP_URL"),
                portal_url: from.url("STRIPE_CUSTOMER_PORTAL_URL"),
                unsubscribe: unsubscribe(&mut from),
            },
            policy: Policy {
                livemode,
                rules: Rules {
                    grace: TimeDelta::days(from.number("PAST_DUE_GRACE_DAYS", 7, 0..=365)),
                    leeway: TimeDelta::days(from.number("RENEWAL_LEEWAY_DAYS", 3, 0..=365)),
                    trial_plan: from.text("TRIAL_PLAN").unwrap_or_else(|| "pro".to_owned()),
                },
                catalogue: plans::catalogue(&mut from, development),
                spent_refund: match from.one_of("CREDITS_SPENT_REFUND", &["negative", "floor"]).as_deref() {
                    Some("floor") => SpentRefund::Floor,
                    _ => SpentRefund::Negative,
                },
                accounts: from.accounts("STRIPE_CONNECT_ACCOUNTS"),
            },
            trial_days: from.number("TRIAL_DAYS", 14, 0..=3650),
            max_body_bytes: usize::try_from(from.number("MAX_BODY_BYTES", 1 << 20, 1024..=16 << 20)).unwrap_or(1 << 20),
            log_json: from.one_of("LOG_FORMAT", &["text", "json"]).as_deref() == Some("json"),
            log_filter: from.text("RUST_LOG").unwrap_or_else(|| "info,sqlx=warn,apalis=warn".to_owned()),
        };
        if settings.policy.catalogue.find(&settings.policy.rules.trial_plan).is_none() {
            from.wrong("TRIAL_PLAN", "is none of the plans");
        }
        (settings, from.finish())
    }

    /// Whether the signing secret is the one that everybody knows.
    pub(crate) fn signs_for_development(&self) -> bool {
        self.webhook_secrets.as_ref().is_some_and(|secrets| {
            let known = Secrets::parse(DEVELOPMENT_SECRET).map(|known| known.sign(b"", 0));
            Some(secrets.sign(b"", 0)) == known
        })
    }
}

/// All three `MAIL_DKIM_…` settings, or none.
fn dkim(from: &mut Sources) -> Option<Dkim> {
    let names = ["MAIL_DKIM_DOMAIN", "MAIL_DKIM_SELECTOR", "MAIL_DKIM_KEY_FILE"];
    let values = names.map(|name| from.text(name));
    if values.iter().any(Option::is_some) {
        for (name, _) in names.iter().zip(&values).filter(|(_, value)| value.is_none()) {
            from.missing(name, "signing needs MAIL_DKIM_DOMAIN, MAIL_DKIM_SELECTOR and MAIL_DKIM_KEY_FILE");
        }
    }
    let [domain, selector, key_file] = values;
    Some(Dkim { domain: domain?, selector: selector?, key_file: key_file?.into() })
}

fn unsubscribe(from: &mut Sources) -> Option<UnsubscribeLink> {
    match UnsubscribeLink::parse(&from.text("MAIL_UNSUBSCRIBE_URL")?) {
        Ok(link) => Some(link),
        Err(problem) => {
            from.wrong("MAIL_UNSUBSCRIBE_URL", problem);
            None
        }
    }
}

/// `JWT_PUBLIC_KEY`, else `JWT_SECRET`, else in development a value that everybody knows.
fn token_key(from: &mut Sources, development: bool, needs: Needs) -> Option<TokenKey> {
    if let Some(pem) = from.text("JWT_PUBLIC_KEY") {
        // Environments and compose files often cannot hold line breaks.
        let key = TokenKey::public(&pem.replace("\\n", "\n"));
        if key.is_none() {
            from.wrong("JWT_PUBLIC_KEY", "is no RSA, EC (P-256) or Ed25519 public key in PEM");
        }
        return key;
    }
    match from.text("JWT_SECRET") {
        Some(secret) => Some(TokenKey::shared(&secret)),
        None if development => Some(TokenKey::shared(DEVELOPMENT_JWT_SECRET)),
        None => {
            if needs.token_key {
                from.missing("JWT_SECRET", "the HS256 key of the API's tokens; or JWT_PUBLIC_KEY");
            }
            None
        }
    }
}

#[cfg(test)]
mod tests;
