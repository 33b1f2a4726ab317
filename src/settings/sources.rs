//! Where settings come from, and the list of what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use billing::stripe::scope::Accounts;

use super::names::SETTINGS;

/// Everything that is wrong, at once.
#[derive(Debug, thiserror::Error)]
#[error("{}", list(.0))]
pub(crate) struct SettingsError(Vec<(String, String)>);

impl SettingsError {
    /// What shows only when settings are used: their names, each with what is wrong.
    pub(crate) fn of(problems: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(problems.into_iter().collect())
    }
}

fn list(problems: &[(String, String)]) -> String {
    let mut text = "the settings do not hold:".to_owned();
    for (name, problem) in problems {
        // Writing to a String cannot fail.
        write!(text, "\n  {name}: {problem}").unwrap_or_default();
    }
    text.push_str("\nset them in the environment or in billingd.toml; `billingd --help` lists them all");
    text
}

/// Values by their environment name, and the problems met so far.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    values: BTreeMap<String, String>,
    pub(crate) tables: toml::Table,
    problems: Vec<(String, String)>,
}

impl Sources {
    /// The file named by `BILLINGD_CONFIG`, else `billingd.toml` if it is there; over it the environment.
    pub(crate) fn of_process() -> Result<Self, SettingsError> {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        let variable = |name: &str| std::env::var(name).ok();
        let named = variable("BILLINGD_CONFIG");
        let path = named.clone().unwrap_or_else(|| "billingd.toml".to_owned());
        let file = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => String::new(),
            Err(error) => return Err(SettingsError(vec![(path, format!("cannot be read: {error}"))])),
        };
        Self::of(&path, &file, variable)
    }

    pub(crate) fn of(path: &str, file: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut tables: toml::Table = file.parse().map_err(|error: toml::de::Error| {
            SettingsError(vec![(path.to_owned(), error.to_string().trim_end().to_owned())])
        })?;
        let mut sources = Self::default();
        sources.take_plain(path, &mut tables);
        sources.tables = tables;
        for (name, _) in SETTINGS {
            // An empty variable is one that is not set, as shells and compose files have it.
            if let Some(value) = variable(name).filter(|value| !value.trim().is_empty()) {
                sources.values.insert((*name).to_owned(), value);
            }
        }
        Ok(sources)
    }

    /// Takes what is a setting by its name; what remains are the plans, and mistakes.
    fn take_plain(&mut self, path: &str, tables: &mut toml::Table) {
        let known = |name: &str| SETTINGS.iter().any(|(setting, _)| *setting == name);
        for (section, table) in std::mem::take(tables) {
            let toml::Value::Table(table) = table else {
                let name = section.to_uppercase();
                match (&table, plain(&table)) {
                    (_, Some(value)) if known(&name) => {
                        self.values.insert(name, value);
                    }
                    (toml::Value::Array(_), _) if section == "plans" => {
                        tables.insert(section, table);
                    }
                    _ => self.wrong(&section, &format!("in {path} is no setting")),
                }
                continue;
            };
            if section == "free" {
                tables.insert(section, toml::Value::Table(table));
                continue;
            }
            for (key, value) in table {
                let name = [format!("{section}_{key}"), key.clone()].map(|name| name.to_uppercase());
                match (name.into_iter().find(|name| known(name)), plain(&value)) {
                    (Some(name), Some(value)) => {
                        self.values.insert(name, value);
                    }
                    (Some(name), None) => self.wrong(&name, &format!("in {path} has to be a text, a number or a flag")),
                    (None, _) => self.wrong(&format!("{section}.{key}"), &format!("in {path} is no setting")),
                }
            }
        }
    }

    pub(crate) fn wrong(&mut self, name: &str, problem: &str) {
        self.problems.push((name.to_owned(), problem.to_owned()));
    }

    pub(crate) fn missing(&mut self, name: &str, what: &str) {
        self.problems.push((name.to_owned(), format!("is missing: {what}")));
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.values.get(name).map(|value| value.trim().to_owned())
    }

    pub(crate) fn url(&mut self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        match url::Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Some(text),
            _ => {
                self.wrong(name, "has to be a URL that begins with http:// or https://");
                None
            }
        }
    }

    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        self.one_of(name, &["true", "false"]).map(|text| text == "true")
    }

    pub(crate) fn one_of(&mut self, name: &str, words: &[&str]) -> Option<String> {
        let text = self.text(name)?;
        if words.contains(&text.as_str()) {
            return Some(text);
        }
        self.wrong(name, &format!("has to be one of {}", words.join(", ")));
        None
    }

    pub(crate) fn number(&mut self, name: &str, default: i64, range: RangeInclusive<i64>) -> i64 {
        let Some(text) = self.text(name) else { return default };
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                self.wrong(name, &format!("has to be a whole number from {} to {}", range.start(), range.end()));
                default
            }
        }
    }

    pub(crate) fn accounts(&mut self, name: &str) -> Accounts {
        let Some(text) = self.text(name) else { return Accounts::Ours };
        if text == "*" {
            return Accounts::All;
        }
        let names: BTreeSet<String> = text.split(',').map(|account| account.trim().to_owned()).collect();
        if names.iter().any(|account| !account.starts_with("acct_")) {
            self.wrong(name, "has to be account ids, acct_…, separated by commas, or *");
        }
        Accounts::Named(names)
    }

    /// An IP address with a port.
    pub(crate) fn address(&mut self, name: &str) -> Option<SocketAddr> {
        let address = self.text(name)?.parse().ok();
        if address.is_none() {
            self.wrong(name, "has to be an IP address with a port, such as 127.0.0.1:9100 or [::]:9100");
        }
        address
    }

    /// `BIND_ADDR` and `PORT` together.
    pub(crate) fn listen(&mut self, default_address: &str) -> SocketAddr {
        let port = u16::try_from(self.number("PORT", 4242, 0..=65535)).unwrap_or_default();
        let address = self.text("BIND_ADDR").unwrap_or_else(|| default_address.to_owned());
        if let Ok(both) = address.parse::<SocketAddr>() {
            return both;
        }
        let address = if address == "localhost" { "127.0.0.1" } else { &address };
        let ip = address.parse::<IpAddr>().unwrap_or_else(|_| {
            self.wrong("BIND_ADDR", "has to be an IP address, with or without a port, such as 127.0.0.1 or [::1]:4242");
            IpAddr::from([127, 0, 0, 1])
        });
        SocketAddr::new(ip, port)
    }

    pub(crate) fn finish(self) -> Result<(), SettingsError> {
        if self.problems.is_empty() { Ok(()) } else { Err(SettingsError(self.problems)) }
    }
}

fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => items.iter().map(plain).collect::<Option<Vec<_>>>().map(|items| items.join(",")),
        _ => None,
    }
}
