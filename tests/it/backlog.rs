//! What a job does beside its own work.

use jobs::{Context, Job, ProcessEvents};
use tokio_util::task::TaskTracker;

use crate::harness::{On, Site};
use crate::in_process;

#[tokio::test]
async fn a_job_leaves_the_backlog_to_others_once_its_worker_is_told_to_stop() {
    let site = Site::new(On::Sqlite).await;
    let context = in_process::context(&site, 2);
    let mut in_turn = Vec::new();
    for commit in 0..20 {
        let batch = in_process::purchases(&context, &commit.to_string(), 15).await;
        let event_ids = in_process::receive(&context, batch).await;
        in_turn.push(ProcessEvents { event_ids, lane: 0 });
    }
    let left = async || {
        let waiting = "select cast(count(*) as text) from stripe_events where status = 'received'";
        site.query(waiting).await[0].parse::<usize>().unwrap()
    };
    let stopping = Context { running: TaskTracker::new(), ..context.clone() };
    stopping.running.close();
    in_turn[0].run(&stopping).await.unwrap();
    let after_one_batch = left().await;
    assert!((1..1200 - 60).contains(&after_one_batch), "{after_one_batch} of 1,200");
    in_turn[1].run(&context).await.unwrap();
    assert_eq!(left().await, 0);
    context.db.close().await;
}
