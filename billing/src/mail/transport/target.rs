//! Reads `SMTP_URL`. Errors name the rule that is broken and never the text, which may hold a password.

use std::path::PathBuf;

use super::MailError;

/// Where mail goes.
#[derive(Debug)]
pub(super) enum Target {
    Folder(PathBuf),
    Server(Server),
}

pub(super) struct Server {
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
    /// User and password, decoded.
    pub(super) login: Option<(String, String)>,
}

/// How a connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Security {
    /// TLS from the first byte.
    Wrapped,
    /// STARTTLS, or no mail.
    Required,
    /// STARTTLS where the server offers it.
    Opportunistic,
    None,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, MailError> {
        let bad = |problem| MailError::Url { problem };
        let (scheme, rest) = url.trim().split_once("://").ok_or(bad("there is no scheme"))?;
        let wrapped = match scheme.to_ascii_lowercase().as_str() {
            "file" if rest.is_empty() => return Err(bad("the folder is missing")),
            "file" => return Ok(Self::Folder(PathBuf::from(rest))),
            "smtp" => false,
            "smtps" => true,
            _ => return Err(bad("the scheme is unknown")),
        };
        if rest.contains('#') {
            return Err(bad("a # must be written %23"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A password may hold a slash that nobody encoded: the last @ is what ends it.
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => {
                let (user, password) = login.split_once(':').ok_or(bad("the user has no password"))?;
                let decoded = decode(user).zip(decode(password)).ok_or(bad("the login is not percent-encoded"))?;
                (Some(decoded), place)
            }
            None => (None, rest),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        let (host, port) = split_port(place).ok_or(bad("the port is not a number from 1 to 65535"))?;
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(is_host) {
            return Err(bad("the host is missing or malformed"));
        }
        let security = match (wrapped, query) {
            (true, "" | "tls=required") => Security::Wrapped,
            (true, _) => return Err(bad("smtps:// takes no options")),
            (false, "") if login.is_none() => Security::Opportunistic,
            (false, "" | "tls=required") => Security::Required,
            (false, "tls=opportunistic") => Security::Opportunistic,
            (false, "tls=none") => Security::None,
            (false, _) => return Err(bad("the option is unknown")),
        };
        let port = port.unwrap_or(match security {
            Security::Wrapped => 465,
            _ if login.is_some() => 587,
            _ => 25,
        });
        Ok(Self::Server(Server { host: host.to_owned(), port, security, login }))
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`. `None`: the port is not one.
fn split_port(place: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':')?)),
        None => place.rsplit_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    match port {
        None => Some((host, None)),
        Some(port) => port.parse().ok().filter(|port| *port > 0).map(|port| (host, Some(port))),
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                hex::decode(digits).ok()?[0]
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{} {:?}", self.host, self.port, self.security)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read() {
        let login = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        let cases = [
            ("smtp://localhost", "localhost:25 Opportunistic", None),
            ("smtp://localhost:1025/", "localhost:1025 Opportunistic", None),
            ("smtp://localhost:1025?tls=none", "localhost:1025 None", None),
            ("smtp://mail.example.com?tls=required", "mail.example.com:25 Required", None),
            ("smtp://u:p@mail.example.com", "mail.example.com:587 Required", login("u", "p")),
            ("smtp://u:p@mail.example.com:25?tls=opportunistic", "mail.example.com:25 Opportunistic", login("u", "p")),
            ("smtps://u:p@mail.example.com", "mail.example.com:465 Wrapped", login("u", "p")),
            ("SMTP://u%40x:p%2F%C3%A9@[::1]:2525", "::1:2525 Required", login("u@x", "p/é")),
            (
                "smtp://me@example.com:a/b@mail.example.com",
                "mail.example.com:587 Required",
                login("me@example.com", "a/b"),
            ),
        ];
        for (url, place, login) in cases {
            let Target::Server(server) = Target::parse(url).unwrap() else { panic!("{url}") };
            assert_eq!(format!("{server:?}"), place, "{url}");
            assert_eq!(server.login, login, "{url}");
        }
    }

    #[test]
    fn folders_are_read() {
        for (url, folder) in [("file://outbox", "outbox"), ("file:///var/mail", "/var/mail"), ("file://./a b", "./a b")]
        {
            let Target::Folder(path) = Target::parse(url).unwrap() else { panic!("{url}") };
            assert_eq!(path, PathBuf::from(folder));
        }
    }

    #[test]
    fn what_is_malformed_is_told_the_form_and_kept_secret() {
        let urls = [
            "",
            "mail.example.com",
            "http://mail.example.com",
            "file://",
            "smtp://",
            "smtp://user:hunter2@",
            "smtp://hunter2@mail.example.com",
            "smtp://user:hunter2%ZZ@mail.example.com",
            "smtp://user:hunter2@mail.example.com:99999",
            "smtp://user:hunter2@mail.example.com:0",
            "smtp://user:hunter2@mail.example.com?tls=hunter2",
            "smtp://user:hunter2#@mail.example.com",
            "smtps://user:hunter2@mail.example.com?tls=none",
            "smtp://user:hunter2@mail example.com",
            "smtp://mail.example.com/path",
        ];
        for url in urls {
            let error = Target::parse(url).unwrap_err();
            for text in [error.to_string(), format!("{error:?}")] {
                assert!(!text.contains("hunter2"), "{url}: {text}");
            }
            assert!(error.to_string().starts_with("expected smtp://[user:password@]host[:port]"), "{url}: {error}");
        }
    }
}
