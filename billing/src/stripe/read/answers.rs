//! What Stripe answered to what earlier readings asked.

use std::collections::HashMap;

use serde_json::Value;

use crate::rules::Question;

/// An answer, as true as it was when the question was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Null where there is no such object any more.
    pub value: Value,
    /// The start of the request, seconds since the epoch: what happened later may be missing from the answer.
    pub asked_at: i64,
}

/// The answers so far, and whether more may be asked.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// There is somebody to ask: without, a reading makes do with what the event says.
    pub can_ask: bool,
    known: HashMap<Question, Answer>,
}

impl Answers {
    pub fn new(can_ask: bool) -> Self {
        Self { can_ask, known: HashMap::new() }
    }

    pub fn insert(&mut self, question: Question, answer: Answer) {
        self.known.insert(question, answer);
    }

    pub(super) fn to(&self, question: &Question) -> Option<&Answer> {
        // What is asked of a connected account is told apart by the account alone, and one event has only one.
        self.known.iter().find(|(known, _)| known.path == question.path).map(|(_, answer)| answer)
    }
}
