//! The objects of the simulated Stripe, as they are now.

use serde_json::Value;

use super::account::{PLANS, plan_of};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Incomplete,
    IncompleteExpired,
    Trialing,
    Active,
    PastDue,
    Unpaid,
    Paused,
    Canceled,
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::IncompleteExpired => "incomplete_expired",
            Self::Trialing => "trialing",
            Self::Active => "active",
            Self::PastDue => "past_due",
            Self::Unpaid => "unpaid",
            Self::Paused => "paused",
            Self::Canceled => "canceled",
        }
    }

    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Canceled | Self::IncompleteExpired)
    }
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of Stripe's own")]
pub(crate) struct Customer {
    pub(crate) id: String,
    pub(crate) deleted: bool,
    /// Cents that downgrades have left, for invoices to come.
    pub(crate) balance: i64,
    /// `metadata.workspace_id` is set.
    pub(crate) names_workspace: bool,
    pub(crate) created: i64,
    /// Something names the workspace, or the app has named the customer.
    pub(crate) linked: bool,
    /// The other workspace that has claimed it, in vain.
    pub(crate) claimed_by: Option<String>,
    /// Subscriptions and sessions of this customer name the workspace, too.
    pub(crate) subscriptions_name: bool,
    pub(crate) sessions_name: bool,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of Stripe's own")]
pub(crate) struct Subscription {
    pub(crate) id: String,
    pub(crate) customer: usize,
    pub(crate) status: Status,
    pub(crate) created: i64,
    /// Periods are counted from here.
    pub(crate) anchor: i64,
    pub(crate) yearly: bool,
    /// Periods since the anchor.
    pub(crate) periods: u32,
    pub(crate) period_start: i64,
    pub(crate) period_end: i64,
    /// Price and quantity.
    pub(crate) items: Vec<(&'static str, i64)>,
    pub(crate) flag: bool,
    pub(crate) cancel_at: Option<i64>,
    pub(crate) canceled_at: Option<i64>,
    pub(crate) ended_at: Option<i64>,
    pub(crate) trial_end: Option<i64>,
    pub(crate) latest_invoice: Option<String>,
    pub(crate) collection_paused: bool,
    pub(crate) names_workspace: bool,
    pub(crate) has_card: bool,
    /// Attempts that will fail before one succeeds.
    pub(crate) failures_to_come: i64,
    /// Since when payments have failed.
    pub(crate) failing_since: Option<i64>,
    /// Prorations for the next invoice.
    pub(crate) pending: Vec<Line>,
    /// The plan that its items last meant.
    pub(crate) plan: Option<&'static str>,
    /// As its last event told it, and when.
    pub(crate) told: Option<(Value, i64)>,
    /// What its invoices say of it.
    pub(crate) by_invoices: ByInvoices,
}

/// A subscription as far as its invoices tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct ByInvoices {
    /// When the invoice was made that was heard of last.
    latest: i64,
    /// When the first of those that say something was made.
    pub(crate) first: Option<i64>,
    /// `None`: none has been paid, and none has failed.
    pub(crate) status: Option<Status>,
    /// Invoices that have failed, with when they were made and when they failed first; not those made before one that
    /// was paid.
    unpaid: Vec<(i64, i64)>,
    pub(crate) plan: Option<&'static str>,
    pub(crate) paid_until: Option<i64>,
    /// When the last of those that were paid was made.
    paid: Option<i64>,
}

impl ByInvoices {
    /// An attempt on an invoice has failed.
    pub(crate) fn failed(&mut self, invoice: &Invoice, now: i64) {
        self.first = Some(self.first.unwrap_or(invoice.created).min(invoice.created));
        let known = self.unpaid.iter().any(|(made, _)| *made == invoice.created);
        if !known && self.paid.is_none_or(|paid| paid < invoice.created) {
            self.unpaid.push((invoice.created, now));
        }
        if invoice.created < self.latest {
            return;
        }
        self.latest = invoice.created;
        let first = invoice.reason == "subscription_create";
        self.status = Some(if first { Status::Incomplete } else { Status::PastDue });
        self.plan = invoice.plan().or(self.plan);
    }

    /// An invoice above zero was paid.
    pub(crate) fn paid(&mut self, invoice: &Invoice) {
        self.first = Some(self.first.unwrap_or(invoice.created).min(invoice.created));
        self.paid = self.paid.max(Some(invoice.created));
        self.unpaid.retain(|(made, _)| *made > invoice.created);
        if invoice.created < self.latest {
            return;
        }
        self.latest = invoice.created;
        self.status = Some(Status::Active);
        self.plan = invoice.plan().or(self.plan);
        self.paid_until = invoice.regular().map(|line| line.end).max().or(self.paid_until);
    }

    /// When the first failed of those that were made after the last that was paid.
    pub(crate) fn failing_since(&self) -> Option<i64> {
        self.unpaid.iter().map(|(_, failed_at)| *failed_at).min()
    }
}

impl Subscription {
    pub(crate) fn is_over(&self) -> bool {
        self.status.is_over()
    }

