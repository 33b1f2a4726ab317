//! A real SMTP server in a process of its own; see `smtp_server.py` for how it answers.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use crate::harness::{Site, python};

pub(crate) struct Smtp {
    child: Child,
    pub(crate) port: u16,
    folder: PathBuf,
}

impl Smtp {
    /// Starts a server and points the site's mail at it.
    pub(crate) fn start(site: &mut Site) -> Self {
        let smtp = Self::with(site, &[]);
        site.set("SMTP_URL", &format!("smtp://127.0.0.1:{}", smtp.port));
        smtp
    }

    /// Starts a server with further arguments; the site's mail goes elsewhere still.
    pub(crate) fn with(site: &Site, more: &[&str]) -> Self {
        let port = crate::harness::free_port();
        Self::at(site, port, more)
    }

    /// Starts a server in the place of one that has ended.
    pub(crate) fn at(site: &Site, port: u16, more: &[&str]) -> Self {
        let folder = site.dir.path().join(format!("received-{port}"));
        std::fs::create_dir_all(&folder).unwrap();
        let mut child = python()
            .args(["-c", include_str!("smtp_server.py"), folder.to_str().unwrap(), &port.to_string()])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the SMTP server does not start");
        Self { child, port, folder }
    }

    /// The mails taken, by file name.
    pub(crate) fn received(&self) -> Vec<String> {
        let mut paths: Vec<_> = self.files().collect();
        paths.sort();
        paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }

    /// How often each mail was taken, by its Message-ID.
    pub(crate) fn copies(&self) -> BTreeMap<String, usize> {
        let mut copies = BTreeMap::new();
        for path in self.files() {
            let name = path.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned();
            *copies.entry(name).or_default() += 1;
        }
        copies
    }

    /// Each login and each sender it was told, with the version of TLS.
    pub(crate) fn said(&self) -> Vec<String> {
        let said = std::fs::read_to_string(self.folder.join("said")).unwrap_or_default();
        said.lines().map(str::to_owned).collect()
    }

    fn files(&self) -> impl Iterator<Item = PathBuf> {
        let entries = std::fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|kind| kind == "eml"))
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        drop(ended);
    }
}
