//! The only SQL of the project outside the queue's own door: one statement text for both engines.

mod audit;
mod delivery;
mod emails;
mod engine;
mod event_list;
mod events;
mod happened;
mod ledger;
mod migrate;
mod objects;
mod postgres_pool;
mod recipients;
mod reconciliations;
mod rows;
mod sqlite_file;
mod statement;
#[cfg(test)]
pub(crate) mod testing;
mod turns;
mod users;
mod workspaces;

pub use crate::rules::settle::Entered;
pub use audit::{AuditEntry, AuditRow, News, history, record_audit, release_audit, settle_audit};
pub use delivery::{Addressee, Suppression, addressee, lift_suppression, list_suppressions, suppress};
pub use emails::{
    CarriedEmail, EmailFilter, EmailRow, NewEmail, QueuedEmail, address_email, claim_email, emails_of, find_email,
    finish_email, keep_claim, list_emails, queue_emails, requeue_emails, retell_emails, revive_emails, set_email_jobs,
};
pub use engine::{Db, Engine, Tx};
pub use event_list::{EventFilter, EventRow, HeardEvent, events_of, find_event, list_events};
pub use events::{
    InboxEvent, Outcome, begin_processing, finish_events, is_any_waiting, known_events, lane_of_each, lanes_of,
    lock_events, oldest_unfinished, rearm_events, set_events_aside, waited_too_long,
};
pub use happened::{awaits_action, has_happened};
pub use ledger::{
    Grant, LedgerRow, SettledSale, Settlement, Settlements, least_since, ledger_of, record_grants, reversed_sales,
    sales_of, settle,
};
pub use migrate::{MigrateError, MigrationLock, SchemaState, lock_migrations, migrate, schema_state};
pub use objects::{
    ObjectRow, PriceRow, claimable, customers_of, drop_claims, keep_claims, list_prices, lock_owners, objects_of,
    open_subscriptions, save_objects,
};
pub use postgres_pool::{A_MOMENT, PoolSizes, answers, in_no_transaction, postgres_pool};
pub use recipients::{Recipient, add_recipients, opt_in, opt_out, opt_outs_of, recipients_of, remove_recipients};
pub use reconciliations::{Reconciliation, list_reconciliations, reconciled_until, record_reconciliation};
pub use sqlite_file::SqliteFile;
pub use turns::{LanePlace, LaneTurn};
pub use users::{Member, is_member, put_owner};
pub use workspaces::{
    EndingTrial, ExpiredTrial, WorkspaceRow, busy, expire_trials, find_workspace, list_workspaces, lock_workspaces,
    owner_of, put_workspace, remind_trials, save_states,
};
