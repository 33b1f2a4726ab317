//! All scenarios, by name.

mod hostile;
mod kills;
mod overload;
mod postgres_backends;
mod postgres_connections;
mod postgres_crash;
mod postgres_disk;
mod postgres_failover;
mod postgres_lock;
mod postgres_restart;
mod postgres_silence;
mod postgres_xmin;
mod smtp;
mod sqlite_disk;
mod sqlite_lock;
mod sqlite_readonly;
mod stripe_api;
mod time;
mod upgrade;

use futures::future::LocalBoxFuture;

use crate::harness::On;
use crate::stage::{Report, Wish};

/// One way to break things.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) on: &'static [On],
    /// Where it is part of the form that is run for every change.
    pub(crate) short: &'static [On],
    pub(crate) play: fn(On, Wish) -> LocalBoxFuture<'static, Report>,
}

impl Scenario {
    /// Whether nothing else may run meanwhile; only the killer does not mind, which waits most of its time.
    pub(crate) fn measures_speed(&self) -> bool {
        self.name != "kills"
    }
}

const BOTH: &[On] = &[On::Sqlite, On::Postgres];
const POSTGRES: &[On] = &[On::Postgres];
const NONE: &[On] = &[];
const SQLITE: &[On] = &[On::Sqlite];

macro_rules! scenarios {
    ($($module:ident $name:literal $about:literal $on:ident $short:ident),+ $(,)?) => {
        pub(crate) const ALL: &[Scenario] = &[$(Scenario {
            name: $name,
            about: $about,
            on: $on,
            short: $short,
            play: |on, wish| Box::pin($module::play(on, wish)),
        }),+];
    };
}

scenarios! {
    kills "kills" "receiver and workers die at named points and at any moment" BOTH BOTH,
    postgres_restart "postgres-restart" "pg_ctl restart -m fast, three times" POSTGRES POSTGRES,
    postgres_crash "postgres-crash" "kill -9 of the postmaster" POSTGRES POSTGRES,
    postgres_backends "postgres-backends" "backends terminated ten times a second" POSTGRES NONE,
    postgres_connections "postgres-connections" "foreign idle connections up to the limit" POSTGRES NONE,
    postgres_lock "postgres-lock" "a foreign transaction holds the row of a busy workspace" POSTGRES NONE,
    postgres_xmin "postgres-xmin" "a foreign transaction keeps dead rows from being removed" POSTGRES NONE,
    postgres_disk "postgres-disk" "the disk of the tables is full" POSTGRES NONE,
    postgres_failover "postgres-failover" "the primary dies and its standby takes over on another port" POSTGRES POSTGRES,
    postgres_silence "postgres-silence" "the connections to PostgreSQL fall silent, and nobody is told" POSTGRES NONE,
    sqlite_lock "sqlite-lock" "a foreign writer holds the lock of the file" SQLITE SQLITE,
    sqlite_disk "sqlite-disk" "the disk is full" SQLITE NONE,
    sqlite_readonly "sqlite-readonly" "the file is made read-only and back" SQLITE NONE,
    smtp "smtp" "the mail server is down, slow, rate-limiting, talks garbage" BOTH NONE,
    stripe_api "stripe-api" "Stripe's API is down, slow, rate-limiting, talks garbage" BOTH NONE,
    hostile "hostile" "hostile clients at the receiver while good traffic flows" BOTH NONE,
    overload "overload" "three times as many events as can be taken" BOTH NONE,
    time "time" "workers whose clocks are wrong" POSTGRES NONE,
    upgrade "upgrade" "migrations, unknown columns and jobs of other versions under load" BOTH NONE,
}
