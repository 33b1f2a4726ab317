//! All scenarios, by name.

mod kills;
mod postgres_backends;
mod postgres_connections;
mod postgres_crash;
mod postgres_disk;
mod postgres_failover;
mod postgres_lock;
mod postgres_restart;
mod postgres_xmin;
mod smtp;
mod sqlite_disk;
mod sqlite_lock;
mod sqlite_readonly;
mod stripe_api;

use futures::future::LocalBoxFuture;

use crate::harness::On;
use crate::stage::{Report, Wish};

/// One way to break things.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) on: &'static [On],
    /// Part of the form that is run for every change.
    pub(crate) short: bool,
    pub(crate) play: fn(On, Wish) -> LocalBoxFuture<'static, Report>,
}

const BOTH: &[On] = &[On::Sqlite, On::Postgres];
const POSTGRES: &[On] = &[On::Postgres];
const SQLITE: &[On] = &[On::Sqlite];

macro_rules! scenarios {
    ($($module:ident $name:literal $about:literal $on:ident $short:literal),+ $(,)?) => {
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
    kills "kills" "receiver and workers die at named points and at any moment" BOTH true,
    postgres_restart "postgres-restart" "pg_ctl restart -m fast, three times" POSTGRES true,
    postgres_crash "postgres-crash" "kill -9 of the postmaster" POSTGRES true,
    postgres_backends "postgres-backends" "backends terminated ten times a second" POSTGRES false,
    postgres_connections "postgres-connections" "foreign idle connections up to the limit" POSTGRES false,
    postgres_lock "postgres-lock" "a foreign transaction holds the row of a busy workspace" POSTGRES false,
    postgres_xmin "postgres-xmin" "a foreign transaction keeps dead rows from being removed" POSTGRES false,
    postgres_disk "postgres-disk" "the disk of the tables is full" POSTGRES false,
    postgres_failover "postgres-failover" "the primary dies and its standby takes over on another port" POSTGRES true,
    sqlite_lock "sqlite-lock" "a foreign writer holds the lock of the file" SQLITE true,
    sqlite_disk "sqlite-disk" "the disk is full" SQLITE false,
    sqlite_readonly "sqlite-readonly" "the file is made read-only and back" SQLITE false,
    smtp "smtp" "the mail server is down, slow, rate-limiting, talks garbage" BOTH false,
    stripe_api "stripe-api" "Stripe's API is down, slow, rate-limiting, talks garbage" BOTH false,
}
