//! What a workspace may use at this moment. Compares the clock itself, so that a late sweep or a silent Stripe never
//! gives or takes access.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Serialize, Serializer};

use super::{Rules, WorkspaceState};
use crate::plans::Catalogue;

/// Limits of a plan by name; `-1` is unlimited.
pub type Limits = BTreeMap<String, i64>;

/// A workspace's billing as programs read it: `workspaces show --json` and `GET /v1/workspaces/{id}/billing`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Billing {
    pub id: String,
    pub name: String,
    pub owner: Option<OwnerView>,
    pub stripe_customer_id: Option<String>,
    pub subscription_id: Option<String>,
    pub subscription_status: String,
    pub subscription_plan: Option<String>,
    pub effective_plan: String,
    #[serde(serialize_with = "time")]
    pub current_period_end: Option<DateTime<Utc>>,
    pub cancel_at_period_end: bool,
    #[serde(serialize_with = "time")]
    pub date_paid: Option<DateTime<Utc>>,
    pub trial: TrialView,
    pub credits: i64,
    pub limits: Limits,
    #[serde(serialize_with = "time")]
    pub fresh_as_of: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OwnerView {
    pub email: String,
    pub name: Option<String>,
    pub locale: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrialView {
    #[serde(serialize_with = "time")]
    pub ends_at: Option<DateTime<Utc>>,
    pub active: bool,
    /// Begun days until the end; 0 once it is over or where there is none.
    pub days_remaining: i64,
}

#[expect(clippy::ref_option, reason = "the form serde calls")]
fn time<S: Serializer>(at: &Option<DateTime<Utc>>, to: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => to.serialize_str(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        None => to.serialize_none(),
    }
}

/// Who asks: the parts of a workspace that do not come from Stripe.
#[derive(Clone, Debug)]
pub struct Subject {
    pub id: String,
    pub name: String,
    pub owner: Option<OwnerView>,
    pub trial_ends_at: Option<DateTime<Utc>>,
    pub credits: i64,
}

/// The billing of a workspace at `now`. The shown status is projected when something happens; an own trial that ended
/// since then is corrected here.
pub fn billing_of(
    subject: Subject,
    state: WorkspaceState,
    catalogue: &Catalogue,
    rules: &Rules,
    now: DateTime<Utc>,
) -> Billing {
    let on_trial = subject.trial_ends_at.is_some_and(|ends_at| now < ends_at);
    let subscription_status = match (state.subscription_id.is_some(), on_trial) {
        (true, _) => state.subscription_status.clone(),
        (false, true) => "trialing".to_owned(),
        (false, false) => "free".to_owned(),
    };
    let by_subscription = if plan_runs(&state, rules, now) { state.subscription_plan.as_deref() } else { None };
    let by_trial = on_trial.then_some(rules.trial_plan.as_str());
    let effective_plan = [by_subscription, by_trial]
        .into_iter()
        .flatten()
        .max_by_key(|plan| catalogue.rank(plan))
        .unwrap_or("free")
        .to_owned();
    Billing {
        limits: catalogue.limits_of(&effective_plan),
        id: subject.id,
        name: subject.name,
        owner: subject.owner,
        stripe_customer_id: state.stripe_customer_id,
        subscription_id: state.subscription_id,
        subscription_status,
        subscription_plan: state.subscription_plan,
        effective_plan,
        current_period_end: state.current_period_end,
        cancel_at_period_end: state.cancel_at_period_end,
        date_paid: state.date_paid,
        trial: TrialView {
            ends_at: subject.trial_ends_at,
            active: on_trial,
            days_remaining: subject.trial_ends_at.map_or(0, |ends_at| begun_days(ends_at - now)),
        },
        credits: subject.credits,
        fresh_as_of: state.fresh_as_of,
    }
}

fn begun_days(left: TimeDelta) -> i64 {
    const DAY_SECONDS: i64 = 86_400;
    let seconds = left.num_seconds() + i64::from(left.subsec_nanos() > 0);
    if seconds <= 0 { 0 } else { (seconds + DAY_SECONDS - 1) / DAY_SECONDS }
}

/// Whether the subscription gives its plan at `now`.
pub(crate) fn plan_runs(state: &WorkspaceState, rules: &Rules, now: DateTime<Utc>) -> bool {
    let until = |end: Option<DateTime<Utc>>, longer: TimeDelta| end.is_none_or(|end| now < end + longer);
    match state.subscription_status.as_str() {
        "trialing" => true,
        "active" => until(state.current_period_end, rules.leeway),
        "cancel_at_period_end" => until(state.cancel_at.or(state.current_period_end), TimeDelta::zero()),
        "past_due" => until(state.past_due_since, rules.grace),
        _ => false,
    }
}
