//! Stripe's lists, page by page, with the patience of somebody who is in no hurry.

use std::time::Duration;

use billing::rules::Question;
use billing::stripe::{Answer, Page, StripeError};

use super::Pass;
use crate::{Failure, ask};

/// A fault is waited out this often, from one second on and twice as long each time.
const FAULTS: u32 = 4;
const FAULT: Duration = Duration::from_secs(1);
/// Who is told to wait for longer gives way and begins again later.
const PATIENCE: Duration = Duration::from_secs(60);

/// A list of Stripe's, newest first.
pub(super) struct Pages {
    /// With its query.
    path: String,
    account: Option<String>,
    after: Option<String>,
    over: bool,
}

impl Pages {
    pub(super) fn new(path: String, account: Option<&str>) -> Self {
        Self { path, account: account.map(ToOwned::to_owned), after: None, over: false }
    }

    pub(super) fn stop(&mut self) {
        self.over = true;
    }

    /// The next page; `None` after the last.
    pub(super) async fn next(&mut self, pass: &Pass<'_>) -> Result<Option<Page>, Failure> {
        if self.over {
            return Ok(None);
        }
        let (after, account) = (self.after.as_deref(), self.account.as_deref());
        let now = || pass.context.clock.now();
        let page = patiently(pass, &self.path, || pass.stripe.page(&self.path, after, account, now())).await?;
        let last = page.items.last().and_then(|item| item["id"].as_str()).map(ToOwned::to_owned);
        // A list that does not move on would never end.
        self.over = !page.more || last.is_none() || last == self.after;
        self.after = last;
        Ok(Some(page))
    }
}

/// Adds the ids of all connected accounts.
pub(super) async fn connected(pass: &Pass<'_>, ids: &mut Vec<String>) -> Result<(), Failure> {
    let mut pages = Pages::new("/accounts?limit=100".to_owned(), None);
    while let Some(page) = pages.next(pass).await? {
        ids.extend(page.items.iter().filter_map(|account| account["id"].as_str()).map(ToOwned::to_owned));
    }
    Ok(())
}

/// The answer to one question.
pub(super) async fn answer(pass: &Pass<'_>, question: &Question) -> Result<Answer, Failure> {
    patiently(pass, &question.path, || pass.stripe.answer(question, pass.context.clock.now())).await
}

/// Asks until there is an answer, or no patience is left.
async fn patiently<T, F: Future<Output = Result<T, StripeError>>>(
    pass: &Pass<'_>,
    path: &str,
    ask: impl Fn() -> F,
) -> Result<T, Failure> {
    let mut patience = Patience::default();
    loop {
        let answer = match pass.stripe.turn() {
            Ok(_turn) => ask().await,
            Err(after) => Err(StripeError::Limited(after)),
        };
        match answer {
            Ok(answer) => return Ok(answer),
            Err(failure) => tokio::time::sleep(patience.wait(path, &failure)?).await,
        }
    }
}

/// What is left of it with one question.
#[derive(Default)]
struct Patience {
    faults: u32,
}

impl Patience {
    /// How long to wait until it is asked again.
    fn wait(&mut self, path: &str, failure: &StripeError) -> Result<Duration, Failure> {
        match failure {
            StripeError::Limited(after) if *after <= PATIENCE => Ok(*after),
            StripeError::Transient(_) if self.faults < FAULTS => {
                self.faults += 1;
                Ok(FAULT * 2_u32.pow(self.faults - 1))
            }
            failure => Err(ask::failed(path, failure)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_waited_out_and_a_refusal_is_not() {
        let mut patience = Patience::default();
        let fault = StripeError::Transient("status 500".to_owned());
        let waits: Vec<u64> = (0..FAULTS).map(|_| patience.wait("/events", &fault).unwrap().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8]);
        assert!(matches!(patience.wait("/events", &fault), Err(Failure::Retry(_))));
        // Who is asked to wait a moment waits, however often.
        let limited = |seconds| StripeError::Limited(Duration::from_secs(seconds));
        assert_eq!(patience.wait("/events", &limited(60)).unwrap().as_secs(), 60);
        assert!(matches!(patience.wait("/events", &limited(61)), Err(Failure::Snooze { .. })));
        let refused = StripeError::Refused("403 Forbidden".to_owned());
        assert!(matches!(patience.wait("/events", &refused), Err(Failure::Cancel(_))));
    }
}
