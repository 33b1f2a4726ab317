//! Named points at which a test may kill the process, as a power cut would, and the migrations of a version that is yet to
//! come. Without the feature `chaos`, which only `scripts/chaos` turns on, there is nothing here.

use std::path::PathBuf;

/// Dies here if `BILLINGD_KILL_AT` says so: the point's name, and after a colon at which passing (the first if absent).
#[cfg(not(feature = "chaos"))]
#[inline]
pub fn point(_name: &str) {}

/// Dies here if `BILLINGD_KILL_AT` says so: the point's name, and after a colon at which passing (the first if absent).
#[cfg(feature = "chaos")]
pub fn point(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    static PLAN: LazyLock<Option<(String, AtomicI64)>> = LazyLock::new(|| {
        #[expect(clippy::disallowed_methods, reason = "a setting of tests alone")]
        let plan = std::env::var("BILLINGD_KILL_AT").ok()?;
        let (name, passing) = plan.split_once(':').unwrap_or((&plan, "1"));
        Some((name.to_owned(), AtomicI64::new(passing.parse().unwrap_or(1))))
    });
    if let Some((wanted, left)) = &*PLAN
        && wanted == name
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        eprintln!("killed at {name}");
        std::process::abort();
    }
}

/// A folder with migrations that this process knows beside its own, as a newer version would.
#[cfg(not(feature = "chaos"))]
pub(crate) fn further_migrations() -> Option<PathBuf> {
    None
}

/// A folder with migrations that this process knows beside its own, as a newer version would: `BILLINGD_FURTHER_MIGRATIONS`.
#[cfg(feature = "chaos")]
pub(crate) fn further_migrations() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "a setting of tests alone")]
    std::env::var_os("BILLINGD_FURTHER_MIGRATIONS").map(PathBuf::from)
}
