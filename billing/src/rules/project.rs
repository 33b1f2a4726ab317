//! From all that is known of a workspace's customers and subscriptions to the columns that people read.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::Value;

use super::fact::{FAILING_FIELD, PAID_FIELD};
use super::{Object, Register};

/// The settings that the rules depend on.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// How long a `past_due` workspace keeps its plan, from the first failure. Default 7 days.
    pub grace: TimeDelta,
    /// How long an `active` plan outlives its period while the renewal is late. Default 3 days.
    pub leeway: TimeDelta,
    /// The plan of a workspace's own trial. Default `pro`.
    pub trial_plan: String,
}

impl Default for Rules {
    fn default() -> Self {
        Self { grace: TimeDelta::days(7), leeway: TimeDelta::days(3), trial_plan: "pro".to_owned() }
    }
}

/// The projected columns of a workspace.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WorkspaceState {
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
}

/// Projects a workspace from its customers and their subscriptions. `trial_ends_at` is the workspace's own trial,
/// `fresh_as_of` when it was heard of last.
pub fn project(
    customers: &[&Object],
    subscriptions: &[&Object],
    trial_ends_at: Option<DateTime<Utc>>,
    fresh_as_of: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> WorkspaceState {
    // Stripe ends what a deleted customer had, whether or not it says so of each subscription.
    let gone: Vec<&str> = customers
        .iter()
        .filter(|customer| customer.flag("deleted") == Some(true))
        .map(|customer| customer.id.as_str())
        .collect();
    let of = |object| {
        let mut subscription = Subscription::of(object)?;
        if object.owner.as_deref().is_some_and(|owner| gone.contains(&owner)) {
            subscription.status = "canceled";
        }
        Some(subscription)
    };
    let mut known: Vec<Subscription<'_>> = subscriptions.iter().copied().filter_map(of).collect();
    known.sort_by(|a, b| b.precedence().cmp(&a.precedence()));
    let current = known.first();
    let on_trial = trial_ends_at.is_some_and(|ends_at| now < ends_at);
    WorkspaceState {
        stripe_customer_id: primary_customer(customers),
        subscription_id: current.map(|subscription| super::link::bare(&subscription.object.id).to_owned()),
        subscription_status: match current {
            Some(subscription) => subscription.shown_status().to_owned(),
            None if on_trial => "trialing".to_owned(),
            None => "free".to_owned(),
        },
        // A price that no plan has leaves the plan where it was: the newest plan that is known.
        subscription_plan: known.iter().find_map(Subscription::plan).map(ToOwned::to_owned),
        current_period_end: current.and_then(Subscription::period_end),
        cancel_at_period_end: current.is_some_and(Subscription::will_end),
        cancel_at: current.and_then(|subscription| subscription.object.time("cancel_at")),
        past_due_since: current.and_then(Subscription::past_due_since),
        date_paid: customers.iter().filter_map(|customer| customer.time("date_paid")).max(),
        fresh_as_of,
    }
}

/// The customer that is shown: the one set by hand last, else the one that was linked by the earliest claim. Guests are
/// not shown.
fn primary_customer(customers: &[&Object]) -> Option<String> {
    let customers = || customers.iter().filter(|customer| !super::link::is_guest(&customer.id));
    let by_hand = customers()
        .filter_map(|customer| Some((customer.int("linked_by_hand")?, customer)))
        .max_by_key(|(at, customer)| (*at, &customer.id));
    let first_claim =
        |customer: &Object| super::link::claims(customer).first().and_then(|(_, claim)| claim.value.as_i64());
    by_hand
        .map(|(_, customer)| customer)
        .or_else(|| customers().min_by_key(|customer| (first_claim(customer).unwrap_or(i64::MAX), &customer.id)))
        .map(|customer| super::link::bare(&customer.id).to_owned())
}

/// A subscription whose status is known, from its own events or from its invoices.
pub(crate) struct Subscription<'a> {
    pub(crate) object: &'a Object,
    pub(crate) status: &'a str,
}

/// What the latest invoice says of its subscription, for when the subscription's own events do not come.
struct Evidence<'a> {
    value: &'a Value,
}

impl<'a> Subscription<'a> {
    pub(crate) fn of(object: &'a Object) -> Option<Self> {
        let own = object.register("status");
        let evidence = Evidence::of(object);
        let status = match (own, &evidence) {
            (Some(own), Some(evidence)) if evidence.overrules(own) => evidence.status(),
            (Some(own), _) => own.value.as_str(),
            (None, Some(evidence)) => evidence.status(),
            (None, None) => None,
        }?;
        Some(Self { object, status })
    }

