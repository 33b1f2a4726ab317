//! What is, beside what must be.

use std::collections::{BTreeMap, BTreeSet};

use billing::rules::billing_of;
use billing::store::WorkspaceRow;
use chrono::{DateTime, Utc};

use crate::calendar::at;
use crate::model::Life;
use crate::product::Product;
use crate::trials::Trials;

/// A field that is not what it must be.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    pub(crate) index: usize,
    /// When it was looked at.
    pub(crate) now: i64,
    pub(crate) field: &'static str,
    pub(crate) wanted: String,
    pub(crate) got: String,
}

/// Compares what is shown of a workspace with what is true of it.
pub(crate) fn compare(life: &Life, row: &WorkspaceRow, product: &Product, now: i64) -> Vec<Difference> {
    let policy = &product.context.policy;
    let wanted = life.wanted(now);
    let shown = billing_of(row.subject(), row.state(), &policy.catalogue, &policy.rules, at(now));
    let mut differences = Vec::new();
    let mut field = |field: &'static str, wanted: String, got: String| {
        if wanted != got {
            differences.push(Difference { index: life.index, now, field, wanted, got });
        }
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    field("subscription_status", wanted.status.to_owned(), shown.subscription_status.clone());
    field("subscription_status, as it is stored", wanted.status.to_owned(), row.subscription_status.clone());
    field("subscription_id", text(&wanted.subscription_id), text(&shown.subscription_id));
    field("subscription_plan", wanted.plan.unwrap_or_default().to_owned(), text(&shown.subscription_plan));
    field("effective_plan", wanted.effective_plan.to_owned(), shown.effective_plan.clone());
    field("current_period_end", time(wanted.current_period_end.map(at)), time(shown.current_period_end));
    field("cancel_at_period_end", wanted.cancel_at_period_end.to_string(), shown.cancel_at_period_end.to_string());
    field("date_paid", time(wanted.date_paid.map(at)), time(shown.date_paid));
    field("credits", wanted.credits.to_string(), shown.credits.to_string());
    field("trial_ends_at", time(life.trial_ends_at().map(at)), time(shown.trial.ends_at));
    let customers: Vec<&str> = wanted.customers.iter().map(String::as_str).collect();
    let right = shown.stripe_customer_id.as_deref().map_or(customers.is_empty(), |known| customers.contains(&known));
    if !right {
        field("stripe_customer_id", customers.join(" or "), text(&shown.stripe_customer_id));
    }
    differences
}

fn time(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.to_rfc3339())
}

fn granted(life: &Life) -> Vec<String> {
    let sales = life.sales.iter().filter(|sale| sale.credits > 0);
    sales
        .map(|sale| {
            let reason = if sale.invoice.is_some() { "period" } else { "purchase" };
            format!("{} {reason} {}", sale.source, sale.credits)
        })
        .collect()
}

fn claimed_in_vain(life: &Life) -> Vec<String> {
    let claims =
        life.customers.iter().filter_map(|customer| Some(format!("{}:{}", customer.id, customer.claimed_by.as_ref()?)));
    let mut claims: Vec<String> = claims.collect();
    claims.sort();
    claims
}

/// Compares the rest, which only adds up: the ledger, the causes of mails, the marks of trials, Stripe's own objects.
pub(crate) async fn compare_rows(lives: &[Life], trials: &Trials, product: &Product, now: i64) -> Vec<Difference> {
    let mut differences = Vec::new();
    let by_workspace = |rows: Vec<(String, String)>| {
        let mut sorted: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (workspace, text) in rows {
            sorted.entry(workspace).or_default().push(text);
        }
        sorted
    };
    let mails = by_workspace(product.texts("select workspace_id, dedupe_key from emails").await);
    let sums = by_workspace(
        product
            .texts("select workspace_id, cast(cast(sum(delta) as bigint) as text) from credit_ledger group by workspace_id")
            .await,
    );
    let grants = by_workspace(
        product
            .texts(
                "select workspace_id, source_id || ' ' || reason || ' ' || cast(delta as text) from credit_ledger
                 where reason in ('purchase', 'period') order by source_id",
            )
            .await,
    );
    let refused = by_workspace(
        product.texts("select workspace_id, cause from audit_events where kind = 'link_refused' order by cause").await,
    );
    let expired =
        by_workspace(product.texts("select workspace_id, cause from audit_events where kind = 'trial_expired'").await);
    let statuses = |rows: Vec<(String, Option<String>)>| rows.into_iter().collect::<BTreeMap<_, _>>();
    let subscriptions = statuses(product.texts("select id, status from stripe_subscriptions").await);
    let invoices = statuses(product.texts("select id, status from stripe_invoices").await);
    for life in lives {
        let mut field = |field: &'static str, wanted: String, got: String| {
            if wanted != got {
                differences.push(Difference { index: life.index, now, field, wanted, got });
            }
        };
        let of = |rows: &BTreeMap<String, Vec<String>>| rows.get(&life.id).cloned().unwrap_or_default();
        let queued: BTreeSet<String> = of(&mails).into_iter().collect();
        let (required, allowed) = trials.mails_of(life);
        let missing: Vec<&String> = required.difference(&queued).collect();
        let surplus: Vec<&String> = queued.difference(&allowed).collect();
        if !missing.is_empty() || !surplus.is_empty() {
            field("mails", format!("also {missing:?}"), format!("besides {surplus:?}"));
        }
        let sum = of(&sums).first().cloned().unwrap_or_else(|| "0".to_owned());
        field("sum of the ledger", life.wanted(now).credits.to_string(), sum);
        let (mut granted, mut given) = (granted(life), of(&grants));
        granted.sort();
        given.sort();
        field("grants", format!("{granted:?}"), format!("{given:?}"));
        field("refused links", format!("{:?}", claimed_in_vain(life)), format!("{:?}", of(&refused)));
        field("trial_expired in the history", format!("{:?}", trials.expired_of(life)), format!("{:?}", of(&expired)));
        for it in life.subscriptions.iter().filter(|_| life.account.tells_subscriptions) {
            let got = subscriptions.get(&it.id).cloned().flatten().unwrap_or_default();
            field("status of a subscription", format!("{} {}", it.id, it.status.as_str()), format!("{} {got}", it.id));
        }
        for it in life.invoices.iter().filter(|it| it.told.is_some()) {
            let got = invoices.get(&it.id).cloned().flatten().unwrap_or_default();
            field("status of an invoice", format!("{} {}", it.id, it.status), format!("{} {got}", it.id));
        }
    }
    differences
}
