//! `refresh`: asks Stripe about what events left unclear: an object of which two events of one second say different
//! things; what a refunded payment was for, since no event has to say it.

use std::time::Duration;

use billing::Tx;
use billing::apply::{Told, apply};
use billing::rules::{Kind, Object};
use billing::store;
use billing::stripe::{Answer, Answers, Fetched, REFRESH, question_about, read_fetched};
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
        if known.iter().any(|row| row.object.kind == self.kind && is_clear(&row.object, self.seen_at)) {
            return Ok(Done);
        }
        let Some(question) = question_about(self.kind, &self.id) else { return Ok(Done) };
        let answer = ask::ask(context, &question).await?;
        if answer.value == Value::Null {
            return Ok(Done);
        }
        let mut beside = Answers::new(true);
        let objects = loop {
            match read_fetched(self.kind, &self.id, &answer, &context.policy.catalogue, &beside) {
                Ok(Fetched::Objects(objects)) => break objects,
                Ok(Fetched::Asks(question)) => {
                    let answer = ask::ask(context, &question).await?;
                    beside.insert(question, answer);
                }
                Err(unreadable) => {
                    let reason = format!("what Stripe has of {} cannot be read: {unreadable}", self.id);
                    return Err(Failure::Cancel(reason));
                }
            }
        };
        let mut tx = context.db.begin().await?;
        take(context, &mut tx, vec![told(&self.id, &answer, objects, context.clock.now())]).await?;
        tx.commit().await?;
        metrics::counter!("billingd_refreshed_total", "kind" => self.kind.as_str()).increment(1);
        Ok(Done)
    }
}

/// What Stripe answered of an object, as of when it was asked.
pub(crate) fn told(id: &str, answer: &Answer, objects: Vec<Object>, now: DateTime<Utc>) -> Told {
    Told {
        event_id: format!("refresh:{id}:{}", answer.asked_at),
        created: DateTime::from_timestamp(answer.asked_at, 0).unwrap_or(now),
        livemode: answer.value["livemode"] == true,
        objects,
        notes: Vec::new(),
    }
}

/// Takes over what Stripe answered.
pub(crate) async fn take(context: &Context, tx: &mut Tx, told: Vec<Told>) -> sqlx::Result<()> {
    let applied = apply(tx, told, &[], context.policy.spent_refund, context.clock.now()).await?;
    send_email::enqueue_emails(tx, &applied.emails).await?;
    Ok(())
}

/// Whether it has become clear by now: what a payment was for was told; of several ties of one object the question of
/// the first was asked after `seen_at`.
fn is_clear(object: &Object, seen_at: i64) -> bool {
    if object.kind == Kind::Payment {
        return object.owner.is_some();
    }
    object.fields.values().any(|register| *register.key.event == *REFRESH && register.key.at > seen_at)
}

/// Enqueues the refresh of objects, each at most once per second of the clock however many events tie; without a key
/// there is nobody to ask, and what is known stands.
pub(crate) async fn enqueue(
    context: &Context,
    tx: &mut Tx,
    unclear: &[(Kind, String)],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let payments = unclear.iter().filter(|(kind, _)| *kind == Kind::Payment).count();
    if payments > 0 {
        metrics::counter!("billingd_refunds_of_unknown_payments_total").increment(payments as u64);
    }
    if context.stripe.is_none() {
        return Ok(());
    }
    for (kind, id) in unclear {
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
        let key = |at, event: &str| WriteKey { terminal: false, at, rank: OWN, changed: false, event: event.into() };
        object.write("status", Value::Null, &key(30, "evt_1"));
        assert!(!is_clear(&object, 10), "that was an event");
        object.write("plan", Value::Null, &key(20, REFRESH));
        for (seen_at, settled) in [(19, true), (20, false), (21, false)] {
            assert_eq!(is_clear(&object, seen_at), settled, "{seen_at}");
        }
    }
}
