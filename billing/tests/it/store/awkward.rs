//! Sequences of events that are rare and hard, each of which once ended wrong.

mod at_once;
mod money;
mod owners;
mod playing;
mod reversals;
