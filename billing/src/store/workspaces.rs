//! The workspace directory and the projected state that people read.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::FromRow;

use super::rows::{as_json, time_or_null};
use super::statement::{execute, fetch};
use super::{Db, Tx};
use crate::rules::WorkspaceState;
use crate::rules::entitlement::{OwnerView, Subject};
use crate::rules::link::bare;

/// A workspace with its owner.
#[derive(Clone, Debug, FromRow)]
pub struct WorkspaceRow {
    pub id: String,
    pub name: String,
    pub owner_email: Option<String>,
    pub owner_name: Option<String>,
    pub owner_locale: Option<String>,
    pub stripe_customer_id: Option<String>,
    pub subscription_id: Option<String>,
    pub subscription_status: String,
    pub subscription_plan: Option<String>,
    pub current_period_end: Option<DateTime<Utc>>,
    pub cancel_at_period_end: bool,
    pub cancel_at: Option<DateTime<Utc>>,
    pub past_due_since: Option<DateTime<Utc>>,
    pub date_paid: Option<DateTime<Utc>>,
    pub fresh_as_of: Option<DateTime<Utc>>,
    pub trial_ends_at: Option<DateTime<Utc>>,
    pub credits: i64,
}

impl WorkspaceRow {
    pub fn state(&self) -> WorkspaceState {
        WorkspaceState {
            stripe_customer_id: self.stripe_customer_id.clone(),
            subscription_id: self.subscription_id.clone(),
            subscription_status: self.subscription_status.clone(),
            subscription_plan: self.subscription_plan.clone(),
            current_period_end: self.current_period_end,
            cancel_at_period_end: self.cancel_at_period_end,
            cancel_at: self.cancel_at,
            past_due_since: self.past_due_since,
            date_paid: self.date_paid,
            fresh_as_of: self.fresh_as_of,
        }
    }

    pub fn subject(&self) -> Subject {
        Subject {
            id: self.id.clone(),
            name: self.name.clone(),
            owner: self.owner_email.clone().map(|email| OwnerView {
                email,
                name: self.owner_name.clone(),
                locale: self.owner_locale.clone().unwrap_or_else(|| "en".to_owned()),
            }),
            trial_ends_at: self.trial_ends_at,
            credits: self.credits,
        }
    }
}

macro_rules! select_workspaces {
    ($rest:literal) => {
        concat!(
            "select w.id, w.name, u.email as owner_email, u.name as owner_name, u.locale as owner_locale, w.stripe_customer_id,
                    w.subscription_id, w.subscription_status, w.subscription_plan, w.current_period_end, w.cancel_at_period_end,
                    w.cancel_at, w.past_due_since, w.date_paid, w.fresh_as_of, w.trial_ends_at, w.credits
             from workspaces w left join users u on u.id = w.owner_id ",
            $rest
        )
    };
}

pub async fn find_workspace(db: &Db, id: &str) -> sqlx::Result<Option<WorkspaceRow>> {
    fetch!(optional, db, select_workspaces!("where w.id = $1"), id)
}

/// Workspaces by id, after `after`.
pub async fn list_workspaces(db: &Db, after: &str, limit: i64) -> sqlx::Result<Vec<WorkspaceRow>> {
    fetch!(all, db, select_workspaces!("where w.id > $1 order by w.id limit $2"), after, limit)
}

/// Locks those of the workspaces that exist, in the order of their ids, and gives them.
pub async fn lock_workspaces(tx: &mut Tx, ids: &[&str]) -> sqlx::Result<Vec<WorkspaceRow>> {
    let sql = match tx {
        Tx::Postgres(_) => {
            select_workspaces!(
                "where w.id = any(array(select jsonb_array_elements_text($1::jsonb))) order by w.id for update of w"
            )
        }
        Tx::Sqlite(_) => select_workspaces!("where w.id in (select value from json_each($1)) order by w.id"),
    };
    fetch!(all, tx, sql, as_json(ids)?)
}

