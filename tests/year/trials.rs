//! The workspaces' own trials: which mails the sweeps must have queued.
//!
//! Whether a reminder is due depends on what the product knew at the moment of the sweep. Where all that had happened had
//! arrived by then, the truth decides; where something was still on its way, either is right.

use std::collections::{BTreeMap, BTreeSet};

use crate::calendar::DAY;
use crate::model::Life;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mail {
    Required,
    Either,
}

#[derive(Debug, Default)]
struct Trial {
    reminders: u8,
    expired: bool,
    mails: BTreeMap<String, Mail>,
}

#[derive(Debug, Default)]
pub(crate) struct Trials {
    by_workspace: BTreeMap<usize, Trial>,
}

/// Statuses in which nobody is told of the end of a trial.
fn runs(status: &str) -> bool {
    matches!(status, "active" | "past_due" | "cancel_at_period_end")
}

impl Trials {
    /// A sweep at `now`; `settled` says of a workspace that all that has happened to it is processed.
    pub(crate) fn sweep(
        &mut self,
        lives: &[Life],
        settled: impl Fn(usize) -> bool,
        put: impl Fn(usize) -> bool,
        now: i64,
    ) {
        for (index, life) in lives.iter().enumerate() {
            let Some(ends_at) = life.trial_ends_at().filter(|end| now >= end - 3 * DAY).filter(|_| put(index)) else {
                continue;
            };
            let trial = self.by_workspace.entry(life.index).or_default();
            if trial.expired {
                continue;
            }
            let wanted = life.wanted(now);
            let mail = match (settled(index), wanted.subscription_id.is_some(), wanted.status) {
                // Stripe's own trial runs: queued or not, it is skipped when it is to be sent.
                (true, true, "trialing") | (false, ..) => Some(Mail::Either),
                (true, true, status) if runs(status) => None,
                (true, ..) => Some(Mail::Required),
            };
            let mut add = |key: String| {
                if let Some(mail) = mail {
                    trial.mails.insert(key, mail);
                }
            };
            if now >= ends_at {
                trial.expired = true;
                add(format!("trial_expired:{}:{ends_at}", life.id));
            } else if now >= ends_at - DAY && trial.reminders < 2 {
                trial.reminders = 2;
                add(format!("trial_ending:{}:{ends_at}:1", life.id));
            } else if trial.reminders < 1 {
                trial.reminders = 1;
                add(format!("trial_ending:{}:{ends_at}:3", life.id));
            }
        }
    }

    /// The mails that must be there, and those that may be.
    pub(crate) fn mails_of(&self, life: &Life) -> (BTreeSet<String>, BTreeSet<String>) {
        let (mut required, mut allowed) = (life.mails.clone(), life.mails.clone());
        for (key, mail) in self.by_workspace.get(&life.index).into_iter().flat_map(|trial| &trial.mails) {
            allowed.insert(key.clone());
            if *mail == Mail::Required {
                required.insert(key.clone());
            }
        }
        (required, allowed)
    }

    /// The causes of `trial_expired`.
    pub(crate) fn expired_of(&self, life: &Life) -> Vec<String> {
        let expired = self.by_workspace.get(&life.index).is_some_and(|trial| trial.expired);
        life.trial_ends_at().filter(|_| expired).map(|end| format!("{}:{end}", life.id)).into_iter().collect()
    }
}
