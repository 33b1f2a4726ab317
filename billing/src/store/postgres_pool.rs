//! Connections to PostgreSQL, and what becomes of one whose other end is gone without a word: a host that lost its power, a
//! network that came apart. Nothing says so for a quarter of an hour, until the kernel gives up sending, or ever, if all was sent;
//! and the driver waits.
//!
//! Whoever waits for a statement has a time limit of his own, and lets go of the connection then. Here those are told from the
//! living before anybody has them again, and before they keep a place in the pool.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use futures::FutureExt;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, Executor, PgConnection, PgPool};

/// How many connections a process may hold.
#[derive(Clone, Copy, Debug)]
pub struct PoolSizes {
    /// Connections to PostgreSQL, or readers of the SQLite file.
    pub connections: u32,
    /// How long a caller waits for one before it fails.
    pub acquire_timeout: Duration,
}

/// Settings with which the server finds out, in about a minute, that this end is gone, and lets go of what it had locked.
pub(super) const ENDS_BY_ITSELF: [(&str, &str); 6] = [
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "60s"),
    // Where the network lives and the process stands still. No transaction waits for anything else than the database.
    ("idle_in_transaction_session_timeout", "60s"),
    // Nor is any worth a longer wait for somebody else's lock; a batch waits for less.
    ("lock_timeout", "10s"),
];

/// What has been given up is ended although it waits for a lock; since version 14.
const LOOKS_FOR_THE_CLIENT: (u32, &str) = (14_00_00, "set client_connection_check_interval = '10s'");

/// A connection that was idle for so long may have died meanwhile.
pub const A_MOMENT: Duration = Duration::from_millis(500);
/// A living server answers within this, however busy it is.
const ANSWER: Duration = Duration::from_secs(3);

