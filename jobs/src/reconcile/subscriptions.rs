//! Subscriptions that stand otherwise here than at Stripe.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use billing::rules::link::{join, split};
use billing::rules::{Kind, Note, Object};
use billing::store::{self, AuditEntry, ObjectRow};
use billing::stripe::{Answer, Answers, Fetched, question_about, read_fetched};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Pass;
use super::pages::{self, Pages};
use super::report::{Difference, Differing};
use crate::{Failure, refresh};

/// What says when we heard of it, and not how it stands.
const SINCE: &str = "status_since";
/// Of our own, so many are looked at by one statement.
const BATCH: i64 = 1000;

/// Compares all that Stripe lists, which are those that have not ended, with what is known of them here; and then asks for
/// each that has not ended here and is not among those.
pub(super) async fn look(pass: &mut Pass<'_>, account: Option<&str>) -> Result<(), Failure> {
    let scope = account.unwrap_or_default();
    // Numbers instead of ids, for a million of them take 16 MiB; should two be the same, one drift is not seen.
    let mut listed: HashSet<u64> = HashSet::new();
    let mut pages = Pages::new("/subscriptions?limit=100".to_owned(), account);
    while let Some(page) = pages.next(pass).await? {
        let mut told = Vec::new();
        for value in page.items {
            let Some(id) = value["id"].as_str().map(|id| join(scope, id)) else { continue };
            listed.insert(number(&id));
            told.push(Told { id, owner: None, answer: Answer { value, asked_at: page.asked_at } });
        }
        compare(pass, told).await?;
    }
    let mut after = (String::new(), String::new());
    loop {
        let open = store::open_subscriptions(&pass.context.db, scope, &after, BATCH).await?;
        let Some(last) = open.last() else { break };
        after = last.clone();
        for (owner, id) in open {
            let id = join(scope, &id);
            if listed.contains(&number(&id)) {
                continue;
            }
            let Some(question) = question_about(Kind::Subscription, &id) else { continue };
            let answer = pages::answer(pass, &question).await?;
            compare(pass, vec![Told { id, owner: Some(owner), answer }]).await?;
        }
    }
    Ok(())
}

