//! The committer over a store that fails as told.

use std::sync::Mutex as Slots;
use std::sync::atomic::{AtomicUsize, Ordering};

use billing::stripe::Envelope;
use tokio::sync::Semaphore;

use super::arrivals::ENOUGH_ROWS;
use super::*;

/// Remembers each batch; fails as its rows or the script say; waits for the gate before each commit.
#[derive(Clone)]
struct Scripted(Arc<Script>);

struct Script {
    batches: Slots<Vec<Vec<String>>>,
    gate: Semaphore,
    /// This many commits fail with a broken connection first.
    broken: AtomicUsize,
}

impl Scripted {
    fn new(broken: usize, open: usize) -> Self {
        Self(Arc::new(Script {
            batches: Slots::default(),
            gate: Semaphore::new(open),
            broken: AtomicUsize::new(broken),
        }))
    }

    /// The sizes of the batches in the order they came.
    fn sizes(&self) -> Vec<usize> {
        self.0.batches.lock().unwrap().iter().map(Vec::len).collect()
    }
}

impl Store for Scripted {
    async fn commit(&mut self, batch: &[Incoming]) -> sqlx::Result<Vec<bool>> {
        self.0.gate.acquire().await.unwrap().forget();
        let ids: Vec<String> = batch.iter().map(|row| row.envelope.id.clone()).collect();
        self.0.batches.lock().unwrap().push(ids.clone());
        if self.0.broken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()));
        }
        assert!(!ids.iter().any(|id| id == "panic"), "as told");
        if ids.iter().any(|id| id == "bad") {
            return Err(sqlx::Error::RowNotFound);
        }
        Ok(ids.iter().map(|id| id == "old").collect())
    }
}

/// A moment that never ends.
const FOR_EVER: Moment = Moment { pause: Duration::MAX, most: Duration::MAX };