    /// Whether an invoice says it, and not the subscription's own events.
    pub(crate) fn by_evidence(object: &Object) -> bool {
        match (object.register("status"), Evidence::of(object)) {
            (Some(own), Some(evidence)) => evidence.overrules(own),
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }

    fn is_ended(&self) -> bool {
        matches!(self.status, "canceled" | "incomplete_expired")
    }

    pub(crate) fn will_end(&self) -> bool {
        !self.is_ended()
            && (self.object.flag("cancel_at_period_end") == Some(true) || self.object.int("cancel_at").is_some())
    }

    /// Stripe's status in the words of `workspaces.subscription_status`.
    pub(crate) fn shown_status(&self) -> &'static str {
        match self.status {
            "active" | "trialing" if self.will_end() => "cancel_at_period_end",
            "active" => "active",
            "trialing" => "trialing",
            "past_due" => "past_due",
            "paused" => "paused",
            "incomplete" => "incomplete",
            "canceled" | "incomplete_expired" => "deleted",
            // Also a status that Stripe has yet to invent: no access until somebody looks.
            _ => "unpaid",
        }
    }

    /// The best status first, then the newest.
    fn precedence(&self) -> (u8, i64, &str) {
        let rank = match self.status {
            "active" => 6,
            "trialing" => 5,
            "past_due" => 4,
            "paused" => 2,
            "incomplete" => 1,
            "canceled" | "incomplete_expired" => 0,
            _ => 3,
        };
        // Of one that only its invoices tell of, the first of them says how new it is.
        let created = self.object.int("created").or_else(|| self.object.int("billed_since"));
        (rank, created.unwrap_or(0), &self.object.id)
    }

    /// A member of what the latest invoice says, else the latest that was paid, and when that invoice was made.
    fn told_by_invoices(&self, member: &str) -> Option<(&'a Value, i64)> {
        ["evidence", "paid_for"].into_iter().find_map(|field| {
            let register = self.object.register(field)?;
            let value = register.value.get(member).filter(|value| !value.is_null())?;
            Some((value, register.key.at))
        })
    }

    fn plan(&self) -> Option<&'a str> {
        // An invoice whose price means no plan leaves the plan of the one before.
        let billed = self.object.register("billed_plan").map(|billed| (&billed.value, billed.key.at));
        match (self.object.register("plan"), billed.or_else(|| self.told_by_invoices("plan"))) {
            (Some(own), Some((_, invoice_created))) if own.key.at >= invoice_created => own.value.as_str(),
            (_, Some((plan, _))) => plan.as_str(),
            (own, None) => own?.value.as_str(),
        }
    }

    fn period_end(&self) -> Option<DateTime<Utc>> {
        let seconds = match (self.object.register("current_period_end"), self.told_by_invoices("period_end")) {
            (Some(own), Some((end, invoice_created)))
                if invoice_created > own.key.at && end.as_i64() > own.value.as_i64() =>
            {
                end.as_i64()
            }
            (Some(own), _) => own.value.as_i64(),
            (None, told) => told.and_then(|(end, _)| end.as_i64()),
        };
        DateTime::from_timestamp(seconds?, 0)
    }

    /// The first failure since anything was paid, so that the next period's failure gives no new grace: that of the
    /// invoice that is unpaid now or, where it is earlier, the moment at which the status became so. Where invoices tell
    /// what the subscription's own events do not, the first failure of any made after the last that was paid. Failing all
    /// of these, when the status was told.
    fn past_due_since(&self) -> Option<DateTime<Utc>> {
        if self.status != "past_due" {
            return None;
        }
        let own = self.object.register("status");
        let latest = Evidence::of(self.object);
        let by_evidence = Self::by_evidence(self.object);
        // Only of invoices that were made after the last that was paid: the others are not kept.
        let first_failure = self
            .object
            .fields
            .iter()
            .filter(|(field, _)| field.starts_with(FAILING_FIELD))
            .map(|(_, failing)| failing)
            .filter_map(|failing| Some((&failing.value["invoice"], failing.value["at"].as_i64()?)))
            .filter(|(invoice, at)| {
                latest.as_ref().is_some_and(|evidence| evidence.value["invoice"] == **invoice)
                    || (by_evidence && own.is_none_or(|own| *at > own.key.at))
            })
            .map(|(_, at)| at)
            .min();
        let paid_at = self.object.register(PAID_FIELD).and_then(|paid| paid.value["at"].as_i64());
        let became = self
            .object
            .register("status_since")
            .filter(|since| since.value["status"] == "past_due")
            .and_then(|since| since.value["at"].as_i64())
            .filter(|at| paid_at.is_none_or(|paid_at| paid_at < *at));
        let told = || own.map(|own| own.key.at);
        DateTime::from_timestamp(first_failure.into_iter().chain(became).min().or_else(told)?, 0)
    }
}

impl<'a> Evidence<'a> {
    fn of(object: &'a Object) -> Option<Self> {
        object.register("evidence").map(|register| Self { value: &register.value })
    }

    fn status(&self) -> Option<&'a str> {
        self.value["status"].as_str()
    }

    /// A payment brings back what a missing payment stopped, a failure stops what ran; neither says more than that.
    fn overrules(&self, own: &Register) -> bool {
        let newer = self.value["at"].as_i64().is_some_and(|at| at > own.key.at);
        let possible = match (self.status(), own.value.as_str()) {
            (Some("active"), Some(own)) => matches!(own, "past_due" | "unpaid" | "incomplete" | "trialing"),
            (Some("past_due"), Some(own)) => matches!(own, "active" | "trialing"),
            _ => false,
        };
        !own.key.terminal && newer && possible
    }
}

#[cfg(test)]
mod tests;
