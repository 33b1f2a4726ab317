//! Work that may take too long, or panic, and must not take with it whoever waits for it.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;

/// What became of the work, or, for a log, why nothing did: it took longer than `most`, or panicked. What it held then is
/// dropped.
pub(crate) async fn bounded<T>(most: Duration, work: impl Future<Output = T>) -> Result<T, String> {
    match tokio::time::timeout(most, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(panic)) => Err(format!("panicked: {}", said(&*panic))),
        Err(_) => Err(format!("took longer than {} s", most.as_secs())),
    }
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
