//! `refresh`: asks Stripe for an object of which two events of one second say different things.

use std::time::Duration;

use billing::Tx;
use billing::apply::{Told, apply};
use billing::rules::{Kind, Question, link};
use billing::stripe::{path_of, read_fetched};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::queue::{self, Options};
use crate::{Context, Done, Failure, Job, Policy, Queue, ask, send_email};

/// The GET begins in a later second than the events that tie, so that what it finds is newer than both.
const AFTER: Duration = Duration::from_secs(2);

/// One object, by Stripe's word for its kind and its id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refresh {
    pub kind: Kind,
    pub id: String,
}

impl Job for Refresh {
    const NAME: &'static str = "refresh";
    const QUEUE: Queue = Queue::Maintenance;
    const POLICY: Policy = Policy {
        max_attempts: 10,
        backoff: Duration::from_secs(5),
        backoff_most: Duration::from_secs(3600),
        timeout: Duration::from_secs(60),
    };

    async fn run(&self, context: &Context) -> Result<Done, Failure> {
        let (account, id) = link::split(&self.id);
        let Some(path) = path_of(self.kind.as_str(), id) else { return Ok(Done) };
        let account = Some(account).filter(|scope| scope.starts_with("acct_")).map(ToOwned::to_owned);
        let answer = ask::ask(context, &Question { path, account }).await?;
        if answer.value == Value::Null {
            return Ok(Done);
        }
        let mut objects = read_fetched(self.kind, &answer, &context.policy.catalogue)
            .map_err(|unreadable| Failure::Cancel(format!("what Stripe has of {id} cannot be read: {unreadable}")))?;
        // Told of under the name it has here, which may carry an account.
        let scope = link::split(&self.id).0.to_owned();
        for object in objects.iter_mut().filter(|_| !scope.is_empty()) {
            object.id.clone_from(&self.id);
            object.owner = object.owner.take().map(|owner| link::join(&scope, &owner));
        }
        let now = context.clock.now();
        let told = Told {
            event_id: format!("refresh:{}:{}", self.id, answer.asked_at),
            created: DateTime::from_timestamp(answer.asked_at, 0).unwrap_or(now),
            livemode: answer.value["livemode"] == true,
            objects,
            notes: Vec::new(),
        };
        let mut tx = context.db.begin().await?;
        let applied = apply(&mut tx, &[told], &[], context.policy.spent_refund, now).await?;
        send_email::enqueue_emails(&mut tx, &applied.emails).await?;
        tx.commit().await?;
        metrics::counter!("billingd_refreshed_total", "kind" => self.kind.as_str()).increment(1);
        Ok(Done)
    }
}

/// Enqueues the refresh of objects, each at most once per second of the clock however many events tie; without a key
/// there is nobody to ask, and the settled order stands.
pub(crate) async fn enqueue(
    context: &Context,
    tx: &mut Tx,
    tied: &[(Kind, String)],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if context.stripe.is_none() {
        return Ok(());
    }
    for (kind, id) in tied {
        let key = format!("refresh:{}:{id}:{}", kind.as_str(), now.timestamp());
        let job = Refresh { kind: *kind, id: id.clone() };
        queue::enqueue(tx, &job, &Options { after: AFTER, unique: Some(&key) }).await?;
    }
    Ok(())
}
