//! Stories of the whole program: the built binary as separate processes, real HTTP, a real database of either engine.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod api;
mod asking;
mod backlog;
mod bench;
mod bodies;
mod cli;
mod clocks;
mod demo;
mod dunning;
mod durability;
mod foreign_jobs;
mod harness;
mod in_process;
mod isolation;
mod mail;
mod mail_faults;
mod mail_headers;
mod mail_servers;
mod outbox;
mod payloads;
mod plans;
mod receiver;
mod recipients;
mod reconciling;
mod rescuing;
mod smtp;
mod stories;
mod stripe_api;
mod telling;
mod timezones;
mod trials;
mod why;
mod worker_health;
