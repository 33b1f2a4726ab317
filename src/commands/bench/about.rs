//! What a figure is worth nothing without: the machine, the versions and the settings it was measured with.

use std::collections::BTreeMap;

use billing::store::Engine;
use serde::Serialize;
use sqlx::Row as _;

use super::scratch::Scratch;
use crate::commands::run;

/// The settings of PostgreSQL that decide how fast it is, and how safe.
const POSTGRES: [&str; 10] = [
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_compression",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "max_connections",
    "autovacuum",
    "jit",
];
/// The same of SQLite, as pragmas of a connection of ours. `synchronous`: 2 is `full`.
const SQLITE: [&str; 5] = ["journal_mode", "synchronous", "wal_autocheckpoint", "cache_size", "page_size"];

/// Heads every report.
#[derive(Debug, Serialize)]
pub(super) struct About {
    pub(super) version: &'static str,
    /// `release`, or `debug`: then every figure is several times worse than it would be.
    pub(super) build: &'static str,
    pub(super) engine: &'static str,
    pub(super) engine_version: String,
    /// Without name and password.
    pub(super) database: String,
    /// Of the database, and the sizes of our pools.
    pub(super) settings: BTreeMap<String, String>,
    pub(super) cores: usize,
    /// `null`: the machine does not say. So are the other two.
    pub(super) cpu: Option<String>,
    pub(super) memory_mib: Option<u64>,
    pub(super) kernel: Option<String>,
}

impl About {
    pub(super) async fn of(scratch: &Scratch, shown_url: &str) -> anyhow::Result<Self> {
        let mut settings = BTreeMap::new();
        let engine_version = match &scratch.db {
            Engine::Postgres(pool) => {
                for name in POSTGRES {
                    let (value,): (Option<String>,) =
                        sqlx::query_as("select current_setting($1, true)").bind(name).fetch_one(pool).await?;
                    settings.extend(value.map(|value| (name.to_owned(), value)));
                }
                sqlx::query_as::<_, (String,)>("select current_setting('server_version')").fetch_one(pool).await?.0
            }
            Engine::Sqlite(file) => {
                for name in SQLITE {
                    let row =
                        sqlx::query(sqlx::AssertSqlSafe(format!("pragma {name}"))).fetch_one(&file.writer).await?;
                    // Some are numbers; SQLite makes a text of them.
                    settings.insert(name.to_owned(), row.try_get_unchecked(0)?);
                }
                sqlx::query_as::<_, (String,)>("select sqlite_version()").fetch_one(&file.reader).await?.0
            }
        };
        for (name, connections) in [
            ("web_connections", run::WEB_CONNECTIONS),
            ("api_connections", run::API_CONNECTIONS),
            ("worker_events_at_a_time", u32::try_from(jobs::Queue::Events.concurrency())?),
            ("event_lanes", u32::try_from(scratch.settings.event_lanes)?),
        ] {
            settings.insert(name.to_owned(), connections.to_string());
        }
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
            engine: scratch.db.engine_name(),
            engine_version,
            database: without_secrets(shown_url),
            settings,
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            cpu: line_of("/proc/cpuinfo", "model name")
                .map(|line| line.trim_start_matches([' ', '\t', ':']).to_owned()),
            memory_mib: line_of("/proc/meminfo", "MemTotal:").and_then(|line| {
                let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
                Some(kib / 1024)
            }),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|line| line.trim().to_owned()),
        })
    }

    /// Names and values for people.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let settings: Vec<String> = self.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let mut lines = vec![
            ("billingd", format!("{} ({} build)", self.version, self.build)),
            ("database", format!("{} {} at {}", self.engine, self.engine_version, self.database)),
            ("settings", settings.join(", ")),
            ("cores", self.cores.to_string()),
        ];
        lines.extend(self.cpu.clone().map(|cpu| ("cpu", cpu)));
        lines.extend(self.memory_mib.map(|mib| ("memory (MiB)", mib.to_string())));
        lines.extend(self.kernel.clone().map(|kernel| ("kernel", kernel)));
        lines
    }
}

/// The rest of the first line that begins so.
fn line_of(file: &str, begins: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(begins)).map(ToOwned::to_owned)
}

/// A database's URL as it may be shown: host, port and path.
fn without_secrets(url: &str) -> String {
    let Some(rest) = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://")) else {
        return url.split('?').next().unwrap_or_default().to_owned();
    };
    let plain = rest.split(['?', '#']).next().unwrap_or_default();
    // A password may hold a slash or an @ that nobody has escaped: only what is behind the last one is the host.
    plain.rsplit('@').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_shown_without_its_secrets() {
        for (url, shown) in [
            ("postgres://ann:p@ss/w@db.example:5433/app?sslmode=require&password=x", "db.example:5433/app"),
            ("postgresql://db.example/app", "db.example/app"),
            ("sqlite://data/billingd.db?mode=rwc", "sqlite://data/billingd.db"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}
