//! Mails from files.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use mail_parser::{Address, MessageParser};

/// The mails that are written are a tenth of this; more of a file is not read.
const MOST_BYTES: u64 = 1 << 20;

/// What the list shows of a mail.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) file: String,
    pub(super) date: String,
    pub(super) to: String,
    pub(super) subject: String,
    pub(super) template: String,
}

#[derive(Debug)]
pub(super) struct Mail {
    pub(super) summary: Summary,
    pub(super) html: String,
    pub(super) text: String,
    /// The headers as they are.
    pub(super) head: String,
}

/// The names of the newest mails, which begin with their times, the newest first. None where there is no such folder yet.
pub(super) fn newest(folder: &Path, most: usize) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names = BTreeSet::new();
    for entry in entries.filter_map(Result::ok) {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if is_name(&name) {
            names.insert(name);
        }
        if names.len() > most {
            names.pop_first();
        }
    }
    names.into_iter().rev().collect()
}

/// A mail of the folder. `None`: it is none, or there is none of that name.
pub(super) fn read(folder: &Path, name: &str) -> Option<Mail> {
    if !is_name(name) {
        return None;
    }
    let path = folder.join(name);
    // A link could lead out of the folder.
    if !path.symlink_metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
    let mail = MessageParser::default().parse(&bytes)?;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(bytes.len());
    let template = name.split('-').nth(1).unwrap_or_default();
    let summary = Summary {
        file: name.to_owned(),
        date: mail.date().map(mail_parser::DateTime::to_timestamp).and_then(shown).unwrap_or_default(),
        to: mail.to().map(addresses).unwrap_or_default(),
        subject: mail.subject().unwrap_or("(no subject)").to_owned(),
        template: template.to_owned(),
    };
    Some(Mail {
        summary,
        html: mail.body_html(0).unwrap_or_default().into_owned(),
        text: mail.body_text(0).unwrap_or_default().into_owned(),
        head: String::from_utf8_lossy(&bytes[..end]).into_owned(),
    })
}

/// Whether it is a name as mails get them: no separator, no leading dot.
fn is_name(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    name.len() <= 200 && name.strip_suffix(".eml").is_some_and(|stem| !stem.is_empty() && stem.bytes().all(word))
}

fn shown(timestamp: i64) -> Option<String> {
    Some(chrono::DateTime::from_timestamp(timestamp, 0)?.format("%Y-%m-%d %H:%M:%S").to_string())
}

fn addresses(to: &Address<'_>) -> String {
    let one = |addr: &mail_parser::Addr<'_>| match (addr.name(), addr.address()) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (name, address) => name.or(address).unwrap_or_default().to_owned(),
    };
    to.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mails_own_name_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mail =
            "Date: Mon, 02 Nov 2026 00:00:00 +0000\r\nTo: Ann <ann@example.com>\r\nSubject: <b>\r\n\r\nhello\r\n";
        let name = "20261102T000000-trial_ending-fb160614.eml";
        std::fs::create_dir(folder.path().join("box")).unwrap();
        std::fs::write(folder.path().join("secret.eml"), mail).unwrap();
        let inside = folder.path().join("box");
        std::fs::write(inside.join(name), mail).unwrap();
        std::fs::write(inside.join(".x.eml"), mail).unwrap();
        std::os::unix::fs::symlink("../secret.eml", inside.join("link.eml")).unwrap();
        let read_mail = read(&inside, name).unwrap();
        assert_eq!(
            (read_mail.summary.date.as_str(), read_mail.summary.to.as_str(), read_mail.summary.template.as_str()),
            ("2026-11-02 00:00:00", "Ann <ann@example.com>", "trial_ending")
        );
        for name in
            ["../secret.eml", "..%2fsecret.eml", "link.eml", ".x.eml", ".eml", "", "none.eml", "/etc/passwd", "a.txt"]
        {
            assert!(read(&inside, name).is_none(), "{name}");
        }
        for number in 0..5 {
            std::fs::write(inside.join(format!("2026110{number}-x-0.eml")), mail).unwrap();
        }
        assert_eq!(newest(&inside, 2), ["link.eml", "20261104-x-0.eml"]);
    }
}
