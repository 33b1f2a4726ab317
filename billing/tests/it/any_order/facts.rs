//! The facts alone, without a database: merged objects, notes and the projection.

use std::collections::BTreeMap;

use billing::apply::Told;
use billing::rules::settle::{DISPUTE, DISPUTE_WON, REFUND, REFUND_FAILED, Sale, reversals};
use billing::rules::{Effect, Kind, Note, Object, WorkspaceState, effects_of, project};
use chrono::{DateTime, Utc};
use proptest::prelude::*;

use crate::support::bodies::{DAY, Generation, START};
use crate::support::reading::told;
use crate::support::stories::{Expected, Step, Story, stories};

/// Stories of so many events are told in every order there is; of longer ones every stretch of so many.
const NEIGHBOURS: usize = 7;
/// Random orders, with repetitions and cuts, over all stories.
const SHUFFLES: u32 = 100_000;

/// All that is known, as `billing::apply` gathers it over its transactions.
#[derive(Clone, Debug, Default, PartialEq)]
struct Known {
    objects: BTreeMap<(Kind, String), Object>,
    /// By kind and cause, with the earliest event that tells of it.
    notes: BTreeMap<(String, String), (DateTime<Utc>, String, Note)>,
}

impl Known {
    fn of<'a>(events: impl IntoIterator<Item = &'a Told>) -> Self {
        let mut known = Self::default();
        for event in events {
            for object in &event.objects {
                known.object(object.clone());
            }
            for note in &event.notes {
                known.note((event.created, event.event_id.clone(), note.clone()));
            }
        }
        known
    }

    fn object(&mut self, object: Object) {
        let key = (object.kind, object.id.clone());
        self.objects.entry(key).or_insert_with(|| Object::new(object.kind, object.id.clone())).merge(object);
    }

    fn note(&mut self, (created, event_id, note): (DateTime<Utc>, String, Note)) {
        let known = self
            .notes
            .entry((note.kind.clone(), note.cause.clone()))
            .or_insert_with(|| (created, event_id.clone(), note.clone()));
        if (created, &event_id) < (known.0, &known.1) {
            *known = (created, event_id, note);
        }
    }

    fn merge(&mut self, other: Self) {
        other.objects.into_values().for_each(|object| self.object(object));
        other.notes.into_values().for_each(|note| self.note(note));
    }

    fn state(&self) -> WorkspaceState {
        let of = |kind: Kind| self.objects.values().filter(|object| object.kind == kind).collect::<Vec<_>>();
        let now = DateTime::from_timestamp(START + 400 * DAY, 0).unwrap_or_default();
        project(&of(Kind::Customer), &of(Kind::Subscription), None, None, now)
    }

    /// The ledger's entries: what was granted, and what refunds and disputes took and gave back.
    fn ledger(&self) -> Vec<(&'static str, String, i64)> {
        let mut ledger = Vec::new();
        for (created, effect) in
            self.notes.values().flat_map(|(created, _, note)| effects_of(note).into_iter().map(move |it| (created, it)))
        {
            let Effect::Credits { delta, reason, source_id } = effect else { continue };
            let owner = billing::rules::link::sale_owner(&source_id);
            let payments: Vec<&Object> =
                self.objects.values().filter(|object| object.owner.as_deref() == Some(&owner)).collect();
            let total = |kind, field| self.objects.get(&(kind, source_id.clone())).and_then(|it| it.int(field));
            let total = total(Kind::CheckoutSession, "amount_total").or_else(|| total(Kind::Invoice, "amount_paid"));
            let sale = Sale { id: source_id.clone(), credits: delta, total: total.unwrap_or(0), at: *created };
            for reversal in reversals(&sale, &payments) {
                ledger.push((reversal.reason, reversal.source_id, reversal.delta));
            }
            ledger.push((reason, source_id, delta));
        }
        ledger.sort();
        ledger
    }

    /// In the words of the story, for a workspace that all of this belongs to.
    fn outcome(&self) -> Outcome {
        let state = self.state();
        let effects: Vec<Effect> = self.notes.values().flat_map(|(_, _, note)| effects_of(note)).collect();
        let ledger = self.ledger();
        let credits = ledger.iter().map(|(.., delta)| *delta);
        let reversals = ledger.iter().filter_map(|(reason, ..)| match *reason {
            REFUND | DISPUTE => Some("credits_revoked".to_owned()),
            REFUND_FAILED | DISPUTE_WON => Some("credits_restored".to_owned()),
            _ => None,
        });
        let mut audit: Vec<String> = self.notes.keys().map(|(kind, _)| kind.clone()).chain(reversals).collect();
        audit.sort();
        let mut emails: Vec<String> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Mail { dedupe_key, .. } => Some(dedupe_key.clone()),
                Effect::Credits { .. } => None,
            })
            .collect();
        emails.sort();
        let seconds = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp());
        Outcome {
            status: state.subscription_status,
            plan: state.subscription_plan,
            subscription: state.subscription_id,
            customer: state.stripe_customer_id,
            credits: credits.sum(),
            cancel_at_period_end: state.cancel_at_period_end,
            times: [state.current_period_end, state.past_due_since, state.date_paid].map(seconds),
            audit,
            emails,
        }
    }
}