fn incoming(id: &str, body_bytes: usize) -> Incoming {
    let body = format!(r#"{{"id":"{id}","type":"a.b","data":{{"object":{{}}}}}}{}"#, " ".repeat(body_bytes));
    Incoming { envelope: Envelope::parse(body.as_bytes()).unwrap(), body, ignored: None }
}

/// Sends all at once, the first alone so that the others wait for it together; opens the gate; gives all answers.
async fn together(store: &Scripted, queue: &Queue, ids: &[&str]) -> Vec<Answer> {
    let all = futures::future::join_all(ids.iter().map(|id| queue.commit(incoming(id, 0), None)));
    let open = async {
        tokio::task::yield_now().await;
        store.0.gate.add_permits(1000);
    };
    tokio::join!(all, open).0
}

#[tokio::test]
async fn those_who_wait_share_a_commit() {
    let store = Scripted::new(0, 0);
    let (queue, committers) = start(vec![store.clone()], 1024, MOMENT);
    let ids: Vec<String> = (0..150).map(|n| format!("evt_{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let answers = together(&store, &queue, &ids).await;
    assert!(answers.iter().all(|answer| *answer == Ok(false)));
    assert!(store.sizes().len() <= 4 && store.sizes().iter().all(|size| *size <= 64), "{:?}", store.sizes());
    assert_eq!(queue.commit(incoming("old", 0), None).await, Ok(true));
    committers.drain().await;
}

#[tokio::test]
async fn one_bad_row_never_fails_its_neighbours() {
    for bad in ["bad", "panic"] {
        let store = Scripted::new(0, 0);
        let (queue, _committers) = start(vec![store.clone()], 1024, MOMENT);
        let answers = together(&store, &queue, &["evt_1", "evt_2", bad, "old", "evt_3"]).await;
        assert_eq!(answers, [Ok(false), Ok(false), Err(NotCommitted::Unavailable), Ok(true), Ok(false)], "{bad}");
    }
}

#[tokio::test]
async fn a_broken_connection_is_tried_again_once_and_never_row_by_row() {
    let store = Scripted::new(1, 0);
    let (queue, _committers) = start(vec![store.clone()], 1024, MOMENT);
    assert_eq!(together(&store, &queue, &["evt_1", "evt_2"]).await, [Ok(false), Ok(false)]);

    let store = Scripted::new(usize::MAX, 0);
    let (queue, _committers) = start(vec![store.clone()], 1024, MOMENT);
    let answers = together(&store, &queue, &["evt_1", "evt_2", "evt_3"]).await;
    assert!(answers.iter().all(|answer| *answer == Err(NotCommitted::Unavailable)));
    assert!(store.sizes().len() <= 4, "{:?}", store.sizes());
}

#[tokio::test]
async fn large_bodies_make_small_batches() {
    let store = Scripted::new(0, 0);
    let (queue, _committers) = start(vec![store.clone()], 1024, MOMENT);
    let all =
        futures::future::join_all((0..12).map(|n| queue.commit(incoming(&format!("evt_{n}"), 1024 * 1024), None)));
    store.0.gate.add_permits(1000);
    assert!(all.await.iter().all(|answer| *answer == Ok(false)));
    assert!(store.sizes().iter().all(|size| *size <= 4), "{:?}", store.sizes());
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_those_who_left_are_passed_over() {
    let store = Scripted::new(0, 0);
    let (queue, committers) = start(vec![store.clone()], 2, MOMENT);
    let mut first = Box::pin(queue.commit(incoming("first", 0), None));
    assert!(futures::poll!(&mut first).is_pending());
    // The committer takes it and stands at the gate; the next two fill the queue.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut leaver = Box::pin(queue.commit(incoming("leaver", 0), None));
    let mut stayer = Box::pin(queue.commit(incoming("stayer", 0), None));
    assert!(futures::poll!(&mut leaver).is_pending());
    assert!(futures::poll!(&mut stayer).is_pending());
    assert_eq!(queue.commit(incoming("fourth", 0), None).await, Err(NotCommitted::Overloaded));
    drop(leaver);
    store.0.gate.add_permits(1000);
    assert_eq!(first.await, Ok(false));
    assert_eq!(stayer.await, Ok(false));
    assert_eq!(*store.0.batches.lock().unwrap(), [["first"], ["stayer"]]);
    committers.drain().await;
    assert_eq!(queue.commit(incoming("late", 0), None).await, Err(NotCommitted::Closing));
}

#[tokio::test]
async fn a_drain_commits_what_was_accepted() {
    let store = Scripted::new(0, 0);
    let (queue, committers) = start(vec![store.clone(); 2], 1024, MOMENT);
    let mut waiting: Vec<_> =
        (0..100).map(|n| Box::pin(queue.commit(incoming(&format!("evt_{n}"), 0), None))).collect();
    for one in &mut waiting {
        assert!(futures::poll!(one).is_pending());
    }
    let drain = tokio::spawn(committers.drain());
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!drain.is_finished());
    store.0.gate.add_permits(1000);
    drain.await.unwrap();
    for one in waiting {
        assert_eq!(one.await, Ok(false));
    }
}

/// Sends so many, one after the other, each when all others have done what they can.
async fn drip(queue: &Queue, rows: usize) {
    let mut waiting: Vec<_> =
        (0..rows).map(|n| Box::pin(queue.commit(incoming(&format!("evt_{n}"), 0), None))).collect();
    for one in &mut waiting {
        if futures::poll!(one).is_pending() {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    }
    assert!(futures::future::join_all(waiting).await.iter().all(|answer| *answer == Ok(false)));
}

#[tokio::test]
async fn who_has_none_does_not_wait_for_company() {
    let store = Scripted::new(0, 1000);
    let (queue, _committers) = start(vec![store.clone()], 1024, FOR_EVER);
    drip(&queue, 3).await;
    assert_eq!(store.sizes(), [1, 1, 1]);
}

#[tokio::test]
async fn who_has_company_waits_for_more_until_it_is_enough_or_the_moment_is_over() {
    let store = Scripted::new(0, 1000);
    let (queue, _committers) = start(vec![store.clone()], 1024, FOR_EVER);
    assert!(together(&store, &queue, &["evt_1", "evt_2"]).await.iter().all(Result::is_ok));
    drip(&queue, ENOUGH_ROWS).await;
    assert_eq!(store.sizes(), [2, ENOUGH_ROWS]);

    let short = Duration::from_millis(1);
    for moment in [Moment { most: short, ..FOR_EVER }, Moment { pause: short, ..FOR_EVER }] {
        let store = Scripted::new(0, 1000);
        let (queue, _committers) = start(vec![store.clone()], 1024, moment);
        assert!(together(&store, &queue, &["evt_1", "evt_2"]).await.iter().all(Result::is_ok));
        drip(&queue, 1).await;
        assert_eq!(store.sizes(), [2, 1]);
    }
}
