//! Why a field of a workspace is what it is: the event that set it, what it overrode, and what was refused and why.
//!
//! Nothing is logged for this. The events are read again, as they were when they came, and compared by the key that
//! decides between two writes.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::fact::OWN;
use super::link::{bare, is_guest};
use super::project::Subscription;
use super::{Kind, Object, Register, WorkspaceState, WriteKey};

/// The fields that can be explained, with the registers that they are projected from.
pub const FIELDS: [(&str, &[&str]); 9] = [
    ("stripe_customer_id", &["claim:", "linked_by_hand"]),
    ("subscription_id", &["status", "evidence", "created", "billed_since", "deleted"]),
    ("subscription_status", &["status", "cancel_at_period_end", "cancel_at", "evidence", "deleted"]),
    ("subscription_plan", &["plan", "items", "billed_plan", "evidence", "paid_for"]),
    ("current_period_end", &["current_period_end", "paid_for", "evidence"]),
    ("cancel_at_period_end", &["cancel_at_period_end", "cancel_at", "canceled_at"]),
    ("past_due_since", &["failing_since:", "last_paid", "status_since", "evidence", "status"]),
    ("date_paid", &["date_paid"]),
    ("fresh_as_of", &["seen"]),
];

/// An event as it was heard.
#[derive(Clone, Debug)]
pub struct Heard {
    pub event_id: String,
    /// Stripe's `type`.
    pub kind: String,
    pub received_at: DateTime<Utc>,
    pub objects: Vec<Object>,
}

/// What became of what an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is what stands.
    Set,
    /// It stood, until something better was told.
    Overridden,
    /// Something better was known when it came.
    Refused,
}

/// What one event says of one register.
#[derive(Clone, Debug, Serialize)]
pub struct Telling {
    /// Stripe's object and the register of it, such as `sub_1.status`.
    pub of: String,
    pub value: Value,
    pub verdict: Verdict,
    pub why: String,
    pub event_id: String,
    /// `null` for what was fetched, set by hand, or told by an event that is not kept any more.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// When it was so, by Stripe.
    pub created: Option<DateTime<Utc>>,
    /// When we heard of it.
    pub received_at: Option<DateTime<Utc>>,
}

/// A field of the state, and all that was told of it.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    pub field: &'static str,
    pub value: Value,
    pub because: Vec<Telling>,
}

/// Explains a field, or all of them. `objects` are the workspace's customers and subscriptions as they stand; `heard`
/// the events that tell of them, in the order in which they came.
pub fn explain(state: &WorkspaceState, objects: &[&Object], heard: &[Heard], field: Option<&str>) -> Vec<Explained> {
    let values = serde_json::to_value(state).unwrap_or_default();
    let objects: Vec<Object> = objects.iter().map(|object| with_hearing(object, heard)).collect();
    FIELDS
        .iter()
        .filter(|(name, _)| field.is_none_or(|field| field == *name))
        .map(|(name, registers)| {
            // The other subscriptions only matter for which of them is the current one.
            let counts = |object: &&Object| match object.kind {
                Kind::Subscription => {
                    *name == "subscription_id" || state.subscription_id.as_deref() == Some(bare(&object.id))
                }
                // A guest is nobody that could be shown.
                _ => *name != "stripe_customer_id" || !is_guest(&object.id),
            };
            let because = objects.iter().filter(counts).flat_map(|object| told_of(object, registers, heard)).collect();
            Explained { field: name, value: values[*name].clone(), because }
        })
        .collect()
}

/// A customer with when it was last heard of: once it is linked the workspace keeps that, and not the customer, so it is told
/// by the events alone.
fn with_hearing(object: &Object, heard: &[Heard]) -> Object {
    let mut known = object.clone();
    if known.kind == Kind::Customer {
        let told = heard
            .iter()
            .flat_map(|event| &event.objects)
            .filter(|told| told.id == object.id && told.kind == object.kind);
        for seen in told.filter_map(|told| told.register("seen")) {
            known.write("seen", seen.value.clone(), &seen.key);
        }
    }
    known
}

