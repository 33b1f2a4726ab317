//! A folder instead of a server: every mail a file that mail programs open.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::SendError;
use crate::mail::{Message, outbox_name_end};

pub(super) struct Outbox {
    folder: PathBuf,
}

impl Outbox {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Writes `<date>-<template>-<digest>.eml`. The same mail again replaces its file.
    pub(super) async fn write(&self, message: &Message, email: &[u8]) -> Result<(), SendError> {
        let date = message.date.format("%Y%m%dT%H%M%S");
        let name = format!("{date}{}", outbox_name_end(message.template.as_str(), &message.dedupe_key));
        self.put(&name, email).await.map_err(|error| self.failed(&error))
    }

    pub(super) async fn check(&self) -> Result<String, SendError> {
        let probe = self.folder.join(format!(".check-{}.tmp", std::process::id()));
        let written = async {
            tokio::fs::create_dir_all(&self.folder).await?;
            tokio::fs::write(&probe, b"").await?;
            tokio::fs::remove_file(&probe).await
        };
        written.await.map_err(|error| self.failed(&error))?;
        Ok(format!("{self} is writable"))
    }

    /// Under another name first, so that whoever watches the folder never reads half a mail.
    async fn put(&self, name: &str, email: &[u8]) -> io::Result<()> {
        tokio::fs::create_dir_all(&self.folder).await?;
        let unfinished = self.folder.join(format!(".{name}.{}.tmp", std::process::id()));
        tokio::fs::write(&unfinished, email).await?;
        tokio::fs::rename(&unfinished, self.folder.join(name)).await
    }

    /// A folder can be made, a disk emptied: every failure here is worth another attempt.
    fn failed(&self, error: &io::Error) -> SendError {
        SendError::Transient(format!("{self}: {error}"))
    }
}

impl fmt::Display for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file://{}", Path::display(&self.folder))
    }
}
