//! The names of all settings, with what they are, for `--help` and for telling a misspelt one.

/// Name in the environment, and what it is. In `billingd.toml` the same in lower case, under sections: `[database]`
/// `url`, or `[database]` `database_url`.
pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("DATABASE_URL", "sqlite://path or postgres://user:password@host/database (default sqlite://billingd.db)"),
    ("DATABASE_SCHEMA", "where the tables live on PostgreSQL (default billing)"),
    ("PORT", "port to listen on (default 4242)"),
    ("BIND_ADDR", "address to listen on, with or without a port (default 0.0.0.0; dev 127.0.0.1)"),
    ("STRIPE_WEBHOOK_SECRET", "signing secret of the endpoint, or several separated by commas"),
    ("STRIPE_API_KEY", "secret or restricted key, for what events do not tell"),
    ("STRIPE_API_BASE", "another base URL of Stripe's API, for tests and proxies"),
    ("STRIPE_LIVEMODE", "true or false: the one mode that is taken (default: the key's, else both)"),
    ("STRIPE_CUSTOMER_PORTAL_URL", "where customers change their payment method"),
    ("APP_URL", "the product's own address"),
    ("JWT_SECRET", "HS256 key of the billing API's tokens"),
    ("JWT_PUBLIC_KEY", "RS256, ES256 or EdDSA public key (PEM) of the billing API's tokens"),
    ("DASHBOARD_TOKEN", "token of the operators' dashboard"),
    ("SMTP_URL", "smtp://, smtps:// or file://directory (default file://outbox)"),
    ("MAIL_FROM", "sender of mails, such as \"Billing <billing@example.com>\""),
    ("RUST_LOG", "log filter (default info)"),
    ("LOG_FORMAT", "text or json (default text)"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "where traces go"),
    ("PAYMENTS_HOBBY_SUBSCRIPTION_PLAN_ID", "Stripe price of the plan hobby"),
    ("PAYMENTS_PRO_SUBSCRIPTION_PLAN_ID", "Stripe price of the plan pro"),
    ("PAYMENTS_CREDITS_10_PLAN_ID", "Stripe price of the 10 credits"),
    ("TRIAL_DAYS", "length of a new workspace's trial in days; 0 is none (default 14)"),
    ("TRIAL_PLAN", "the plan of that trial (default pro)"),
    ("PAST_DUE_GRACE_DAYS", "how long past_due keeps the plan, in days from the first failure (default 7)"),
    ("RENEWAL_LEEWAY_DAYS", "how long active outlives its period while the renewal is late, in days (default 3)"),
    ("MAX_BODY_BYTES", "the largest event that is taken (default 1048576)"),
];
