//! Others take every connection that the server has, and ours are ended, so that there is none to be had.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Executor, PgConnection};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::harness::{On, Site};
use crate::stage::{Report, Stage, Wish};

/// The three that are kept back are for superusers, and ours is one here.
const SETTINGS: &str = "max_connections = 360\nsuperuser_reserved_connections = 0";

const END_OURS: &str = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'billingd'";

pub(super) async fn play(_on: On, wish: Wish) -> Report {
    let cluster = Cluster::start(SETTINGS).await;
    let mut stage = Stage::new(Site::on_postgres(cluster.url()).await, wish).await;
    stage.start().await;
    stage
        .through(async |site, _| {
            let mut admin = site.admin().await;
            let others = Others::crowd_in(&cluster.url());
            let began = Instant::now();
            while began.elapsed() < wish.seconds(6, 30) {
                // A place that becomes free is taken by whoever is first, mostly by others.
                admin.execute(END_OURS).await.unwrap();
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            let taken = others.leave().await;
            assert!(taken > 250, "others had {taken} connections at most");
        })
        .await
}

/// Twenty who connect again and again, and keep what they get.
struct Others(Vec<JoinHandle<()>>, Arc<Mutex<Vec<PgConnection>>>);

impl Others {
    fn crowd_in(url: &str) -> Self {
        let options: PgConnectOptions = url.parse().unwrap();
        let options = options.application_name("foreign");
        let idle = Arc::new(Mutex::new(Vec::new()));
        let one = || {
            let (options, idle) = (options.clone(), Arc::clone(&idle));
            tokio::spawn(async move {
                loop {
                    match options.connect().await {
                        Ok(connection) => idle.lock().unwrap().push(connection),
                        Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                }
            })
        };
        Self((0..20).map(|_| one()).collect(), idle)
    }

    /// Gives everything back, and says how much it was.
    async fn leave(self) -> usize {
        for task in self.0 {
            task.abort();
            assert!(task.await.is_err_and(|error| error.is_cancelled()));
        }
        let connections = std::mem::take(&mut *self.1.lock().unwrap());
        connections.len()
    }
}
