//! One attempt of a job: its time limit, its panics, and what becomes of it.
//!
//! The library would leave a job that timed out or panicked `Running` for ever, and fetch a failed one again at once.
//! Here the outcome is written to the status that the library acknowledges, and `run_at` is moved while the row is
//! still ours, so that a retry waits in the database and holds no slot.

use std::task;
use std::time::{Duration, Instant};

use apalis::prelude::*;
use apalis_core::task::status::Status;
use billing::store::Engine;
use futures::future::BoxFuture;
use serde_json::Value;
use tower::{Layer, Service};

use crate::bounded::{bounded, done_within};
use crate::{Context, Failure, Policy, Queue, registry};

/// For a kind that is not known here; it is only ever snoozed.
const UNKNOWN: Policy = Policy {
    max_attempts: 5,
    backoff: Duration::from_secs(60),
    backoff_most: Duration::from_secs(3600),
    timeout: Duration::from_secs(60),
};

/// The longest wait for somebody else who is down: what waited goes on so soon after he is back. No longer, for how often the job
/// has been put off for another reason, such as that others were asking, is counted with it.
const OUTAGE_MOST: Duration = Duration::from_secs(30);
/// To write down what became of an attempt.
const WRITE_MOST: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(super) struct AttemptLayer {
    pub(super) context: Context,
    pub(super) queue: Queue,
}

impl<S> Layer<S> for AttemptLayer {
    type Service = Attempts<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Attempts { inner, layer: self.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Attempts<S> {
    inner: S,
    layer: AttemptLayer,
}

impl<S> Service<Task<Value>> for Attempts<S>
where
    S: Service<Task<Value>, Response = ()>,
    S::Error: Into<BoxDynError>,
    S::Future: Send + 'static,
{
    type Response = ();
    type Error = BoxDynError;
    type Future = BoxFuture<'static, Result<(), BoxDynError>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> task::Poll<Result<(), BoxDynError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, task: Task<Value>) -> Self::Future {
        let AttemptLayer { context, queue } = self.layer.clone();
        let running = context.running.clone();
        let value = task.args.clone();
        let execution = task.ctx().clone();
        let worker = task.data().get::<WorkerContext>().map(|worker| worker.name().to_owned()).unwrap_or_default();
        let most = execution.max_attempts().unwrap_or(1);
        // The library hands out rows whose attempts were used up by dying workers; such a job kills its worker.
        let spent = execution.attempt() >= most;
        let future = (!spent).then(|| self.inner.call(task));
        Box::pin(running.track_future(async move {
            let name = value["job"].as_str().unwrap_or("undecodable").to_owned();
            let policy = registry::policy_of(&name).unwrap_or(UNKNOWN);
            let started = Instant::now();
            billing::chaos::point("job.fetched");
            let failure = match future {
                None => Failure::Cancel("its workers died in every attempt".to_owned()),
                Some(future) => match run(future, policy.timeout).await {
                    Ok(()) => {
                        billing::chaos::point("job.before_ack");
                        finished(&name, "done", started);
                        return Ok(());
                    }
                    Err(failure) => failure,
                },
            };
            let id = execution.task_id().map(ToString::to_string).unwrap_or_default();
            let attempt = execution.attempt();
            let reason = failure.to_string();
            let row = Row { context: &context, queue, id: &id, worker: &worker };
            let (wait, more, outcome, says) = match failure {
                Failure::Snooze { after, .. } => (after, 1, "snoozed", "a job is put off"),
                // It takes none of the attempts, so that there are some for what fails when it is over.
                Failure::Outage(_) => {
                    (outage_wait(&policy, attempt), 1, "retried", "a job waits for somebody else who is down")
                }
                Failure::Retry(_) if attempt < most => {
                    // Each time it was put off allowed one attempt more; those are no failures.
                    let put_off = most.saturating_sub(policy.max_attempts as usize);
                    let wait = backoff(&policy, attempt.saturating_sub(put_off));
                    (wait, 0, "retried", "a job failed and is tried again")
                }
                Failure::Retry(_) | Failure::Cancel(_) => {
                    match done_within(WRITE_MOST, registry::bury(&context, &value, &reason)).await {
                        Ok(()) => {
                            execution.raw_status().store(Status::Killed);
                            finished(&name, "dead", started);
                            tracing::error!(
                                job.id = id,
                                job.kind = name,
                                job.attempt = attempt,
                                reason,
                                "a job is dead"
                            );
                            return Err(reason.into());
                        }
                        Err(error) => {
                            tracing::warn!(job.id = id, error, "a job is dead, and that could not be written");
                            // Not dead before it is written down: the next attempt will try to bury it again.
                            (policy.backoff, 1, "retried", "a job is to be dead, and is tried again")
                        }
                    }
                }
            };
            execution.raw_status().store(Status::Failed);
            row.postpone(wait, more).await;
            finished(&name, outcome, started);
            let wait_seconds = wait.as_secs();
            if outcome == "snoozed" {
                tracing::info!(job.id = id, job.kind = name, reason, wait_seconds, "{says}");
            } else {
                tracing::warn!(job.id = id, job.kind = name, job.attempt = attempt, reason, wait_seconds, "{says}");
            }
            Err(reason.into())
        }))
    }
}

async fn run<F, E>(future: F, timeout: Duration) -> Result<(), Failure>
where
    F: Future<Output = Result<(), E>> + Send,
    E: Into<BoxDynError>,
{
    match bounded(timeout, future).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(match error.into().downcast::<Failure>() {
            Ok(failure) => *failure,
            Err(error) => Failure::Cancel(error.to_string()),
        }),
        Err(reason) => Err(Failure::Retry(format!("the attempt {reason}"))),
    }
}

