//! Jobs that run in the process of the test, on the database of a site.

use std::sync::Arc;
use std::time::Duration;

use billing::apply::Policy;
use billing::mail::{Mailer, Templates};
use billing::rules::{Rules, SpentRefund};
use billing::store::{self, Db, Member, PoolSizes};
use billing::stripe::Envelope;
use billing::stripe::scope::Accounts;
use billing::{Catalogue, Clock};
use jobs::receive::{Inbox, Incoming};
use jobs::{Context, Links};
use tokio_util::task::TaskTracker;

use crate::bodies::purchase;
use crate::harness::Site;

pub(crate) fn context(site: &Site, connections: u32) -> Context {
    let sizes = PoolSizes { connections, acquire_timeout: Duration::from_secs(30) };
    let policy = Policy {
        catalogue: Catalogue::standard(None, Some("price_pro".to_owned()), None),
        rules: Rules::default(),
        spent_refund: SpentRefund::Negative,
        accounts: Accounts::default(),
        livemode: None,
    };
    Context {
        db: Db::open(&site.url, "billing", sizes).unwrap(),
        clock: Clock::manual(Clock::system().now()),
        policy: Arc::new(policy),
        stripe: None,
        mailer: Arc::new(Mailer::new("file://outbox", "Billing <billing@example.com>").unwrap()),
        templates: Arc::new(Templates::load(None, None).unwrap()),
        links: Arc::new(Links::default()),
        batch_size: Arc::default(),
        running: TaskTracker::new(),
    }
}

/// Makes new workspaces, and gives what is bought for them, four events each. What this reads the planner may read as it likes.
pub(crate) async fn purchases(context: &Context, name: &str, count: usize) -> Vec<Incoming> {
    let now = context.clock.now();
    let mut tx = context.db.begin().await.unwrap();
    let mut batch = Vec::new();
    for number in 0..count {
        let workspace = format!("ws_{name}_{number}");
        let email = format!("{workspace}@example.com");
        store::put_workspace(&mut tx, &workspace, &workspace, None, now).await.unwrap();
        let owner = Member { email: &email, name: None, locale: None };
        store::put_owner(&mut tx, &workspace, &owner, &billing::clock::new_id(), now).await.unwrap();
        batch.extend(purchase(&workspace, &format!("cus_{name}_{number}")).iter().map(|event| {
            let body = event.to_string();
            Incoming { envelope: Envelope::parse(body.as_bytes()).unwrap(), body, ignored: None }
        }));
    }
    tx.commit().await.unwrap();
    batch
}

/// Receives events in one commit, and gives their ids.
pub(crate) async fn receive(context: &Context, batch: Vec<Incoming>) -> Vec<String> {
    Inbox::new(context.db.clone(), 1).commit(&batch, context.clock.now()).await.unwrap();
    batch.into_iter().map(|incoming| incoming.envelope.id).collect()
}
