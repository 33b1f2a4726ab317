//! Compares what the sender knows with what the database and the mail server have.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::Site;
use crate::mailbox::Mailbox;
use crate::model::{self, Model};

/// What does not hold. Lost: acknowledged, and without its effect. Doubled: an effect that came again.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    pub(crate) says: Vec<String>,
}

impl Verdict {
    fn lost(&mut self, count: usize, says: impl FnOnce() -> String) {
        self.lost += count;
        if count > 0 {
            self.says.push(says());
        }
    }

    fn doubled(&mut self, count: usize, says: impl FnOnce() -> String) {
        self.doubled += count;
        if count > 0 {
            self.says.push(says());
        }
    }
}

/// Events that are not finished and mails that are not sent.
pub(crate) async fn still_waiting(site: &Site) -> String {
    site.query(
        "select cast((select count(*) from stripe_events where status = 'received')
                   + (select count(*) from emails where status = 'queued') as text)",
    )
    .await
    .remove(0)
}

/// The whole comparison. Mails that were taken `repeats` times too often are no fault: each kill of a worker while it was
/// mailing may repeat what it was sending.
pub(crate) async fn check(site: &Site, model: &Model, mailbox: &Mailbox, repeats: usize) -> Verdict {
    let mut verdict = Verdict::default();
    events(site, model, &mut verdict).await;
    money(site, model, &mut verdict).await;
    mails(site, model, mailbox, repeats, &mut verdict).await;
    verdict
}

async fn events(site: &Site, model: &Model, verdict: &mut Verdict) {
    let found: BTreeSet<String> = site
        .query("select id from stripe_events where status = 'processed' and id not like 'evt_load_%'")
        .await
        .into_iter()
        .collect();
    let told: BTreeSet<String> = model.events.iter().map(model::id).collect();
    verdict.lost(told.difference(&found).count(), || {
        let some: Vec<_> = told.difference(&found).take(5).collect();
        format!("{} events were acknowledged, {} are processed; not {some:?}", told.len(), found.len())
    });
    verdict.doubled(found.difference(&told).count(), || "events are processed that nobody sent".to_owned());
}

async fn money(site: &Site, model: &Model, verdict: &mut Verdict) {
    let rows = site
        .query(
            "select id || ' ' || credits || ' ' || (select coalesce(sum(delta), 0) from credit_ledger where workspace_id = w.id)
                 || ' ' || subscription_status from workspaces w",
        )
        .await;
    let rows: BTreeMap<&str, &str> = rows.iter().filter_map(|row| row.split_once(' ')).collect();
    for (workspace, wanted) in model.expected() {
        let wanted = format!("{0} {0} {1}", wanted.credits, wanted.status);
        let row = rows.get(workspace.as_str()).copied();
        verdict.lost(usize::from(row != Some(&wanted)), || {
            format!("{workspace} is {row:?} (credits, their ledger, status) and not {wanted:?}")
        });
    }
    let rows = site
        .query(
            "select coalesce(sale, source_id) || ' ' || sum(delta) from credit_ledger group by coalesce(sale, source_id)",
        )
        .await;
    let left: BTreeMap<&str, i64> = rows
        .iter()
        .filter_map(|row| row.split_once(' '))
        .filter_map(|(sale, sum)| Some((sale, sum.parse().ok()?)))
        .collect();
    for (sale, wanted) in model.sales() {
        let left = left.get(format!("cs_{sale}").as_str()).copied();
        let says = || format!("cs_{sale} left {left:?} credits and not {wanted}");
        if left > Some(wanted) {
            verdict.doubled(1, says);
        } else {
            verdict.lost(usize::from(left < Some(wanted)), says);
        }
    }
}

async fn mails(site: &Site, model: &Model, mailbox: &Mailbox, repeats: usize, verdict: &mut Verdict) {
    let sent = site.query("select dedupe_key from emails where status = 'sent' order by dedupe_key").await;
    let mut wanted = model.mails();
    wanted.sort();
    let (has, needs): (BTreeSet<_>, BTreeSet<_>) = (sent.iter().collect(), wanted.iter().collect());
    verdict.lost(needs.difference(&has).count(), || {
        format!("{} mails are sent, {} have a cause", sent.len(), wanted.len())
    });
    verdict.doubled(sent.len() - has.len() + has.difference(&needs).count(), || {
        "mails are sent that have no cause".to_owned()
    });
    let delivered = mailbox.messages();
    verdict.lost(wanted.len().saturating_sub(delivered.len()), || {
        format!("{} mails have arrived of {}", delivered.len(), wanted.len())
    });
    let twice: usize = delivered.values().map(|times| times - 1).sum();
    verdict.doubled(twice.saturating_sub(repeats), || format!("{twice} mails came again, {repeats} may have"));
}
