//! The rows of both engines, through `billing::apply`, with batches cut anywhere and an operator's word at any time.

use billing::apply::{Told, apply};
use billing::rules::SpentRefund;
use billing::store::{Db, Engine, Member, put_owner, put_workspace};
use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::rows_seen::{Rows, assert_balanced};
use crate::support::bodies::{DAY, Generation, START};
use crate::support::ground::{clear, link};
use crate::support::reading::told;
use crate::support::stories::{Expected, Step, Story, WORKSPACE, stories};
use crate::support::testing::{self, on_both};

/// Shuffles per story and engine.
const SHUFFLES: usize = 10;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(START + 400 * DAY, 0).unwrap_or_default()
}

/// `workspaces put`: as the command does it.
async fn put(db: &Db, customer: Option<&str>, spent: SpentRefund) {
    let now = now();
    let mut tx = db.begin().await.unwrap();
    put_workspace(&mut tx, WORKSPACE, "Analytical Engines", Some(now - TimeDelta::days(1)), now).await.unwrap();
    let owner = Member { email: "ada@example.com", name: None, locale: None };
    put_owner(&mut tx, WORKSPACE, &owner, "user_1", now).await.unwrap();
    link(&mut tx, WORKSPACE, customer, spent, now).await;
    tx.commit().await.unwrap();
}

/// A stretch of events that are committed together, or one word of the operator.
enum Commit {
    Events(Vec<Told>),
    Put(Option<&'static str>),
}

async fn play(db: &Db, commits: &[Commit], spent: SpentRefund, context: &str) -> Rows {
    for commit in commits {
        match commit {
            Commit::Put(customer) => put(db, *customer, spent).await,
            Commit::Events(told) => {
                let mut tx = db.begin().await.unwrap();
                apply(&mut tx, told.clone(), &[], spent, now()).await.unwrap();
                tx.commit().await.unwrap();
            }
        }
        assert_balanced(db, context).await;
    }
    Rows::of(db).await
}

fn commits(order: &[&Step], random: &mut StdRng) -> Vec<Commit> {
    let mut commits = Vec::new();
    for step in order {
        match step {
            Step::Put(customer) => commits.push(Commit::Put(*customer)),
            Step::Event(body) => match commits.last_mut() {
                Some(Commit::Events(batch)) if random.random_bool(0.5) => batch.push(told(body)),
                _ => commits.push(Commit::Events(vec![told(body)])),
            },
        }
    }
    commits
}

/// The story's steps in any order, each at least once.
fn shuffled<'a>(story: &'a Story, random: &mut StdRng) -> Vec<&'a Step> {
    let again = random.random_range(0..=story.steps.len());
    let mut order: Vec<&Step> = story.steps.iter().collect();
    order.extend((0..again).map(|_| &story.steps[random.random_range(0..story.steps.len())]));
    order.shuffle(random);
    order
}

fn told_of(order: &[&Step]) -> String {
    let name = |step: &&Step| match step {
        Step::Event(body) => body["id"].as_str().unwrap_or_default().to_owned(),
        Step::Put(customer) => format!("put {customer:?}"),
    };
    order.iter().map(name).collect::<Vec<_>>().join(" ")
}

fn assert_expected(rows: &Rows, expected: &Expected, name: &str) {
    let workspace = &rows.workspaces[0];
    let time = |at: Option<i64>| serde_json::json!(at.and_then(|at| DateTime::from_timestamp(at, 0)));
    let wanted = serde_json::json!({
        "subscription_status": expected.status, "subscription_plan": expected.plan,
        "subscription_id": expected.subscription, "stripe_customer_id": expected.customer,
        "cancel_at_period_end": expected.cancel_at_period_end, "current_period_end": time(expected.period_end),
        "past_due_since": time(expected.past_due_since), "date_paid": time(expected.date_paid),
    });
    for (column, value) in wanted.as_object().into_iter().flatten() {
        assert_eq!(&workspace["state"][column], value, "{name}: {column}");
    }
    assert_eq!(workspace["credits"], expected.credits, "{name}: credits");
    let kinds: Vec<&str> = rows.audit.iter().filter_map(|entry| entry["kind"].as_str()).collect();
    assert_eq!(kinds, expected.audit, "{name}: audit");
    assert!(rows.audit.iter().all(|entry| entry["workspace"] == WORKSPACE), "{name}: all of it is of the workspace");
    let keys: Vec<&String> = rows.emails.iter().map(|(key, ..)| key).collect();
    assert_eq!(keys, expected.emails.iter().collect::<Vec<_>>(), "{name}: mails");
}