/// Which of the workspaces, those of `owners` and those that are `claimed`, another transaction has locked at this moment,
/// each with the owner by whom it was found; the others are locked. SQLite has one writer, so there are none.
pub async fn busy(tx: &mut Tx, owners: &[&str], claimed: &[&str]) -> sqlx::Result<Vec<(Option<String>, String)>> {
    let Tx::Postgres(tx) = tx else { return Ok(Vec::new()) };
    let bare: Vec<&str> = owners.iter().map(|owner| bare(owner)).collect();
    sqlx::query_as(
        "with asked as (
             select case scope when '' then id else scope || '/' || id end as owner, workspace_id from stripe_objects
             where kind = 'customer' and workspace_id is not null and id = any($1)
             union
             select customer, workspace_id from stripe_claims where customer = any($2)
             union
             select null, unnest($3)
         ), free as materialized (
             select id from workspaces where id = any(array(select workspace_id from asked)) order by id for update skip locked
         )
         select asked.owner, asked.workspace_id from asked join workspaces as w on w.id = asked.workspace_id
         where asked.workspace_id not in (select id from free)",
    )
    .bind(bare)
    .bind(owners)
    .bind(claimed)
    .fetch_all(&mut **tx)
    .await
}

/// Makes a workspace, or changes the name of the one there is; gives whether it is new. `trial_ends_at` counts only for
/// a new one: a workspace has one trial.
pub async fn put_workspace(
    tx: &mut Tx,
    id: &str,
    name: &str,
    trial_ends_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let status = if trial_ends_at.is_some_and(|ends_at| now < ends_at) { "trialing" } else { "free" };
    let made = execute!(
        tx,
        "insert into workspaces (id, name, slug, trial_ends_at, subscription_status, created_at, updated_at)
         values ($1, $2, $1, $3, $4, $5, $5) on conflict (id) do nothing",
        id,
        name,
        trial_ends_at,
        status,
        now
    )?;
    if made == 0 {
        execute!(tx, "update workspaces set name = $2, updated_at = $3 where id = $1", id, name, now)?;
    }
    Ok(made == 1)
}

/// Who to write to: address, name, locale.
pub async fn owner_of(db: &Db, workspace_id: &str) -> sqlx::Result<Option<OwnerView>> {
    Ok(find_workspace(db, workspace_id).await?.and_then(|row| row.subject().owner))
}

#[derive(Serialize)]
struct StateRow<'a> {
    id: &'a str,
    stripe_customer_id: Option<&'a str>,
    subscription_id: Option<&'a str>,
    subscription_status: &'a str,
    subscription_plan: Option<&'a str>,
    #[serde(serialize_with = "time_or_null")]
    current_period_end: Option<DateTime<Utc>>,
    cancel_at_period_end: bool,
    #[serde(serialize_with = "time_or_null")]
    cancel_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "time_or_null")]
    past_due_since: Option<DateTime<Utc>>,
    #[serde(serialize_with = "time_or_null")]
    date_paid: Option<DateTime<Utc>>,
    #[serde(serialize_with = "time_or_null")]
    fresh_as_of: Option<DateTime<Utc>>,
    credits: i64,
}

