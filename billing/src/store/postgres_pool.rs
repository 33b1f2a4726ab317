//! Connections to PostgreSQL, and what becomes of one whose other end is gone without a word: a host that lost its power, a
//! network that came apart. Nothing says so for a quarter of an hour, until the kernel gives up sending, and the driver waits.
//!
//! Whoever waits for a statement has a time limit of his own, and lets go of the connection then. Here those are told from the
//! living before anybody has them again, and before they keep a place in the pool.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};

/// How many connections a process may hold.
#[derive(Clone, Copy, Debug)]
pub struct PoolSizes {
    /// Connections to PostgreSQL, or readers of the SQLite file.
    pub connections: u32,
    /// How long a caller waits for one before it fails.
    pub acquire_timeout: Duration,
}

/// Settings with which the server finds out, in about a minute, that this end is gone, and lets go of what it had locked.
pub(super) const ENDS_BY_ITSELF: [(&str, &str); 5] = [
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "60s"),
    // Where the network lives and the process stands still. No transaction waits for anything else than the database.
    ("idle_in_transaction_session_timeout", "60s"),
];

/// A connection that was idle for so long may have died meanwhile; and where none has come back for so long, one that does
/// may be one of those that nobody answers.
const A_MOMENT: Duration = Duration::from_millis(500);
/// A living server answers within this, however busy it is.
const ANSWER: Duration = Duration::from_secs(3);
/// Where one was silent, others are likely to be, until all who wait on them have given up.
const DOUBT: Duration = Duration::from_mins(2);

/// Connections to PostgreSQL. One that was used a moment ago is taken as it is: asking it first whether it still lives would
/// cost every transaction a round trip, and should it have died since, what is asked of it fails and is tried again.
pub fn postgres_pool(options: PgConnectOptions, sizes: PoolSizes) -> PgPool {
    let heard = Arc::new(Heard::default());
    let [acquired, released] = [(); 2].map(|()| Arc::clone(&heard));
    PgPoolOptions::new()
        .max_connections(sizes.connections)
        .acquire_timeout(sizes.acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(move |connection, about| {
            let heard = Arc::clone(&acquired);
            Box::pin(async move {
                if about.idle_for >= A_MOMENT {
                    heard.ask(connection).await?;
                }
                Ok(true)
            })
        })
        // The driver asks, too, and waits for the answer as long as it takes.
        .after_release(move |connection, _| {
            let heard = Arc::clone(&released);
            Box::pin(async move {
                // What is left to flush is the end of a transaction that was given up.
                if heard.is_in_doubt() || connection.should_flush() {
                    heard.ask(connection).await?;
                }
                heard.good();
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}

/// What is known of the other end of a pool's connections.
struct Heard {
    /// When one of them came back in order.
    good: Mutex<Instant>,
    /// When one of them did not answer.
    silent: Mutex<Option<Instant>>,
}

impl Default for Heard {
    fn default() -> Self {
        Self { good: Mutex::new(Instant::now()), silent: Mutex::default() }
    }
}

impl Heard {
    /// Asks a connection whether anybody is there; an error has the pool close it.
    async fn ask(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        if let Ok(answer) = tokio::time::timeout(ANSWER, connection.ping()).await {
            return answer;
        }
        *self.silent.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let silent = format!("PostgreSQL has not answered for {} s", ANSWER.as_secs());
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, silent).into())
    }

    fn good(&self) {
        *self.good.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn is_in_doubt(&self) -> bool {
        let good = *self.good.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = *self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        good.elapsed() >= A_MOMENT || silent.is_some_and(|at| at.elapsed() < DOUBT)
    }
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
        silence.send_replace(());
        tokio::time::sleep(A_MOMENT).await;
        assert_ne!(backend(&pool).await.unwrap(), third);
        pool.close().await;
    }
}
