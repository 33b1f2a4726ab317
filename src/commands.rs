//! The commands, one file each.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod dev;
pub(crate) mod emails;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod jobs;
pub(crate) mod mail;
pub(crate) mod migrate;
pub(crate) mod reconcile;
pub(crate) mod run;
pub(crate) mod trigger;
pub(crate) mod workspaces;
