//! Any order and any repetition of the same events ends in the same state: of the facts in memory, and of the rows in
//! both engines. And it is the right state, story by story.

mod facts;
mod rows;
mod rows_seen;