fn told_of(object: &Object, registers: &[&str], heard: &[Heard]) -> Vec<Telling> {
    let wanted = |field: &str| {
        registers.iter().any(|name| if name.ends_with(':') { field.starts_with(name) } else { field == *name })
    };
    let told = object.fields.iter().filter(|(field, _)| wanted(field));
    let mut tellings: Vec<Telling> =
        told.flat_map(|(field, stands)| told_of_register(object, field, stands, heard)).collect();
    if registers.contains(&"status") {
        weigh_evidence(object, &mut tellings);
    }
    tellings.sort_by_key(|telling| telling.verdict);
    tellings
}

/// Of what a subscription's own events say and what its invoices say of it only one is the status.
fn weigh_evidence(object: &Object, tellings: &mut [Telling]) {
    let (loser, verdict, why) = if Subscription::by_evidence(object) {
        (".status", Verdict::Overridden, "an invoice tells something newer that follows from it: see evidence")
    } else {
        (
            ".evidence",
            Verdict::Refused,
            "the subscription's own events say it; an invoice only counts where it is newer",
        )
    };
    for telling in tellings.iter_mut().filter(|telling| telling.verdict == Verdict::Set && telling.of.ends_with(loser))
    {
        telling.verdict = verdict;
        why.clone_into(&mut telling.why);
    }
}

fn told_of_register(object: &Object, field: &str, stands: &Register, heard: &[Heard]) -> Vec<Telling> {
    let of = format!("{}.{field}", object.id);
    let mut tellings = Vec::new();
    let mut best: Option<&Register> = None;
    for event in heard {
        let told = event.objects.iter().find(|told| told.kind == object.kind && told.id == object.id);
        let Some(register) = told.and_then(|told| told.register(field)) else { continue };
        let (verdict, why) = if register.key == stands.key {
            (Verdict::Set, "it is the latest that is told".to_owned())
        } else if best.is_none_or(|best| register.key > best.key) {
            (Verdict::Overridden, refusal(&register.key, &stands.key, &stands.value))
        } else {
            let known = best.unwrap_or(stands);
            (Verdict::Refused, refusal(&register.key, &known.key, &known.value))
        };
        if best.is_none_or(|best| register.key > best.key) {
            best = Some(register);
        }
        tellings.push(Telling {
            of: of.clone(),
            value: register.value.clone(),
            verdict,
            why,
            event_id: event.event_id.clone(),
            kind: Some(event.kind.clone()),
            created: DateTime::from_timestamp(register.key.at.abs(), 0),
            received_at: Some(event.received_at),
        });
    }
    if !tellings.iter().any(|telling| telling.verdict == Verdict::Set) {
        let why = match &*stands.key.event {
            "" => "an operator said so",
            // As `stripe::REFRESH`.
            "refresh" => "Stripe was asked, since two events of one second said different things",
            _ => "its event was fetched from Stripe or is not kept any more",
        };
        tellings.push(Telling {
            of,
            value: stands.value.clone(),
            verdict: Verdict::Set,
            why: why.to_owned(),
            event_id: stands.key.event.to_string(),
            kind: None,
            created: DateTime::from_timestamp(stands.key.at.abs(), 0),
            received_at: None,
        });
    }
    tellings.sort_by_key(|telling| telling.verdict);
    tellings
}

