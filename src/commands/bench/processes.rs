//! The program's own processes, started on the scratch database and measured from outside.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

/// Longer than a worker may take to end by itself.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// A process of the bench; killed when dropped.
pub(super) struct Process {
    pub(super) name: &'static str,
    pub(super) child: Child,
    pub(super) log: PathBuf,
}

impl Process {
    /// The most memory it ever had resident, in MiB; `None` where the kernel does not tell.
    pub(super) fn peak_memory_mib(&self) -> Option<f64> {
        self.memory("VmHWM:")
    }

    /// What it has resident now, in MiB.
    pub(super) fn memory_mib(&self) -> Option<f64> {
        self.memory("VmRSS:")
    }

    fn memory(&self, name: &str) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some((kib / 102.4).round() / 10.0)
    }

    /// # Errors
    /// It has ended; the error has what it logged.
    pub(super) fn alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            anyhow::bail!("{} ended with {status}:\n{log}", self.name);
        }
        Ok(())
    }

    /// Ends it as an operator would, so that it leaves nothing half done.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.alive()?;
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("the process has no id")?;
        kill_process(pid, Signal::TERM)?;
        let ended = tokio::time::timeout(STOPS_WITHIN, self.child.wait()).await;
        let status = ended.with_context(|| format!("{} does not stop", self.name))??;
        // Another may have done all the work before this one had come as far as to listen for the signal.
        let at_once = status.signal() == Some(Signal::TERM.as_raw());
        anyhow::ensure!(status.success() || at_once, "{} ended with {status}", self.name);
        Ok(())
    }
}
