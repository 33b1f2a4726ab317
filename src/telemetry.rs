//! Logs to standard error, metrics to whoever asks for them.

mod gauges;

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::settings::Settings;
pub(crate) use gauges::refresh as refresh_gauges;

/// Buckets for durations in seconds, from a commit to a slow job.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];
/// Buckets for batch sizes.
const EVENTS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// Starts logging; call once.
pub(crate) fn start_logs(settings: &Settings) {
    let filter = EnvFilter::try_new(&settings.log_filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // A line that cannot be written is dropped. The library would complain on standard error, where that fails too, and
    // panic: a log on a full disk would end the process.
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    // A second start, as in tests, keeps the first one's logs.
    let started = if settings.log_json {
        logs.json().try_init()
    } else {
        logs.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging had been started");
    }
}

/// Histograms keep every value until they are tidied, and not every process is asked for its metrics.
const TIDY: Duration = Duration::from_secs(15);

/// Starts collecting metrics; the handle renders them. Called within a runtime, which tidies them for as long as it runs.
pub(crate) fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_events".to_owned()), &EVENTS)?;
    let handle = builder.install_recorder()?;
    let tidied = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(TIDY).await;
            tidied.run_upkeep();
        }
    });
    Ok(handle)
}
