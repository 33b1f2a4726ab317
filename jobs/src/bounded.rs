//! Work that may take too long, or panic, and must not take with it whoever waits for it.

use std::any::Any;
use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;

/// What became of the work, or, for a log, why nothing did: it took longer than `most`, or panicked. What it held then is
/// dropped. It lies on the heap, lest whoever waits for it grow by its size.
pub(crate) fn bounded<T>(most: Duration, work: impl Future<Output = T>) -> impl Future<Output = Result<T, String>> {
    let work = tokio::time::timeout(most, AssertUnwindSafe(Box::pin(work)).catch_unwind());
    async move {
        match work.await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(panic)) => Err(format!("panicked: {}", said(&*panic))),
            Err(_) => Err(format!("took longer than {} s", most.as_secs())),
        }
    }
}

/// The same of work that may fail by itself, for those who tell all its failures alike.
pub(crate) fn done_within<T, E: Display>(
    most: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, String>> {
    let done = bounded(most, work);
    async move { done.await?.map_err(|error| error.to_string()) }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let owned = || panic.downcast_ref::<String>().map(String::as_str);
    panic.downcast_ref::<&str>().copied().or_else(owned).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_or_panics_is_told() {
        let most = Duration::from_secs(30);
        assert_eq!(bounded(most, async { 7 }).await, Ok(7));
        let late = bounded(most, tokio::time::sleep(Duration::from_secs(31))).await;
        assert_eq!(late, Err("took longer than 30 s".to_owned()));
        assert_eq!(done_within(most, async { Err::<(), _>("refused") }).await, Err("refused".to_owned()));
        let number = 7;
        for (work, said) in [
            (async { panic!("as it is") }.boxed(), "panicked: as it is"),
            (async move { panic!("made of {number}") }.boxed(), "panicked: made of 7"),
            (async { std::panic::panic_any(7) }.boxed(), "panicked: without a word"),
        ] {
            assert_eq!(bounded::<()>(most, work).await, Err(said.to_owned()));
        }
    }
}
