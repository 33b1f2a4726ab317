//! The primary dies for good, its synchronous standby takes over, and the name moves to another port.
//!
//! A standby that is synchronous has all that was committed with the usual durability. What is relaxed (the queue's fetches
//! and acknowledgements, the processing of events that lie in the inbox) may be forgotten by a failover, and must come again.

use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection};

use crate::cluster::Cluster;
use crate::harness::{On, Site};
use crate::proxy::Proxy;
use crate::stage::{Report, Stage, Wish};

pub(super) async fn play(_on: On, wish: Wish) -> Report {
    let primary = Cluster::start("wal_level = replica\nmax_wal_senders = 4").await;
    let standby = primary.standby().await;
    let mut admin = PgConnection::connect(&primary.url()).await.unwrap();
    admin.execute("alter system set synchronous_standby_names = '*'").await.unwrap();
    admin.execute("select pg_reload_conf()").await.unwrap();
    let proxy = Proxy::start(primary.port).await;
    let site = Site::on_postgres(format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port)).await;
    let mut stage = Stage::new(site, wish).await;
    stage.start().await;
    stage
        .through(async |_, _| {
            primary.kill().await;
            tokio::time::sleep(wish.seconds(1, 5)).await;
            standby.control(&["promote"]).await;
            // Nobody follows the new primary yet, so it must not wait for anybody.
            let mut admin = PgConnection::connect(&standby.url()).await.unwrap();
            admin.execute("alter system set synchronous_standby_names = ''").await.unwrap();
            admin.execute("select pg_reload_conf()").await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
            proxy.move_to(standby.port);
        })
        .await
}