fn number(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// What Stripe says of a subscription.
struct Told {
    id: String,
    /// Whose it is as far as is known here.
    owner: Option<String>,
    /// Null where Stripe knows nothing of it.
    answer: Answer,
}

/// The same, read.
struct Seen {
    id: String,
    owner: Option<String>,
    answer: Answer,
    /// As Stripe has it; `None` where it knows nothing of it.
    stripe: Option<Object>,
}

impl Told {
    /// `None` where the answer cannot be used: what is unreadable is for its events. More items than a page holds are asked
    /// for; the first of them alone would overrule what its events told in whole.
    async fn read(self, pass: &Pass<'_>) -> Result<Option<Seen>, Failure> {
        let Self { id, owner, answer } = self;
        if answer.value == Value::Null {
            return Ok(Some(Seen { id, owner, answer, stripe: None }));
        }
        let mut beside = Answers::new(true);
        let objects = loop {
            match read_fetched(Kind::Subscription, &id, &answer, &pass.context.policy.catalogue, &beside) {
                Ok(Fetched::Objects(objects)) => break objects,
                Ok(Fetched::Asks(question)) => {
                    let answer = pages::answer(pass, &question).await?;
                    beside.insert(question, answer);
                }
                Err(error) => {
                    tracing::warn!(subscription = id, %error, "what Stripe has of it cannot be read");
                    return Ok(None);
                }
            }
        };
        Ok(objects.into_iter().find(|it| it.id == id).map(|stripe| Seen {
            owner: stripe.owner.clone().or(owner),
            id,
            answer,
            stripe: Some(stripe),
        }))
    }
}

/// Compares subscriptions with Stripe's answers, and takes over those that differ. An answer counts as of when it was asked
/// for, so that it overrules no event of later.
async fn compare(pass: &mut Pass<'_>, told: Vec<Told>) -> Result<(), Failure> {
    let context = pass.context;
    pass.report.subscriptions_listed += told.len() as u64;
    let mut seen = Vec::new();
    for told in told {
        seen.extend(told.read(pass).await?);
    }
    let named: Vec<(Kind, &str)> = seen
        .iter()
        .map(|it| (Kind::Subscription, it.id.as_str()))
        .chain(seen.iter().filter_map(|it| Some((Kind::Customer, it.owner.as_deref()?))))
        .collect();
    let mut tx = context.db.begin().await?;
    let known = store::objects_of(&mut tx, &named, &[]).await?;
    drop(tx);
    let known: HashMap<(Kind, &str), &ObjectRow> =
        known.iter().map(|row| ((row.object.kind, row.object.id.as_str()), row)).collect();

    let now = context.clock.now();
    let (mut entries, mut taken) = (Vec::new(), Vec::new());
    for Seen { id, owner, answer, stripe } in &seen {
        let here = known.get(&(Kind::Subscription, id.as_str())).copied();
        let differences = stripe.as_ref().map(|stripe| differences(here, stripe)).unwrap_or_default();
        if stripe.is_some() && differences.is_empty() {
            continue;
        }
        let owner = owner.as_deref();
        let customer = owner.and_then(|owner| known.get(&(Kind::Customer, owner)));
        let found = Differing {
            id: id.clone(),
            customer: owner.map(|owner| split(owner).1.to_owned()),
            workspace_id: customer.and_then(|row| row.workspace_id.clone()),
            unknown_to_stripe: stripe.is_none(),
            differences,
        };
        taken.extend(stripe.iter().map(|it| refresh::told(id, answer, vec![it.clone()], now)));
        entries.extend(found.workspace_id.as_ref().map(|workspace_id| entry(&found, workspace_id, owner, here, now)));
        pass.report.differing(found);
    }
    if pass.repairs && !(entries.is_empty() && taken.is_empty()) {
        let mut tx = context.db.begin().await?;
        refresh::take(context, &mut tx, taken).await?;
        store::record_audit(&mut tx, &entries, now).await?;
        tx.commit().await?;
    }
    (pass.progress)(&pass.report);
    Ok(())
}

/// For the workspace's history: once for each way in which what was last heard here differs.
fn entry(
    found: &Differing,
    workspace_id: &str,
    owner: Option<&str>,
    here: Option<&ObjectRow>,
    now: DateTime<Utc>,
) -> AuditEntry {
    let data = json!({
        "subscription": found.id,
        "unknown_to_stripe": found.unknown_to_stripe,
        "differences": found.differences,
    });
    let heard: Vec<_> = found
        .differences
        .iter()
        .filter_map(|it| here?.object.fields.get(it.field.as_str()))
        .map(|register| (register.key.at, &register.key.event))
        .collect();
    let cause = format!("{}:{}", found.id, Note::word_for(&json!([data, heard])));
    AuditEntry {
        note: Note::new("drift_found", cause, owner, data),
        workspace_id: Some(workspace_id.to_owned()),
        stripe_event_id: None,
        occurred_at: now,
    }
}

/// The fields in which what is known here is not what Stripe says. What nobody ever told is as good as null.
fn differences(here: Option<&ObjectRow>, stripe: &Object) -> Vec<Difference> {
    let known = |field: &str| here.and_then(|row| row.object.fields.get(field)).map_or(&Value::Null, |it| &it.value);
    stripe
        .fields
        .iter()
        .filter(|(field, register)| field.as_str() != SINCE && !same(known(field), &register.value))
        .map(|(field, register)| Difference {
            field: field.to_string(),
            here: known(field).clone(),
            stripe: register.value.clone(),
        })
        .collect()
}

/// Lists are told in no particular order.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            let sorted = |list: &[Value]| {
                let mut texts: Vec<String> = list.iter().map(Value::to_string).collect();
                texts.sort();
                texts
            };
            sorted(one) == sorted(other)
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use billing::rules::WriteKey;
    use billing::rules::fact::OWN;

    use super::*;

    fn subscription(fields: &[(&str, Value)]) -> Object {
        let mut object = Object::new(Kind::Subscription, "sub_1");
        let key = WriteKey { terminal: false, at: 1, rank: OWN, changed: false, event: "evt_1".into() };
        for (field, value) in fields {
            object.write(*field, value.clone(), &key);
        }
        object
    }

    #[test]
    fn what_differs_again_after_it_was_mended_is_told_again() {
        let heard = |event: &str| {
            let mut object = Object::new(Kind::Subscription, "sub_1");
            let key = WriteKey { terminal: false, at: 1, rank: OWN, changed: false, event: event.into() };
            object.write("status", json!("active"), &key);
            ObjectRow::new(object)
        };
        let cause = |here: &ObjectRow| {
            let found = Differing {
                id: "sub_1".to_owned(),
                customer: None,
                workspace_id: Some("acme".to_owned()),
                unknown_to_stripe: false,
                differences: differences(Some(here), &subscription(&[("status", json!("past_due"))])),
            };
            entry(&found, "acme", None, Some(here), DateTime::UNIX_EPOCH).note.cause
        };
        assert_eq!(cause(&heard("evt_1")), cause(&heard("evt_1")));
        assert_ne!(cause(&heard("evt_1")), cause(&heard("evt_2")));
    }

    #[test]
    fn what_differs_is_told_and_what_only_looks_different_is_not() {
        let (hobby, extra) = (json!({"price": "hobby", "quantity": 1}), json!({"price": "extra", "quantity": 2}));
        let here = ObjectRow::new(subscription(&[
            ("status", json!("active")),
            ("items", json!([hobby, extra])),
            ("status_since", json!({"status": "active", "at": 1})),
            ("told_by_invoices", json!(7)),
        ]));
        let stripe = subscription(&[
            ("status", json!("past_due")),
            ("items", json!([extra, hobby])),
            ("status_since", json!({"status": "past_due", "at": 9})),
            ("cancel_at", Value::Null),
        ]);
        let status = Difference { field: "status".to_owned(), here: json!("active"), stripe: json!("past_due") };
        assert_eq!(differences(Some(&here), &stripe), [status]);
        let unknown: Vec<String> = differences(None, &stripe).into_iter().map(|it| it.field).collect();
        assert_eq!(unknown, ["items", "status"]);
        assert!(!same(&json!(["a", "a", "b"]), &json!(["a", "b", "b"])));
    }
}