/// Why `key` yields to `other`, in the order in which keys are compared.
fn refusal(key: &WriteKey, other: &WriteKey, value: &Value) -> String {
    // What an invoice says of its subscription is ordered by its time first, which stands before the event's id.
    let by = other.event.rsplit(':').next().filter(|event| !event.is_empty()).unwrap_or("an operator");
    if other.terminal && !key.terminal {
        format!("{by} says that it is over ({value}), and nothing brings it back")
    } else if other.at != key.at {
        // A claim counts the other way round: the first one stands.
        let than = if key.at < 0 { "an earlier claim" } else { "a later moment" };
        format!("{by} tells of {than}")
    } else if other.rank != key.rank {
        let own = if other.rank == OWN { "is the object's own event" } else { "counts more" };
        format!("{by} of the same second {own}")
    } else if other.changed != key.changed {
        format!("{by} of the same second changed it, and this one only carries it")
    } else {
        format!("{by} is of the same second; only the ids decide")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn heard(event: &str, at: i64, received: i64, terminal: bool, status: &str) -> Heard {
        let mut object = Object::new(Kind::Subscription, "sub_1");
        let key = WriteKey { terminal, at, rank: OWN, changed: true, event: event.into() };
        object.write("status", json!(status), &key);
        Heard {
            event_id: event.to_owned(),
            kind: "customer.subscription.updated".to_owned(),
            received_at: DateTime::from_timestamp(received, 0).unwrap(),
            objects: vec![object],
        }
    }

    #[test]
    fn what_stands_what_it_overrode_and_what_was_refused() {
        let events = [
            heard("evt_active", 10, 100, false, "active"),
            heard("evt_ended", 30, 101, true, "canceled"),
            heard("evt_late", 20, 102, false, "past_due"),
            heard("evt_after", 40, 103, false, "active"),
        ];
        let mut known = Object::new(Kind::Subscription, "sub_1");
        for event in &events {
            known.merge(event.objects[0].clone());
        }
        let state = WorkspaceState {
            subscription_id: Some("sub_1".to_owned()),
            subscription_status: "deleted".to_owned(),
            ..WorkspaceState::default()
        };
        let explained = explain(&state, &[&known], &events, Some("subscription_status"));
        assert_eq!((explained.len(), &explained[0].value), (1, &json!("deleted")));
        let verdicts: Vec<(&str, Verdict)> =
            explained[0].because.iter().map(|telling| (telling.event_id.as_str(), telling.verdict)).collect();
        let wanted = [
            ("evt_ended", Verdict::Set),
            ("evt_active", Verdict::Overridden),
            ("evt_late", Verdict::Refused),
            ("evt_after", Verdict::Refused),
        ];
        assert_eq!(verdicts, wanted);
        assert!(explained[0].because[3].why.contains("nothing brings it back"), "{:?}", explained[0].because[3]);
    }

    #[test]
    fn an_invoice_is_only_heard_where_it_is_newer() {
        let told = |own_at| {
            let mut known = Object::new(Kind::Subscription, "sub_1");
            let key = |at, event: &str| WriteKey { terminal: false, at, rank: OWN, changed: true, event: event.into() };
            known.write("status", json!("active"), &key(own_at, "evt_own"));
            known.write("evidence", json!({"status": "past_due", "at": 20}), &key(20, "evt_invoice"));
            let state = WorkspaceState { subscription_id: Some("sub_1".to_owned()), ..WorkspaceState::default() };
            let explained = explain(&state, &[&known], &[], Some("subscription_status"));
            explained[0].because.iter().map(|one| (one.event_id.clone(), one.verdict)).collect::<Vec<_>>()
        };
        let pair = |set: &str, other: &str, verdict| vec![(set.to_owned(), Verdict::Set), (other.to_owned(), verdict)];
        assert_eq!(told(20), pair("evt_own", "evt_invoice", Verdict::Refused));
        assert_eq!(told(19), pair("evt_invoice", "evt_own", Verdict::Overridden));
    }

    #[test]
    fn what_no_event_told_says_where_it_came_from() {
        let mut known = Object::new(Kind::Customer, "cus_1");
        let key = WriteKey { terminal: false, at: 5, rank: OWN, changed: true, event: "".into() };
        known.write("linked_by_hand", json!(5), &key);
        let explained = explain(&WorkspaceState::default(), &[&known], &[], Some("stripe_customer_id"));
        assert_eq!(explained[0].because[0].why, "an operator said so");
    }
}
