//! `refresh`: asks Stripe for an object of which two events of one second say different things.

use std::time::Duration;

use billing::Tx;
use billing::apply::{Told, apply};
use billing::rules::{Kind, Object, Question, link};
use billing::store;
use billing::stripe::{REFRESH, path_of, read_fetched};
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
    /// When the tie was seen, in seconds since the epoch: an answer that was asked for later settles it.
    #[serde(default)]
    pub seen_at: i64,
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
        let known = {
            let mut tx = context.db.begin().await?;
            store::objects_of(&mut tx, &[(self.kind, &self.id)], &[]).await?
        };
        if known.iter().any(|row| row.object.kind == self.kind && asked_after(&row.object, self.seen_at)) {
            // Several ties of one object, one question.
            return Ok(Done);
        }
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

/// Whether Stripe was asked for the object after `seen_at`.
fn asked_after(object: &Object, seen_at: i64) -> bool {
    object.fields.values().any(|register| register.key.event == REFRESH && register.key.at > seen_at)
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
        let job = Refresh { kind: *kind, id: id.clone(), seen_at: now.timestamp() };
        queue::enqueue(tx, &job, &Options { after: AFTER, unique: Some(&key) }).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use billing::rules::WriteKey;
    use billing::rules::fact::OWN;

    use super::*;

    #[test]
    fn an_answer_settles_the_ties_before_it_and_no_later_one() {
        let mut object = Object::new(Kind::Subscription, "sub_1");
        let key =
            |at, event: &str| WriteKey { terminal: false, at, rank: OWN, changed: false, event: event.to_owned() };
        object.write("status", Value::Null, &key(30, "evt_1"));
        assert!(!asked_after(&object, 10), "that was an event");
        object.write("plan", Value::Null, &key(20, REFRESH));
        for (seen_at, settled) in [(19, true), (20, false), (21, false)] {
            assert_eq!(asked_after(&object, seen_at), settled, "{seen_at}");
        }
    }
}