/// Doubles with each attempt, ± 20 % so that what failed together does not come back together.
fn backoff(policy: &Policy, attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(30);
    let wait = policy.backoff.saturating_mul(2_u32.saturating_pow(doublings)).min(policy.backoff_most);
    wait.mul_f64(rand::random_range(0.8..1.2))
}

/// The same for somebody else who is down.
fn outage_wait(policy: &Policy, attempt: usize) -> Duration {
    backoff(&Policy { backoff_most: OUTAGE_MOST.min(policy.backoff_most), ..*policy }, attempt)
}

fn finished(name: &str, outcome: &'static str, started: Instant) {
    let name = if registry::policy_of(name).is_some() { name.to_owned() } else { "unknown".to_owned() };
    metrics::counter!("billingd_jobs_total", "job" => name.clone(), "outcome" => outcome).increment(1);
    metrics::histogram!("billingd_job_seconds", "job" => name).record(started.elapsed().as_secs_f64());
}

/// The job's row, as long as this worker holds it.
struct Row<'a> {
    context: &'a Context,
    queue: Queue,
    id: &'a str,
    worker: &'a str,
}

impl Row<'_> {
    /// Moves the next run, and allows `more` attempts. Where that fails the job only comes back sooner.
    async fn postpone(&self, after: Duration, more: i64) {
        if let Err(reason) = done_within(WRITE_MOST, self.moved(after, more)).await {
            tracing::warn!(
                job.id = self.id,
                queue = self.queue.as_str(),
                reason,
                "the job's next run could not be set"
            );
        }
    }

    async fn moved(&self, after: Duration, more: i64) -> sqlx::Result<()> {
        let seconds = after.as_secs_f64().ceil() as i64;
        match &self.context.db {
            Engine::Postgres(pool) => sqlx::query(
                "update apalis.jobs set run_at = now() + make_interval(secs => $3::bigint), max_attempts = max_attempts + $4::bigint
                 where id = $1 and lock_by = $2",
            )
            .bind(self.id)
            .bind(self.worker)
            .bind(seconds)
            .bind(more)
            .execute(pool)
            .await
            .map(drop),
            Engine::Sqlite(file) => sqlx::query(
                "update Jobs set run_at = cast(strftime('%s', 'now') as integer) + $3, max_attempts = max_attempts + $4
                 where id = $1 and lock_by = $2",
            )
            .bind(self.id)
            .bind(self.worker)
            .bind(seconds)
            .bind(more)
            .execute(&file.writer)
            .await
            .map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_and_is_bounded() {
        let policy = Policy { backoff: Duration::from_secs(2), backoff_most: Duration::from_secs(60), ..UNKNOWN };
        for (attempt, seconds) in [(1, 2.0), (2, 4.0), (5, 32.0), (6, 60.0), (1000, 60.0)] {
            let wait = backoff(&policy, attempt).as_secs_f64();
            assert!((seconds * 0.8..=seconds * 1.2).contains(&wait), "attempt {attempt}: {wait}");
        }
        // Most of a thousand attempts were put off for another reason: it may be back any moment.
        for (attempt, seconds) in [(1, 2.0), (4, 16.0), (5, 30.0), (1000, 30.0)] {
            let wait = outage_wait(&policy, attempt).as_secs_f64();
            assert!((seconds * 0.8..=seconds * 1.2).contains(&wait), "attempt {attempt} of an outage: {wait}");
        }
    }
}
