//! The inbox, from the moment an event is in it.

use billing::store::{
    Db, EventFilter, Outcome, Tx, begin_processing, events_of, find_event, finish_events, lane_of_each, lanes_of,
    list_events, lock_events, oldest_unfinished, rearm_events, set_events_aside,
};

use super::given::{at, execute};
use crate::testing::{self, on_both};

/// Events `evt_1` .. that came in second by second; even ones are invoices.
async fn received(db: &Db, events: i64) {
    for number in 1..=events {
        let kind = if number % 2 == 0 { "invoice.paid" } else { "customer.created" };
        // In the form in which the program writes times to SQLite.
        let time = at(number).to_rfc3339();
        execute(
            db,
            &format!(
                "insert into stripe_events (id, type, livemode, created, payload, received_at, status, job_id)
                 values ('evt_{number}', '{kind}', false, '{time}', '{{}}', '{time}', 'received', 'job_1')"
            ),
        )
        .await;
    }
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

async fn finish(db: &Db, id: &str, status: &'static str, error: Option<&str>) -> u64 {
    let outcome = Outcome {
        id: id.to_owned(),
        status,
        last_error: error.map(ToOwned::to_owned),
        workspace_id: Some("ws_1".to_owned()),
        owner: Some("cus_1".to_owned()),
    };
    let mut tx = db.begin().await.unwrap();
    let finished = finish_events(&mut tx, &[outcome], at(100)).await.unwrap();
    tx.commit().await.unwrap();
    finished
}

async fn locked(db: &Db, wanted: &[&str]) -> Vec<String> {
    let mut tx = db.begin().await.unwrap();
    let events = lock_events(&mut tx, &ids(wanted), 0, 0).await.unwrap();
    tx.commit().await.unwrap();
    events.into_iter().map(|event| event.id).collect()
}

on_both! {
    async fn a_finished_event_is_over_until_it_is_armed_again(db: Db) {
        received(&db, 3).await;
        assert_eq!(locked(&db, &["evt_2", "evt_1", "evt_none"]).await, ["evt_1", "evt_2"]);
        assert_eq!(finish(&db, "evt_1", "dead", Some("data.object.id: is missing")).await, 1);
        assert_eq!(finish(&db, "evt_1", "processed", None).await, 0, "the old owner comes too late");
        assert_eq!(locked(&db, &["evt_1", "evt_2"]).await, ["evt_2"]);
        let event = find_event(&db, "evt_1").await.unwrap().unwrap();
        assert_eq!((event.status.as_str(), event.attempts, event.processed_at), ("dead", 1, Some(at(100))));
        assert_eq!(event.last_error.as_deref(), Some("data.object.id: is missing"));
        assert_eq!(event.payload.as_deref(), Some("{}"));

        let mut tx = db.begin().await.unwrap();
        assert_eq!(rearm_events(&mut tx, &ids(&["evt_1", "evt_none"]), "job_2").await.unwrap(), ["evt_1"]);
        tx.commit().await.unwrap();
        assert_eq!(locked(&db, &["evt_1"]).await, ["evt_1"]);
        assert_eq!(find_event(&db, "evt_1").await.unwrap().unwrap().job_id.as_deref(), Some("job_2"));
        assert!(find_event(&db, "evt_none").await.unwrap().is_none());
    }

    /// The oldest of the lane that nobody has tried, on PostgreSQL from its own on; one that was set aside runs by itself.
    async fn a_backlog_is_taken_along_from_its_oldest(db: Db) {
        received(&db, 6).await;
        finish(&db, "evt_2", "processed", None).await;
        execute(&db, "update stripe_events set lane = 1 where id = 'evt_4'").await;
        let (mut tx, _) = begin_processing(&db, 0).await.unwrap();
        assert_eq!(set_events_aside(&mut tx, &ids(&["evt_2", "evt_3"]), Some("job_3")).await.unwrap(), 1);
        let mut taken = async |own: &str| {
            let events = lock_events(&mut tx, &ids(&[own]), 0, 2).await.unwrap();
            let mut taken: Vec<_> = events.into_iter().map(|event| (event.own, event.id)).collect();
            taken.sort();
            taken.into_iter().map(|(own, id)| format!("{own} {id}")).collect::<Vec<_>>()
        };
        assert_eq!(taken("evt_1").await, ["false evt_5", "false evt_6", "true evt_1"]);
        let along = taken("evt_2").await;
        match &db {
            Db::Postgres(_) => assert_eq!(along, ["false evt_5", "false evt_6"], "it is finished, evt_1 came before it"),
            Db::Sqlite(_) => assert_eq!(along, ["false evt_1", "false evt_5"], "it is finished"),
        }
        assert_eq!(taken("evt_3").await, ["true evt_3"], "what was tried runs alone");
        tx.commit().await.unwrap();
        let aside = find_event(&db, "evt_3").await.unwrap().unwrap();
        assert_eq!((aside.status.as_str(), aside.attempts, aside.job_id.as_deref()), ("received", 1, Some("job_3")));
    }

    /// Of the jobs that came at the same moment, one at most is cut in two.
    async fn a_backlog_is_taken_along_job_by_job(db: Db) {
        received(&db, 6).await;
        let job = "case when id in ('evt_1', 'evt_3', 'evt_6') then 'job_1' else 'job_2' end";
        execute(&db, &format!("update stripe_events set job_id = {job}, received_at = (select min(received_at) from stripe_events)")).await;
        let (mut tx, _) = begin_processing(&db, 0).await.unwrap();
        let events = lock_events(&mut tx, &ids(&["evt_1"]), 0, 3).await.unwrap();
        let jobs: Vec<_> = events.into_iter().filter_map(|event| event.job_id).collect();
        assert_eq!(jobs, ["job_1", "job_1", "job_1", "job_2"]);
    }

    async fn the_oldest_unfinished_event_is_found(db: Db) {
        assert_eq!(oldest_unfinished(&db, at(0)).await.unwrap(), None);
        received(&db, 3).await;
        finish(&db, "evt_1", "processed", None).await;
        assert_eq!(oldest_unfinished(&db, at(0)).await.unwrap(), Some(at(2)));
    }

    async fn a_listing_is_the_newest_first_and_filters(db: Db) {
        received(&db, 4).await;
        finish(&db, "evt_2", "processed", None).await;
        let all = EventFilter { limit: 10, ..EventFilter::default() };
        let cases = [
            (all.clone(), vec!["evt_4", "evt_3", "evt_2", "evt_1"]),
            (EventFilter { limit: 1, ..all.clone() }, vec!["evt_4"]),
            (EventFilter { status: Some("received".into()), ..all.clone() }, vec!["evt_4", "evt_3", "evt_1"]),
            (EventFilter { kind: Some("invoice.paid".into()), ..all.clone() }, vec!["evt_4", "evt_2"]),
            (EventFilter { workspace_id: Some("ws_1".into()), ..all.clone() }, vec!["evt_2"]),
            (EventFilter { since: Some(at(2)), until: Some(at(4)), ..all.clone() }, vec!["evt_3", "evt_2"]),
        ];
        for (filter, wanted) in cases {
            let events = list_events(&db, &filter).await.unwrap();
            assert_eq!(events.iter().map(|event| event.id.as_str()).collect::<Vec<_>>(), wanted, "{filter:?}");
            assert!(events.iter().all(|event| event.payload.is_none()), "bodies stay out of listings");
        }
    }

    /// A worker does not wait for another one's events: they are passed over, and still wait until that one has finished.
    async fn what_another_worker_is_at_is_passed_over(db: Db) {
        received(&db, 2).await;
        let mut one = db.begin().await.unwrap();
        assert_eq!(lock_events(&mut one, &ids(&["evt_1"]), 0, 0).await.unwrap().len(), 1);
        if matches!(db, Db::Postgres(_)) {
            // SQLite has one writer, so there is no other one meanwhile.
            assert_eq!(locked(&db, &["evt_1", "evt_2"]).await, ["evt_2"]);
        }
        drop(one);
        let mut tx = db.begin().await.unwrap();
        assert_eq!(lanes_of(&mut tx, &["evt_1", "evt_9"]).await.unwrap(), [0]);
        drop(tx);
        assert_eq!(finish(&db, "evt_1", "processed", None).await, 1);
        let mut tx = db.begin().await.unwrap();
        assert!(lanes_of(&mut tx, &["evt_1", "evt_9"]).await.unwrap().is_empty());
    }

    /// A job whose events are of several lanes finds each.
    async fn the_events_of_another_lane_are_not_touched(db: Db) {
        received(&db, 3).await;
        execute(&db, "update stripe_events set lane = 1 where id = 'evt_2'").await;
        let all = ids(&["evt_1", "evt_2", "evt_3", "evt_none"]);
        let (mut tx, _) = begin_processing(&db, 1).await.unwrap();
        let events = lock_events(&mut tx, &all, 1, 0).await.unwrap();
        assert_eq!(events.iter().map(|event| event.id.as_str()).collect::<Vec<_>>(), ["evt_2"]);
        assert_eq!(lanes_of(&mut tx, &all).await.unwrap(), [0, 1]);
        let each = [("evt_1", 0), ("evt_2", 1), ("evt_3", 0)].map(|(id, lane)| (id.to_owned(), lane));
        assert_eq!(lane_of_each(&mut tx, &all).await.unwrap(), each);
    }

    /// What was finished before its customer was linked is of the workspace, too.
    async fn the_events_of_a_workspace_are_heard_in_their_order(db: Db) {
        received(&db, 4).await;
        finish(&db, "evt_3", "processed", None).await;
        let unlinked = |id: &str, owner: &str| Outcome {
            id: id.to_owned(),
            status: "processed",
            last_error: None,
            workspace_id: None,
            owner: Some(owner.to_owned()),
        };
        let mut tx = db.begin().await.unwrap();
        finish_events(&mut tx, &[unlinked("evt_1", "cus_1"), unlinked("evt_2", "cus_2")], at(100)).await.unwrap();
        tx.commit().await.unwrap();
        let heard = events_of(&db, "ws_1", &ids(&["cus_1"]), 10).await.unwrap();
        let heard: Vec<(&str, &str)> = heard.iter().map(|event| (event.id.as_str(), event.payload.as_str())).collect();
        assert_eq!(heard, [("evt_1", "{}"), ("evt_3", "{}")]);
        assert_eq!(events_of(&db, "ws_1", &ids(&["cus_1"]), 1).await.unwrap()[0].id, "evt_3", "the newest");
    }
}

/// In the index they lie by buckets: whatever bucket an event is in, or none because an earlier version finished it, it is found.
#[tokio::test]
async fn the_events_of_a_workspace_are_found_in_all_buckets() {
    testing::on_sqlite(|db: Db| async move {
        received(&db, 6).await;
        for number in 1..=6 {
            assert_eq!(finish(&db, &format!("evt_{number}"), "processed", None).await, 1);
        }
        let heard = async |limit| -> Vec<String> {
            let filter = EventFilter { workspace_id: Some("ws_1".to_owned()), limit, ..EventFilter::default() };
            let mut listed = list_events(&db, &filter).await.unwrap();
            listed.reverse();
            let heard = events_of(&db, "ws_1", &[], limit).await.unwrap();
            let heard: Vec<String> = heard.into_iter().map(|event| event.id).collect();
            assert_eq!(listed.into_iter().map(|event| event.id).collect::<Vec<_>>(), heard);
            heard
        };
        let all = ["evt_1", "evt_2", "evt_3", "evt_4", "evt_5", "evt_6"];
        assert_eq!(heard(10).await, all, "as they were finished");
        execute(&db, "update stripe_events set bucket = nullif(9 - 2 * rowid, 1)").await;
        assert_eq!(heard(10).await, all, "buckets of -3 to 7, with gaps, and one of none");
        assert_eq!(heard(3).await, all[3..]);
        execute(&db, "update stripe_events set bucket = null").await;
        assert_eq!(heard(3).await, all[3..], "all of an earlier version");
    })
    .await;
}

/// A worker's plans are made while nothing waits, and kept when very much does.
#[tokio::test]
async fn a_batch_touches_its_own_events_however_many_wait() {
    testing::on_postgres(|db: Db| async move {
        let outcome = |number: usize| Outcome {
            id: format!("evt_{number}"),
            status: "processed",
            last_error: None,
            workspace_id: None,
            owner: None,
        };
        let touched = "select coalesce(sum(idx_tup_fetch + seq_tup_read), 0)::bigint from pg_stat_xact_user_tables
                       where relname = 'stripe_events'";
        // One after the other, so all on one connection.
        let mut all = Vec::new();
        for batch in 0..12 {
            if batch == 10 {
                let many = "insert into stripe_events (id, type, livemode, created, payload, received_at, status)
                            select 'evt_' || n, 'x', false, now(), '{}', now(), 'received' from generate_series(1, 3000) as n";
                execute(&db, many).await;
            }
            let (mut tx, _) = begin_processing(&db, 0).await.unwrap();
            let ids: Vec<String> = (1..=50).map(|index| format!("evt_{}", batch * 50 + index)).collect();
            let before = lock_events(&mut tx, &ids, 0, 0).await.unwrap().len();
            let outcomes: Vec<Outcome> = (1..=50).map(|index| outcome(batch * 50 + index)).collect();
            assert_eq!(finish_events(&mut tx, &outcomes, at(9)).await.unwrap() as usize, before);
            let Tx::Postgres(inner) = &mut tx else { unreachable!("it is PostgreSQL") };
            let (rows,): (i64,) = sqlx::query_as(touched).fetch_one(&mut **inner).await.unwrap();
            all.push((before, rows));
            tx.commit().await.unwrap();
        }
        assert!(all[10..].iter().all(|(before, rows)| *before == 50 && *rows <= 300), "{all:?}");
    })
    .await;
}

/// Who wants a lane that is taken waits without events in its hands, until it is free; but not for ever.
#[tokio::test]
async fn a_lane_has_one_transaction_at_a_time_as_long_as_that_one_lives() {
    testing::on_postgres(|db: Db| async move {
        let waiting = async || {
            let sql = "select count(*) from pg_locks where locktype = 'advisory' and not granted
                         and classid::bigint = hashtext('billingd ' || current_schema())::bigint & 4294967295";
            let Db::Postgres(pool) = &db else { unreachable!("it is PostgreSQL") };
            sqlx::query_as::<_, (i64,)>(sql).fetch_one(pool).await.unwrap().0
        };
        let (first, has_lane) = begin_processing(&db, 0).await.unwrap();
        assert!(has_lane);
        drop(begin_processing(&db, 1).await.unwrap());
        let second = tokio::spawn({
            let db = db.clone();
            async move { begin_processing(&db, 0).await.unwrap() }
        });
        while waiting().await == 0 {
            tokio::task::yield_now().await;
        }
        first.commit().await.unwrap();
        let (mut second, has_lane) = second.await.unwrap();
        assert!(has_lane);
        let (third, has_lane) = begin_processing(&db, 0).await.unwrap();
        assert!(!has_lane, "it goes beside the second one");
        received(&db, 1).await;
        assert_eq!(lock_events(&mut second, &ids(&["evt_1"]), 0, 0).await.unwrap().len(), 1, "the second one works on");
        drop(third);
    })
    .await;
}

/// The oldest of the backlog are found by the index that has only the backlog, whatever the planner takes it for: by that of
/// all events, every batch would go through all that were ever processed.
#[tokio::test]
async fn no_index_of_all_events_gives_the_order_of_the_backlog() {
    testing::on_postgres(|db: Db| async move {
        let Db::Postgres(pool) = &db else { unreachable!("it is PostgreSQL") };
        let mut connection = pool.acquire().await.unwrap();
        let mut plan = async |sql: &'static str| {
            let lines: Vec<(String,)> = sqlx::query_as(sql).fetch_all(&mut *connection).await.unwrap();
            lines.into_iter().map(|(line,)| line).collect::<Vec<_>>().join("\n")
        };
        // As where it is so large that any other is cheaper, and sorting is dear.
        execute(&db, "drop index stripe_events_unfinished").await;
        for sql in ["set enable_sort = off", "set enable_seqscan = off"] {
            plan(sql).await;
        }
        let backlog =
            plan("explain select id from stripe_events where status = 'received' order by received_at, job_id limit 1")
                .await;
        assert!(backlog.contains("Sort") && !backlog.contains("Presorted"), "{backlog}");
        let newest =
            plan("explain select id from stripe_events order by received_at desc nulls last, id desc limit 1").await;
        assert!(newest.contains("stripe_events_received"), "{newest}");
    })
    .await;
}

/// What changes in a row that stays on its page is logged without what does not change: the body.
#[tokio::test]
async fn an_event_that_is_over_stays_on_its_page() {
    testing::on_postgres(|db: Db| async move {
        let Db::Postgres(pool) = &db else { unreachable!("it is PostgreSQL") };
        execute(
            &db,
            "insert into stripe_events (id, type, livemode, created, payload, received_at, status, job_id)
             select 'evt_' || n, 'invoice.paid', false, now(), repeat(md5(n::text), 50), now(), 'received', 'job_1'
             from generate_series(1, 40) as n",
        )
        .await;
        let pages = async || -> Vec<(String, String)> {
            let sql = "select id, split_part(ctid::text, ',', 1) from stripe_events order by id";
            sqlx::query_as(sql).fetch_all(pool).await.unwrap()
        };
        let before = pages().await;
        for (id, _) in &before {
            assert_eq!(finish(&db, id, "processed", None).await, 1);
        }
        assert_eq!(pages().await, before);
    })
    .await;
}