#[derive(Debug, PartialEq)]
struct Outcome {
    status: String,
    plan: Option<String>,
    subscription: Option<String>,
    customer: Option<String>,
    credits: i64,
    cancel_at_period_end: bool,
    times: [Option<i64>; 3],
    audit: Vec<String>,
    emails: Vec<String>,
}

impl From<Expected> for Outcome {
    fn from(expected: Expected) -> Self {
        let text = |text: Option<&str>| text.map(ToOwned::to_owned);
        Self {
            status: expected.status.to_owned(),
            plan: text(expected.plan),
            subscription: text(expected.subscription),
            customer: text(expected.customer),
            credits: expected.credits,
            cancel_at_period_end: expected.cancel_at_period_end,
            times: [expected.period_end, expected.past_due_since, expected.date_paid],
            audit: expected.audit.into_iter().map(ToOwned::to_owned).collect(),
            emails: expected.emails,
        }
    }
}

fn events(story: &Story) -> Vec<Told> {
    let bodies = story.steps.iter().filter_map(|step| match step {
        Step::Event(body) => Some(body),
        Step::Put(_) => None,
    });
    bodies.map(told).collect()
}

#[test]
fn every_story_ends_as_it_must_in_every_generation() {
    for generation in Generation::ALL {
        for story in stories(generation) {
            let outcome = Known::of(&events(&story)).outcome();
            assert_eq!(outcome, story.expected.clone().into(), "{} as of {generation:?}", story.name);
        }
    }
}

/// Calls `each` with every order of `items` (Heap's algorithm).
fn permutations<T>(items: &mut [T], upto: usize, each: &mut impl FnMut(&[T])) {
    if upto <= 1 {
        return each(items);
    }
    for index in 0..upto {
        permutations(items, upto - 1, each);
        items.swap(if upto.is_multiple_of(2) { index } else { 0 }, upto - 1);
    }
}

#[test]
fn every_order_of_seven_neighbours_ends_the_same() {
    for story in stories(Generation::C) {
        let told = events(&story);
        let in_order = Known::of(&told);
        let window = told.len().min(NEIGHBOURS);
        for start in 0..=told.len() - window {
            let mut order: Vec<usize> = (start..start + window).collect();
            permutations(&mut order, window, &mut |order| {
                let before = told.iter().take(start);
                let after = told.iter().skip(start + window);
                let shuffled = Known::of(before.chain(order.iter().map(|index| &told[*index])).chain(after));
                assert!(shuffled == in_order, "{}: {order:?}", story.name);
            });
        }
    }
}

/// A story, an order in which each of its events comes at least once, and where that is cut into batches.
fn shuffle() -> impl Strategy<Value = (usize, Vec<usize>, Vec<bool>)> {
    let lengths: Vec<usize> = stories(Generation::C).iter().map(|story| events(story).len()).collect();
    (0..lengths.len()).prop_flat_map(move |story| {
        let length = lengths[story];
        let order = prop::collection::vec(0..length, 0..=length)
            .prop_map(move |again| (0..length).chain(again).collect::<Vec<_>>())
            .prop_shuffle();
        (Just(story), order, prop::collection::vec(any::<bool>(), 2 * length))
    })
}

/// The order as the events' ids, one delivery after the other.
fn deliveries(told: &[Told], order: &[usize], cuts: &[bool]) -> String {
    let mut text = String::new();
    for (event, cut) in order.iter().zip(cuts) {
        text.push_str(if *cut { " | " } else { " " });
        text.push_str(&told[*event].event_id);
    }
    text
}

#[test]
fn any_order_any_repetition_and_any_batches_end_the_same() {
    let all: Vec<(Story, Vec<Told>)> =
        stories(Generation::B).into_iter().map(|story| (story.clone(), events(&story))).collect();
    let in_order: Vec<Known> = all.iter().map(|(_, told)| Known::of(told)).collect();
    proptest!(ProptestConfig { cases: SHUFFLES, failure_persistence: None, ..ProptestConfig::default() }, |((index, order, cuts) in shuffle())| {
        let (story, told) = &all[index];
        // Each batch is merged by itself, and the batches are merged from both ends: merging is associative, too.
        let mut batches: Vec<Vec<&Told>> = vec![Vec::new()];
        for (event, cut) in order.iter().zip(&cuts) {
            if *cut {
                batches.push(Vec::new());
            }
            batches.last_mut().expect("there is one").push(&told[*event]);
        }
        let mut known = Known::default();
        while let Some(batch) = batches.pop() {
            known.merge(Known::of(batch));
            batches.reverse();
        }
        // On failure this is what is shown, for the shortest order that fails.
        let said = || format!("{}: {}", story.name, deliveries(told, &order, &cuts));
        prop_assert!(known.state() == in_order[index].state(), "the state differs: {}", said());
        prop_assert!(known.ledger() == in_order[index].ledger(), "the ledger differs: {}", said());
        prop_assert!(known == in_order[index], "the facts differ: {}", said());
    });
}
