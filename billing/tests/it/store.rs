//! Every function of the store, on both engines.

mod audit;
mod awkward;
mod calendar;
mod directory;
mod emails;
mod events;
mod given;
mod ledger;
mod links;
mod migrations;
mod recipients;
mod reconciliations;
mod trials;
