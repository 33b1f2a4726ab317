//! Others take every connection that the server has, and ours are ended, so that there is none to be had.

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Executor, PgConnection};

use crate::cluster::Cluster;
use crate::harness::{On, Site};
use crate::stage::{Report, Stage, Wish};

/// The three that are kept back are for superusers, and ours is one here.
const SETTINGS: &str = "max_connections = 360\nsuperuser_reserved_connections = 0";

pub(super) async fn play(_on: On, wish: Wish) -> Report {
    let cluster = Cluster::start(SETTINGS).await;
    let mut stage = Stage::new(Site::on_postgres(cluster.url()).await, wish).await;
    stage.start().await;
    stage
        .through(async |site, _| {
            let mut admin = site.admin().await;
            let options: PgConnectOptions = cluster.url().parse().unwrap();
            let mut idle = Vec::new();
            fill(&options, &mut idle).await;
            assert!(idle.len() > 250, "{}", idle.len());
            admin
                .execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'billingd'")
                .await
                .unwrap();
            fill(&options, &mut idle).await;
            tokio::time::sleep(wish.seconds(5, 30)).await;
        })
        .await
}

/// Connects until the server takes nobody any more.
async fn fill(options: &PgConnectOptions, idle: &mut Vec<PgConnection>) {
    let mut refused = 0;
    while refused < 5 {
        match options.clone().application_name("foreign").connect().await {
            Ok(connection) => idle.push(connection),
            Err(_) => refused += 1,
        }
    }
}