    pub(crate) fn will_end(&self) -> bool {
        !self.is_over() && (self.flag || self.cancel_at.is_some())
    }

    /// When it will end.
    pub(crate) fn ends_at(&self) -> Option<i64> {
        self.cancel_at.or(self.flag.then_some(self.period_end))
    }

    pub(crate) fn months_per_period(&self) -> u32 {
        if self.yearly { 12 } else { 1 }
    }

    /// The highest plan among the items.
    pub(crate) fn plan_of_items(&self) -> Option<usize> {
        self.items.iter().filter_map(|(price, _)| plan_of(price)).max()
    }

    /// Notes the plan that the items mean; prices that mean none leave it as it was.
    pub(crate) fn note_plan(&mut self) {
        self.plan = self.plan_of_items().map(|plan| PLANS[plan].id).or(self.plan);
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) price: &'static str,
    pub(crate) quantity: i64,
    pub(crate) amount: i64,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) proration: bool,
}

#[derive(Debug)]
pub(crate) struct Invoice {
    pub(crate) id: String,
    pub(crate) customer: usize,
    /// Position, and id.
    pub(crate) of: usize,
    pub(crate) subscription: String,
    pub(crate) status: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) created: i64,
    pub(crate) finalized_at: Option<i64>,
    pub(crate) paid_at: Option<i64>,
    pub(crate) attempts: i64,
    pub(crate) next_attempt: Option<i64>,
    pub(crate) lines: Vec<Line>,
    /// Cents of it that the customer's balance pays.
    pub(crate) from_balance: i64,
    pub(crate) out_of_band: bool,
    pub(crate) names_workspace: bool,
    /// Credits that its regular lines come with.
    pub(crate) credits: i64,
    pub(crate) told: Option<(Value, i64)>,
}

impl Invoice {
    pub(crate) fn regular(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| !line.proration)
    }

    /// The highest plan among its regular lines.
    fn plan(&self) -> Option<&'static str> {
        self.regular().filter_map(|line| plan_of(line.price)).max().map(|plan| PLANS[plan].id)
    }

    pub(crate) fn total(&self) -> i64 {
        self.lines.iter().map(|line| line.amount).sum()
    }

    pub(crate) fn due(&self) -> i64 {
        (self.total() - self.from_balance).max(0)
    }

    pub(crate) fn payment(&self) -> String {
        self.id.replace("in_", "pi_")
    }

    pub(crate) fn charge(&self) -> String {
        self.id.replace("in_", "ch_")
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    /// `None`: a guest paid, and Stripe made no customer.
    pub(crate) customer: Option<String>,
    pub(crate) mode: &'static str,
    pub(crate) status: &'static str,
    pub(crate) payment_status: &'static str,
    pub(crate) subscription: Option<String>,
    pub(crate) payment: Option<String>,
    pub(crate) amount: i64,
    pub(crate) created: i64,
    /// `client_reference_id`.
    pub(crate) reference: Option<String>,
    /// Plan, price and quantity of credits.
    pub(crate) bought: Option<(&'static str, &'static str, i64)>,
    pub(crate) by_line_items: bool,
}

/// Something that was paid, and what became of the money and the credits.
#[derive(Debug)]
pub(crate) struct Sale {
    pub(crate) customer: Option<usize>,
    /// The cause of its grant: the session or the invoice.
    pub(crate) source: String,
    pub(crate) invoice: Option<String>,
    pub(crate) payment: String,
    pub(crate) charge: String,
    pub(crate) total: i64,
    pub(crate) credits: i64,
    pub(crate) refunds: Vec<Refund>,
    pub(crate) disputes: Vec<Dispute>,
}

#[derive(Debug)]
pub(crate) struct Refund {
    pub(crate) id: String,
    pub(crate) amount: i64,
    pub(crate) status: &'static str,
    pub(crate) created: i64,
}

#[derive(Debug)]
pub(crate) struct Dispute {
    pub(crate) id: String,
    pub(crate) amount: i64,
    pub(crate) status: &'static str,
    pub(crate) created: i64,
}

impl Sale {
    /// What the charge has been refunded, by Stripe's count: a refund counts until it fails.
    pub(crate) fn refunded(&self) -> i64 {
        self.refunds.iter().filter(|refund| refund.status != "failed").map(|refund| refund.amount).sum()
    }

    fn disputed(&self) -> i64 {
        let given_back = |status: &str| matches!(status, "won" | "warning_closed");
        self.disputes.iter().filter(|dispute| !given_back(dispute.status)).map(|dispute| dispute.amount).sum()
    }

    /// What is left of the credits: they are taken back in proportion to the cumulative amount, parts in the buyer's favour.
    pub(crate) fn credits_left(&self) -> i64 {
        let gone = (self.refunded() + self.disputed()).clamp(0, self.total);
        if self.total == 0 { self.credits } else { self.credits - self.credits * gone / self.total }
    }
}