/// Writes the projected states and balances of locked workspaces.
pub async fn save_states(
    tx: &mut Tx,
    states: &[(&str, &WorkspaceState, i64)],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let states: Vec<StateRow<'_>> = states
        .iter()
        .map(|(id, state, credits)| StateRow {
            id,
            stripe_customer_id: state.stripe_customer_id.as_deref(),
            subscription_id: state.subscription_id.as_deref(),
            subscription_status: &state.subscription_status,
            subscription_plan: state.subscription_plan.as_deref(),
            current_period_end: state.current_period_end,
            cancel_at_period_end: state.cancel_at_period_end,
            cancel_at: state.cancel_at,
            past_due_since: state.past_due_since,
            date_paid: state.date_paid,
            fresh_as_of: state.fresh_as_of,
            credits: *credits,
        })
        .collect();
    execute!(
        tx,
        of &states,
        "update workspaces set stripe_customer_id = r.stripe_customer_id, subscription_id = r.subscription_id,
         subscription_status = r.subscription_status, subscription_plan = r.subscription_plan,
         current_period_end = r.current_period_end, cancel_at_period_end = r.cancel_at_period_end,
         cancel_at = r.cancel_at, past_due_since = r.past_due_since, date_paid = r.date_paid,
         fresh_as_of = r.fresh_as_of, credits = r.credits, updated_at = $2 from ",
        [id text, stripe_customer_id text, subscription_id text, subscription_status text, subscription_plan text,
         current_period_end timestamptz, cancel_at_period_end boolean, cancel_at timestamptz,
         past_due_since timestamptz, date_paid timestamptz, fresh_as_of timestamptz, credits bigint],
        " as r where workspaces.id = r.id",
        now
    )
}

/// A trial that the sweep has just marked.
#[derive(Clone, Debug, FromRow)]
pub struct ExpiredTrial {
    pub id: String,
    pub trial_ends_at: DateTime<Utc>,
    pub subscription_id: Option<String>,
    pub subscription_status: String,
}

/// A trial whose owner is to be reminded.
#[derive(Clone, Debug, FromRow)]
pub struct EndingTrial {
    pub id: String,
    pub trial_ends_at: DateTime<Utc>,
    /// The reminder that is left: 1 day before the end, or 0 for none.
    pub trial_reminder_days: i64,
    pub subscription_status: String,
}

/// Marks trials that end within 3 days, or within 1 day, at most `limit` of each, as reminded of, the soonest first, and gives
/// them: each reminder once, whatever the number of workers. One that is late gives way to the next.
pub async fn remind_trials(tx: &mut Tx, now: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<EndingTrial>> {
    macro_rules! remind {
        ($lock:literal) => {
            concat!(
                "update workspaces set trial_reminder_days = case when trial_ends_at <= $2 then 0 else 1 end, updated_at = $1
                 where id in (select id from (select id from workspaces
                                              where trial_reminder_days = 3 and trial_expired_at is null
                                                and trial_ends_at > $1 and trial_ends_at <= $3
                                              order by trial_ends_at limit $4 ",
                $lock,
                ") as first union all
                              select id from (select id from workspaces
                                              where trial_reminder_days = 1 and trial_expired_at is null
                                                and trial_ends_at > $1 and trial_ends_at <= $2
                                              order by trial_ends_at limit $4 ",
                $lock,
                ") as last) returning id, trial_ends_at, trial_reminder_days, subscription_status"
            )
        };
    }
    let sql = match tx {
        Tx::Postgres(_) => remind!("for update skip locked"),
        Tx::Sqlite(_) => remind!(""),
    };
    fetch!(all, tx, sql, now, now + TimeDelta::days(1), now + TimeDelta::days(3), limit)
}

/// Marks at most `limit` trials whose time is up, the longest due first, and gives them: each trial once, whatever the
/// number of workers.
pub async fn expire_trials(tx: &mut Tx, now: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<ExpiredTrial>> {
    let sql = match tx {
        Tx::Postgres(_) => {
            "update workspaces set trial_expired_at = $1, updated_at = $1,
                    subscription_status = case when subscription_id is null then 'free' else subscription_status end
             where id in (select id from workspaces where trial_expired_at is null and trial_ends_at <= $1
                          order by trial_ends_at limit $2 for update skip locked)
             returning id, trial_ends_at, subscription_id, subscription_status"
        }
        Tx::Sqlite(_) => {
            "update workspaces set trial_expired_at = $1, updated_at = $1,
                    subscription_status = case when subscription_id is null then 'free' else subscription_status end
             where id in (select id from workspaces where trial_expired_at is null and trial_ends_at <= $1
                          order by trial_ends_at limit $2)
             returning id, trial_ends_at, subscription_id, subscription_status"
        }
    };
    fetch!(all, tx, sql, now, limit)
}