/// The product takes credits, so many seconds after the story began.
async fn spend(db: &Db, credits: i64, after: i64) {
    let at = DateTime::from_timestamp(START + after, 0).unwrap_or_default();
    let ledger = "insert into credit_ledger (id, workspace_id, delta, balance_after, reason, source_id, created_at)
                  values ('spent', $1, $2, $2, 'usage', 'job_1', $3)";
    let workspace = "update workspaces set credits = credits + $2 where id = $1";
    match db {
        Engine::Postgres(pool) => {
            sqlx::query(ledger).bind(WORKSPACE).bind(credits).bind(at).execute(pool).await.unwrap();
            sqlx::query(workspace).bind(WORKSPACE).bind(credits).execute(pool).await.unwrap();
        }
        Engine::Sqlite(file) => {
            sqlx::query(ledger).bind(WORKSPACE).bind(credits).bind(at).execute(&file.writer).await.unwrap();
            sqlx::query(workspace).bind(WORKSPACE).bind(credits).execute(&file.writer).await.unwrap();
        }
    }
}

fn begins_with_a_workspace(story: &Story) -> bool {
    !story.steps.iter().any(|step| matches!(step, Step::Put(_)))
}

on_both! {
    async fn the_rows_are_the_same_in_any_order(db: Db) {
        let spent = SpentRefund::Negative;
        for (seed, story) in stories(Generation::C).iter().enumerate() {
            let mut random = StdRng::seed_from_u64(seed as u64);
            let mut in_order = None;
            for round in 0..=SHUFFLES {
                clear(&db).await;
                if begins_with_a_workspace(story) {
                    put(&db, None, spent).await;
                }
                let order = if round == 0 { story.steps.iter().collect() } else { shuffled(story, &mut random) };
                let context = format!("{}: {}", story.name, told_of(&order));
                let rows = play(&db, &commits(&order, &mut random), spent, &context).await;
                match &in_order {
                    None => {
                        assert_expected(&rows, &story.expected, story.name);
                        in_order = Some(rows);
                    }
                    Some(in_order) => rows.assert_same(in_order, &context),
                }
            }
        }
    }

    /// What is left of spent credits is taken, and the same of it, whatever was told first.
    async fn the_rows_are_the_same_in_any_order_with_a_floor(db: Db) {
        let reversed = |story: &Story| story.expected.audit.contains(&"credits_revoked");
        let mut floored = 0;
        for (seed, story) in stories(Generation::C).iter().filter(|story| reversed(story)).enumerate() {
            let mut random = StdRng::seed_from_u64(seed as u64);
            let mut in_order: Option<Rows> = None;
            for round in 0..=SHUFFLES {
                clear(&db).await;
                if begins_with_a_workspace(story) {
                    put(&db, None, SpentRefund::Floor).await;
                    // Before what is refunded, or after it but before anybody hears of it.
                    spend(&db, -6, if seed % 2 == 0 { 3600 } else { 300 * DAY }).await;
                }
                let order = if round == 0 { story.steps.iter().collect() } else { shuffled(story, &mut random) };
                let context = format!("{}: {}", story.name, told_of(&order));
                let rows = play(&db, &commits(&order, &mut random), SpentRefund::Floor, &context).await;
                match &in_order {
                    None => {
                        let credits = rows.workspaces[0]["credits"].as_i64().unwrap();
                        let spent = if begins_with_a_workspace(story) { 6 } else { 0 };
                        assert_eq!(credits, (story.expected.credits - spent).max(0), "{context}");
                        floored += usize::from(story.expected.credits < spent);
                        in_order = Some(rows);
                    }
                    Some(in_order) => rows.assert_same(in_order, &context),
                }
            }
        }
        assert!(floored >= 5, "the floor mattered in {floored} stories");
    }
}
