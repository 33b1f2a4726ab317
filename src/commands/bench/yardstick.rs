//! What the machine can do, measured in the same run, so that two machines can be compared: the database's rate for the
//! rows of one event, the disk's for one write that is waited for, and one core's for signatures.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use billing::Clock;
use billing::store::Engine;
use billing::stripe::signature::verify;
use billing::stripe::{Envelope, Secrets};
use serde::Serialize;
use tokio::process::Command;

use super::load::Load;
use super::scratch::Scratch;
use super::watch::Watch;
use crate::output;
use crate::progress::Progress;

/// The disk's and the core's parts are measured for so long at most.
const SHORT: Duration = Duration::from_secs(1);
const BLOCK_BYTES: usize = 8 << 10;
/// The file of the disk's part begins anew at this size.
const FILE_BYTES: usize = 64 << 20;

/// `null` where it could not be measured, or was not to be.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Yardsticks {
    /// Transactions a second that insert one event row and one row into the queue's table: by `pgbench` with 16 clients
    /// on PostgreSQL, by one writer on SQLite. The mean of one run before and one after what is measured.
    pub(super) yardstick_per_second: Option<f64>,
    /// What the host took of the processor meanwhile.
    pub(super) yardstick_stolen_percent: Option<f64>,
    /// Appends of 8 KiB to a file on the database's disk, each made durable (`fdatasync`).
    pub(super) fsync_per_second: Option<f64>,
    /// Signatures of the load's bodies that one thread verifies.
    pub(super) verify_per_second: Option<f64>,
}

impl Yardsticks {
    /// Measures all three; `length` zero measures none.
    pub(super) async fn measure(scratch: &Scratch, length: Duration) -> anyhow::Result<Self> {
        if length.is_zero() {
            return Ok(Self::default());
        }
        let progress = Progress::of("yardstick: the same two rows in one transaction");
        let watch = Watch::start();
        let yardstick_per_second = yardstick(scratch, length).await?;
        let yardstick_stolen_percent = watch.took().stolen_percent;
        drop(progress);
        let short = length.min(SHORT);
        let beside = beside_the_database(scratch).await;
        let fsync_per_second = match beside {
            Some(folder) => tokio::task::spawn_blocking(move || fsyncs(&folder, short)).await?.ok(),
            None => None,
        };
        let verify_per_second = tokio::task::spawn_blocking(move || verifications(short)).await??;
        Ok(Self {
            yardstick_per_second,
            yardstick_stolen_percent,
            fsync_per_second,
            verify_per_second: Some(verify_per_second),
        })
    }

    /// The mean of two.
    pub(super) fn mean(self, other: Self) -> Self {
        let mean = |one: Option<f64>, other: Option<f64>| one.zip(other).map(|(one, other)| f64::midpoint(one, other));
        Self {
            yardstick_per_second: mean(self.yardstick_per_second, other.yardstick_per_second),
            yardstick_stolen_percent: mean(self.yardstick_stolen_percent, other.yardstick_stolen_percent),
            fsync_per_second: mean(self.fsync_per_second, other.fsync_per_second),
            verify_per_second: mean(self.verify_per_second, other.verify_per_second),
        }
    }
}

async fn yardstick(scratch: &Scratch, length: Duration) -> anyhow::Result<Option<f64>> {
    match &scratch.db {
        Engine::Postgres(_) => pgbench(scratch, length).await,
        Engine::Sqlite(file) => {
            let (started, mut done) = (Instant::now(), 0_u32);
            let load = Load::mixed(1000, 1);
            for event in load.events.iter().cycle() {
                if started.elapsed() >= length {
                    break;
                }
                let now = Clock::system().now();
                let envelope = Envelope::parse(event.body.as_bytes())?;
                let id = format!("yardstick_{}", billing::clock::new_id());
                let mut tx = file.writer.begin_with("begin immediate").await?;
                sqlx::query(
                    "insert into stripe_events (id, type, livemode, created, object_id, payload, received_at, status, processed_at)
                     values ($1, $2, false, $3, $4, $5, $3, 'ignored', $3)",
                )
                .bind(&id)
                .bind(&envelope.kind)
                .bind(now)
                .bind(&envelope.object_id)
                .bind(&event.body)
                .execute(&mut *tx)
                .await?;
                sqlx::query(
                    "insert into Jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority, metadata)
                     values ($1, 'yardstick', cast('x' as blob), 'Done', 0, 12, $2, 0, '{}')",
                )
                .bind(&id)
                .bind(now.timestamp())
                .execute(&mut *tx)
                .await?;
                tx.commit().await?;
                done += 1;
            }
            Ok(Some(f64::from(done) / started.elapsed().as_secs_f64()))
        }
    }
}

