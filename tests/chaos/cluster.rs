//! A PostgreSQL of the scenario's own, which may be broken.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

pub(crate) struct Cluster {
    dir: PathBuf,
    programs: PathBuf,
    pub(crate) port: u16,
}

impl Cluster {
    /// Starts one with these lines in its configuration.
    pub(crate) async fn start(settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap().keep();
        let started = Command::new(script()).arg("start").arg(&dir).output().await.unwrap();
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap().trim().to_owned();
        let cluster = Self { port: read("port").parse().unwrap(), programs: read("programs").into(), dir };
        cluster.append("postgresql.conf", settings);
        cluster.append("pg_hba.conf", "host replication all 127.0.0.1/32 trust");
        cluster.control(&["restart", "--mode=fast"]).await;
        cluster
    }

    /// Another one that follows this one.
    pub(crate) async fn standby(&self) -> Self {
        let dir = tempfile::tempdir().unwrap().keep();
        // Whatever the server refuses as its own directory is made by its owner.
        let owned = Command::new("chown").arg("--reference").arg(&self.dir).arg(&dir).status().await.unwrap();
        assert!(owned.success());
        for name in ["programs", "billingd-test-cluster"] {
            std::fs::copy(self.dir.join(name), dir.join(name)).unwrap();
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let standby = Self { dir, programs: self.programs.clone(), port };
        // A copy of a server that is stopped is a base backup.
        self.control(&["stop", "--mode=fast"]).await;
        let copied = Command::new("cp").arg("-a").arg(self.data()).arg(standby.data()).status().await.unwrap();
        assert!(copied.success());
        self.control(&["start"]).await;
        std::fs::write(standby.data().join("standby.signal"), "").unwrap();
        standby.append(
            "postgresql.conf",
            &format!(
                "port = {port}\nunix_socket_directories = '{}'\nprimary_conninfo = 'host=127.0.0.1 port={} user=postgres'",
                standby.dir.display(),
                self.port
            ),
        );
        standby.control(&["start"]).await;
        standby
    }

    fn append(&self, file: &str, lines: &str) {
        let path = self.data().join(file);
        writeln!(std::fs::File::options().append(true).open(path).unwrap(), "{lines}").unwrap();
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Runs `pg_ctl`, which has to succeed.
    pub(crate) async fn control(&self, args: &[&str]) {
        assert!(self.try_control(args).await, "pg_ctl {args:?} failed in {}", self.dir.display());
    }

    async fn try_control(&self, args: &[&str]) -> bool {
        let (data, log) = (self.data(), self.dir.join("server.log"));
        self.as_owner("pg_ctl")
            .args(args)
            .arg("--wait")
            .arg("--silent")
            .arg(format!("--pgdata={}", data.display()))
            .arg(format!("--log={}", log.display()))
            .status()
            .await
            .unwrap()
            .success()
    }

    /// One of PostgreSQL's programs, run as the cluster's owner.
    fn as_owner(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let root = std::fs::metadata("/proc/self").is_ok_and(|us| std::os::unix::fs::MetadataExt::uid(&us) == 0);
        let mut command = if root {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(&self.dir).stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command
    }

    /// Kills the postmaster, and with it all the rest.
    pub(crate) async fn kill(&self) {
        let pid = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let killed = Command::new("kill").args(["-9", pid.lines().next().unwrap()]).status().await.unwrap();
        assert!(killed.success());
    }

    /// Starts it again after a kill, as soon as what is left of its processes is gone.
    pub(crate) async fn start_again(&self) {
        for _ in 0..100 {
            if self.try_control(&["start"]).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the server does not start again: {}", self.dir.display());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stopped = std::process::Command::new(script()).arg("stop").arg(&self.dir).status();
        if !stopped.is_ok_and(|status| status.success()) {
            eprintln!("the cluster in {} was not stopped", self.dir.display());
        }
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres")
}
