//! A SQLite file and the connections to it.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Executor, Sqlite, SqliteConnection, SqlitePool, Transaction};

use super::PoolSizes;
use super::turns::{Lane, Turns};

/// One SQLite file: a single writing connection, so that writers of one process queue fairly instead of polling for the
/// lock, as `Turns` lets those of several processes do; and a few that only read and, in WAL mode, never wait.
#[derive(Clone, Debug)]
pub struct SqliteFile {
    pub writer: SqlitePool,
    pub reader: SqlitePool,
    pub path: PathBuf,
    pub(super) lane: Lane,
}

/// The pages of the file that the connection that writes keeps in memory.
#[derive(Clone, Copy, Debug)]
pub(super) enum WriterCache {
    /// 2 MiB: rows that come in are added at the end of tables and indexes.
    Usual,
    /// 8 MiB: batches look into every index at random, and its upper pages should stay in memory.
    ForJobs,
}

/// How long a connection to SQLite waits for a lock of somebody else's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// What a connection that writes to SQLite does again after a transaction that did not wait for the disk.
const SYNCED: &str = "pragma synchronous = full";

impl SqliteFile {
    /// The file at `url`, made with its first connection if it is not there.
    pub(super) fn open(url: &str, sizes: PoolSizes, cache: WriterCache) -> sqlx::Result<Self> {
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit that was answered 200 survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            // Pages of 4 KiB: a checkpoint moves 16 MiB at a time instead of 4, so that under load a page that changes
            // often is written back once and not many times.
            .pragma("wal_autocheckpoint", "4000")
            .pragma("cache_size", "-2048");
        let path = options.get_filename().to_path_buf();
        if url.contains(":memory:") {
            return Err(sqlx::Error::Configuration(
                "a database in memory loses what was acknowledged; name a file".into(),
            ));
        }
        let pool = |connections: u32| {
            SqlitePoolOptions::new().max_connections(connections).acquire_timeout(sizes.acquire_timeout)
        };
        // What a bulk write would have to take back, should it fail, stays in memory, no more than it changes: it is not
        // put into a file that is made for it.
        let mut writing = options.clone().pragma("temp_store", "memory");
        if let WriterCache::ForJobs = cache {
            writing = writing.pragma("cache_size", "-8192");
        }
        let turns = Arc::new(Turns::of(&path));
        Ok(Self {
            writer: in_turn(pool(1), &turns).connect_lazy_with(writing),
            reader: not_kept_read_only(pool(sizes.connections.max(2))).connect_lazy_with(options),
            lane: Lane::of(&path),
            path,
        })
    }

    /// When its log was written last, which a commit is before others see it; `None` if that cannot be told.
    pub fn written_at(&self) -> Option<SystemTime> {
        std::fs::metadata(beside(&self.path, "-wal")).and_then(|log| log.modified()).ok()
    }

    /// Begins a transaction that is repeated should a crash of the machine forget it.
    pub(super) async fn begin_unsynced(&self) -> sqlx::Result<Transaction<'static, Sqlite>> {
        self.writer.begin_with("pragma synchronous = normal; begin immediate").await
    }
}

/// Whoever has the connection has the turn. A connection that works is never closed, because that would not leave the turn.
fn in_turn(writer: SqlitePoolOptions, turns: &Arc<Turns>) -> SqlitePoolOptions {
    let [connected, acquired, released] = [(); 3].map(|()| Arc::clone(turns));
    writer
        .max_lifetime(None)
        .idle_timeout(None)
        .after_connect(move |connection, _| {
            let turns = Arc::clone(&connected);
            Box::pin(async move {
                refuse_read_only(connection).await?;
                turns.take().await;
                Ok(())
            })
        })
        .before_acquire(move |connection, _| {
            let turns = Arc::clone(&acquired);
            Box::pin(async move {
                turns.take().await;
                // A disk that is full makes SQLite roll back by itself. The driver does not see that and takes the
                // connection to be in a transaction for ever, and nothing would be written again.
                if connection.is_in_transaction() {
                    return Ok(false);
                }
                connection.execute(SYNCED).await?;
                Ok(true)
            })
        })
        .after_release(move |_, _| {
            let turns = Arc::clone(&released);
            Box::pin(async move {
                turns.leave();
                Ok(true)
            })
        })
}

/// The file beside that of the database whose name ends so.
pub(super) fn beside(database: &Path, end: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(end);
    PathBuf::from(path)
}