async fn pgbench(scratch: &Scratch, length: Duration) -> anyhow::Result<Option<f64>> {
    let body = Load::mixed(1, 1).events.remove(0).body.replace('\'', "''");
    let schema = &scratch.settings.database_schema;
    // As the ids of events and of jobs do, they begin with their time.
    let id = "'yardstick_' || to_char(clock_timestamp(), 'YYYYMMDDHH24MISSUS') || '_' || :n";
    let script = format!(
        "\\set n random(1, 9000000000000000)\nbegin;\n\
         insert into {schema}.stripe_events (id, type, livemode, created, object_id, payload, received_at, status, processed_at)\n\
         values ({id}, 'invoice.paid', false, now(), 'in_1', '{}', now(), 'ignored', now());\n\
         insert into apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority, metadata)\n\
         values ({id}, '{schema}.yardstick', 'x', 'Done', 0, 12, now(), 0, ''::hstore);\ncommit;\n",
        body.replace(':', ": ")
    );
    let file = scratch.folder().join("yardstick.sql");
    std::fs::write(&file, script)?;
    let output = Command::new("pgbench")
        .args(["-n", "-M", "prepared", "-c", "16", "-j", "2", "-T", &length.as_secs().to_string(), "-f"])
        .arg(&file)
        .arg(&scratch.settings.database_url.0)
        .output()
        .await;
    let Ok(output) = output else {
        output::aside("there is no pgbench on this machine; the yardstick is left out");
        return Ok(None);
    };
    let says = String::from_utf8_lossy(&output.stdout);
    let tps = says.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    tps.map(Some).with_context(|| format!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr)))
}

/// A folder on the disk that the database is on, where it is on this machine and we may write to that disk. What
/// PostgreSQL keeps for itself is left alone.
async fn beside_the_database(scratch: &Scratch) -> Option<PathBuf> {
    let Engine::Postgres(pool) = &scratch.db else { return Some(scratch.folder().to_owned()) };
    if !is_local(&scratch.settings.database_url.0) {
        return None;
    }
    let (data,): (String,) = sqlx::query_as("select current_setting('data_directory')").fetch_one(pool).await.ok()?;
    let device = Path::new(&data).ancestors().find_map(|folder| folder.metadata().ok())?.dev();
    [PathBuf::from("."), std::env::temp_dir()].into_iter().find(|folder| {
        folder.metadata().is_ok_and(|found| found.dev() == device) && tempfile::tempfile_in(folder).is_ok()
    })
}

fn is_local(url: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    url.host_str().is_none_or(|host| matches!(host, "" | "localhost" | "127.0.0.1" | "[::1]"))
}

fn fsyncs(folder: &Path, length: Duration) -> std::io::Result<f64> {
    let mut file: File = tempfile::tempfile_in(folder)?;
    let block = [7_u8; BLOCK_BYTES];
    let (started, mut done, mut bytes) = (Instant::now(), 0_u32, 0);
    while started.elapsed() < length {
        if bytes >= FILE_BYTES {
            file.set_len(0)?;
            file.rewind()?;
            bytes = 0;
        }
        file.write_all(&block)?;
        file.sync_data()?;
        bytes += BLOCK_BYTES;
        done += 1;
    }
    Ok(f64::from(done) / started.elapsed().as_secs_f64())
}

fn verifications(length: Duration) -> anyhow::Result<f64> {
    let secrets = Secrets::parse("whsec_yardstick").context("the secret is empty")?;
    let now = Clock::system().now().timestamp();
    let events = Load::mixed(1000, 100).events;
    let signed: Vec<(&[u8], String)> =
        events.iter().map(|event| event.body.as_bytes()).map(|body| (body, secrets.sign(body, now))).collect();
    let (started, mut done) = (Instant::now(), 0_u32);
    while started.elapsed() < length {
        for (body, signature) in &signed {
            verify(&secrets, Some(signature.as_bytes()), body, now)?;
            done += 1;
        }
    }
    Ok(f64::from(done) / started.elapsed().as_secs_f64())
}
