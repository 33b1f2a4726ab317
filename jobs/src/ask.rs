//! Asking Stripe on behalf of a job.

use billing::rules::Question;
use billing::stripe::{Answer, StripeError};
use serde_json::Value;

use crate::{Context, Failure};

/// An outage of Stripe is waited out, however long: it says nothing of the event, which would be dead after an hour.
///
/// The answer with the time at which the question was sent: what happened later may be missing from it.
pub(crate) async fn ask(context: &Context, question: &Question) -> Result<Answer, Failure> {
    let Some(stripe) = &context.stripe else {
        return Err(Failure::Cancel("there is no STRIPE_API_KEY to ask with".to_owned()));
    };
    let _turn = stripe
        .turn()
        .map_err(|after| Failure::Snooze { after, reason: "other questions are on their way".to_owned() })?;
    let failure = match stripe.answer(question, context.clock.now()).await {
        Ok(answer) => return Ok(answer),
        Err(failure) => failure,
    };
    if question.can_do_without && matches!(failure, StripeError::Refused(_)) {
        tracing::warn!(path = question.path, %failure, "Stripe refuses an answer: what the event says has to do");
        return Ok(Answer { value: Value::Null, asked_at: context.clock.now().timestamp() });
    }
    Err(match failed(&question.path, &failure) {
        Failure::Retry(reason) => Failure::Outage(reason),
        failure => failure,
    })
}

/// What a question without an answer is to the job that asked.
pub(crate) fn failed(path: &str, failure: &StripeError) -> Failure {
    let reason = format!("{path}: {failure}");
    match failure {
        StripeError::Limited(after) => Failure::Snooze { after: *after, reason },
        StripeError::Transient(_) => Failure::Retry(reason),
        StripeError::NotFound | StripeError::Refused(_) | StripeError::Settings(_) => Failure::Cancel(reason),
    }
}
