//! What every job may use.

use std::sync::Arc;

use billing::apply::Policy;
use billing::mail::{Mailer, Templates, UnsubscribeLink};
use billing::stripe::Stripe;
use billing::{Clock, Db};
use tokio_util::task::TaskTracker;

use crate::BatchSize;

/// Where a mail sends people.
#[derive(Clone, Debug, Default)]
pub struct Links {
    pub app_url: Option<String>,
    /// Stripe's customer portal, where a payment method is changed.
    pub portal_url: Option<String>,
    /// Where mails that are not essential can be ended.
    pub unsubscribe: Option<UnsubscribeLink>,
}

/// Handed to every job; cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub db: Db,
    pub clock: Clock,
    pub policy: Arc<Policy>,
    /// `None` without a Stripe key: what would be asked of Stripe ends with that reason.
    pub stripe: Option<Stripe>,
    pub mailer: Arc<Mailer>,
    /// What mails are written with.
    pub templates: Arc<Templates>,
    pub links: Arc<Links>,
    /// Of the batches in which events are processed.
    pub batch_size: Arc<BatchSize>,
    /// The jobs of this process that run; closed once it is told to stop.
    pub running: TaskTracker,
}