/// Connections to PostgreSQL. One that was used a moment ago is taken as it is: asking it first whether it still lives would
/// cost every transaction a round trip, and should it have died since, what is asked of it fails and is tried again.
pub fn postgres_pool(options: PgConnectOptions, sizes: PoolSizes) -> PgPool {
    PgPoolOptions::new()
        .max_connections(sizes.connections)
        .acquire_timeout(sizes.acquire_timeout)
        .test_before_acquire(false)
        .after_connect(|connection, _| {
            Box::pin(async move {
                let (since, set) = LOOKS_FOR_THE_CLIENT;
                if connection.server_version_num().is_some_and(|version| version >= since) {
                    match connection.execute(set).await {
                        // Not every system that PostgreSQL runs on can do that.
                        Ok(_) | Err(sqlx::Error::Database(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            })
        })
        .before_acquire(|connection, about| {
            Box::pin(async move {
                if about.idle_for >= A_MOMENT {
                    answers(connection).await?;
                }
                Ok(true)
            })
        })
        // Where all is in order nothing is left to be sent, and no answer to come; else the driver waits as long as that takes.
        .after_release(|connection, _| {
            Box::pin(async move {
                // The end of a transaction that was given up.
                if connection.should_flush() {
                    return within(connection.flush()).await.map(|()| true);
                }
                // A statement that was given up, perhaps a BEGIN, after which whoever had the connection next would be in a
                // transaction that nobody commits.
                connection.flush().now_or_never().map_or(Ok(false), |answered| answered.map(|()| true))
            })
        })
        .connect_lazy_with(options)
}

/// Sees to it that the connection is in no transaction. It might be, for one moment of cancelling: a BEGIN that was given up,
/// whose answer came just before the connection was given back.
pub async fn in_no_transaction(connection: &mut PgConnection) -> sqlx::Result<()> {
    within(async { connection.execute("begin; commit").await.map(drop) }).await
}

/// Asks whether anybody is at the other end; an error if not.
pub async fn answers(connection: &mut PgConnection) -> sqlx::Result<()> {
    within(connection.ping()).await
}

async fn within(answer: impl Future<Output = sqlx::Result<()>>) -> sqlx::Result<()> {
    let silent = |_| Error::new(ErrorKind::TimedOut, format!("PostgreSQL has not answered for {} s", ANSWER.as_secs()));
    tokio::time::timeout(ANSWER, answer).await.map_err(silent)?
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::watch;

    use super::*;

    /// A way to the server of the tests on which nothing goes any more, nor is anybody told, once it is told so. Later
    /// connections are as good as any.
    async fn way() -> (PgConnectOptions, watch::Sender<()>) {
        #[expect(clippy::disallowed_methods, reason = "the one setting of the tests; it has no place in the program's")]
        let url = std::env::var("TEST_DATABASE_URL").expect("set TEST_DATABASE_URL or run scripts/test");
        let options = PgConnectOptions::from_str(&url).unwrap();
        let server = (options.get_host().to_owned(), options.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (silence, silent) = watch::channel(());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (server, mut silent) = (server.clone(), silent.clone());
                silent.mark_unchanged();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(server).await.unwrap();
                    let passing = tokio::io::copy_bidirectional(&mut near, &mut far);
                    tokio::select! {
                        _ = passing => {}
                        _ = silent.changed() => std::future::pending().await,
                    }
                });
            }
        });
        (options.host("127.0.0.1").port(port), silence)
    }

    async fn backend(pool: &PgPool) -> sqlx::Result<i32> {
        let (pid,): (i32,) = sqlx::query_as("select pg_backend_pid()").fetch_one(pool).await?;
        Ok(pid)
    }

    /// Until its one connection is back.
    async fn at_rest(pool: &PgPool) {
        while pool.num_idle() == 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_begin_that_was_given_up_leaves_nobody_in_a_transaction() {
        let (options, _silence) = way().await;
        let pool = postgres_pool(options, PoolSizes { connections: 1, acquire_timeout: Duration::from_secs(30) });
        for _ in 0..20 {
            drop(pool.acquire().await.unwrap());
            at_rest(&pool).await;
            assert!(pool.begin().now_or_never().is_none(), "its answer takes a moment");
            let mut connection = pool.acquire().await.unwrap();
            sqlx::query("select pg_current_xact_id()").execute(&mut *connection).await.unwrap();
            let alone = "select pg_current_xact_id_if_assigned() is null";
            let (alone,): (bool,) = sqlx::query_as(alone).fetch_one(&mut *connection).await.unwrap();
            assert!(alone, "each statement is a transaction of its own");
        }
        pool.close().await;
    }

    /// Of a pool with one connection, which would keep its place until the kernel gives up.
    #[tokio::test]
    async fn a_connection_that_nobody_answers_makes_room_for_another() {
        let (options, silence) = way().await;
        let pool = postgres_pool(options, PoolSizes { connections: 1, acquire_timeout: Duration::from_secs(30) });
        let first = backend(&pool).await.unwrap();

        // Given up by who waited for a statement.
        let mut connection = pool.acquire().await.unwrap();
        silence.send_replace(());
        let waiting = tokio::time::timeout(A_MOMENT, sqlx::query("select 1").execute(&mut *connection));
        waiting.await.unwrap_err();
        drop(connection);
        let second = backend(&pool).await.unwrap();
        assert_ne!(second, first);

        // Given up in a transaction, a moment after others were well.
        let mut tx = pool.begin().await.unwrap();
        silence.send_replace(());
        tokio::time::timeout(A_MOMENT / 10, sqlx::query("select 1").execute(&mut *tx)).await.unwrap_err();
        drop(tx);
        let third = backend(&pool).await.unwrap();
        assert_ne!(third, second);

        // Nobody has it when it falls silent.
        at_rest(&pool).await;
        silence.send_replace(());
        tokio::time::sleep(A_MOMENT).await;
        assert_ne!(backend(&pool).await.unwrap(), third);
        pool.close().await;
    }
}