/// A file that may not be written at this moment is opened for reading by SQLite, without a word, and such a connection
/// stays as it is when the file may be written again. Trying to write tells; the lock alone does not, for on such a
/// connection it is that of a reader. A lock that somebody else has is no refusal.
async fn refuse_read_only(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    const READ_ONLY: u32 = 8;
    let mut tried = connection.execute("begin immediate").await;
    if tried.is_ok() {
        tried = connection.execute("pragma user_version = 0").await;
        connection.execute("rollback").await?;
    }
    match tried {
        Err(sqlx::Error::Database(error))
            if error.code().and_then(|code| code.parse().ok()).is_some_and(|code: u32| code & 0xff == READ_ONLY) =>
        {
            Err(sqlx::Error::Database(error))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Connections that read, of a file that may not be written, too; but then each is closed after its use. SQLite maps `-shm`
/// once for all connections of a process, for reading if that is what the first of them could do, and as long as one of
/// those is open nobody in the process writes.
fn not_kept_read_only(reader: SqlitePoolOptions) -> SqlitePoolOptions {
    let connected = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&connected);
    reader
        .after_connect(move |connection, _| {
            let read_only = Arc::clone(&connected);
            Box::pin(async move {
                // Who reads waits for nobody.
                connection.execute("pragma busy_timeout = 0").await?;
                read_only.store(refuse_read_only(connection).await.is_err(), Ordering::Release);
                let wait = format!("pragma busy_timeout = {}", BUSY_TIMEOUT.as_millis());
                connection.execute(sqlx::AssertSqlSafe(wait)).await.map(drop)
            })
        })
        .after_release(move |_, _| {
            let keep = !released.load(Ordering::Acquire);
            Box::pin(async move { Ok(keep) })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::statement::{execute, fetch};
    use crate::store::{Db, Tx};

    /// The file of that name, of which each pool gives a connection within so many seconds.
    fn open(dir: &tempfile::TempDir, name: &str, seconds: u64) -> Db {
        let sizes = PoolSizes { connections: 2, acquire_timeout: Duration::from_secs(seconds) };
        Db::open(&format!("sqlite://{}", dir.path().join(name).display()), "billing", sizes).unwrap()
    }

    #[tokio::test]
    async fn only_what_is_repeated_does_not_wait_for_the_disk() {
        const NORMAL: i64 = 1;
        const FULL: i64 = 2;
        let dir = tempfile::tempdir().unwrap();
        let db = open(&dir, "x.db", 5);
        let Db::Sqlite(file) = &db else { panic!("{db:?}") };
        let synced = async |tx: &mut Tx| -> i64 {
            let (level,): (i64,) = fetch!(one, tx, "pragma synchronous").unwrap();
            level
        };
        let mut tx = db.begin_unsynced().await.unwrap();
        assert_eq!(synced(&mut tx).await, NORMAL);
        tx.commit().await.unwrap();
        assert_eq!(synced(&mut db.begin().await.unwrap()).await, FULL);
        drop(db.begin_unsynced().await.unwrap());
        let (level,): (i64,) = sqlx::query_as("pragma synchronous").fetch_one(&file.writer).await.unwrap();
        assert_eq!(level, FULL, "after one that was given up, for a statement by itself");
        // Where it could not even begin.
        let other = file.reader.begin_with("begin immediate").await.unwrap();
        sqlx::query("pragma busy_timeout = 1").execute(&file.writer).await.unwrap();
        db.begin_unsynced().await.unwrap_err();
        drop(other);
        assert_eq!(synced(&mut db.begin().await.unwrap()).await, FULL);
    }

    #[tokio::test]
    async fn a_transaction_that_sqlite_rolled_back_by_itself_does_not_spoil_the_writer() {
        let dir = tempfile::tempdir().unwrap();
        let db = open(&dir, "x.db", 5);
        let begin = async || match db.begin().await {
            Ok(Tx::Sqlite(tx)) => tx,
            other => panic!("{other:?}"),
        };
        let mut tx = begin().await;
        tx.execute("create table t (x unique)").await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = begin().await;
        tx.execute("insert or rollback into t values (1), (1)").await.unwrap_err();
        drop(tx);
        let mut tx = begin().await;
        tx.execute("insert into t values (1)").await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Makes files read-only, or writable again; whether that is possible here. Root needs more than their mode for it.
    fn set_read_only(paths: &[PathBuf], read_only: bool) -> bool {
        for path in paths {
            let flag = if read_only { "+i" } else { "-i" };
            let _no_such_program_or_no_such_right = std::process::Command::new("chattr").arg(flag).arg(path).output();
            let mut permissions = std::fs::metadata(path).unwrap().permissions();
            permissions.set_readonly(read_only);
            let _may_be_immutable = std::fs::set_permissions(path, permissions);
        }
        std::fs::OpenOptions::new().append(true).open(&paths[0]).is_err() == read_only
    }

    /// What another process has open may not be written, then it may again. Whoever read meanwhile, or tried to write,
    /// is in nobody's way.
    async fn write_after(read_only: &[&str], read: bool) {
        let dir = tempfile::tempdir().unwrap();
        let write = async |db: &Db, sql: &'static str| -> sqlx::Result<()> {
            let mut tx = db.begin().await?;
            execute!(&mut tx, sql)?;
            tx.commit().await
        };
        let other = open(&dir, "other.db", 3);
        write(&other, "create table t (x)").await.unwrap();
        for end in ["", "-wal", "-shm"] {
            std::fs::copy(dir.path().join(format!("other.db{end}")), dir.path().join(format!("x.db{end}"))).unwrap();
        }
        let files: Vec<PathBuf> = read_only.iter().map(|end| dir.path().join(format!("x.db{end}"))).collect();
        let db = open(&dir, "x.db", 3);
        if set_read_only(&files, true) {
            if read {
                db.ping().await.unwrap();
                db.ping().await.unwrap();
            } else {
                write(&db, "insert into t values (1)").await.unwrap_err();
            }
        }
        assert!(set_read_only(&files, false));
        write(&db, "insert into t values (2)").await.unwrap();
        db.ping().await.unwrap();
    }

    #[tokio::test]
    async fn who_only_read_while_the_file_could_not_be_written_does_not_keep_others_from_writing() {
        write_after(&["", "-wal", "-shm"], true).await;
    }

    #[tokio::test]
    async fn who_could_not_write_can_when_the_file_may_be_written_again() {
        for read_only in [&[""][..], &["", "-wal"], &["-wal"], &["", "-wal", "-shm"]] {
            write_after(read_only, false).await;
        }
    }
}
