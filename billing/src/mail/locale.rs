//! The languages mails are written in: one catalogue file each, with its words, dates and money.
//!
//! A new language is a new file in `templates/locales` and its line in [`FILES`]; a test holds the two together.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Utc};
use serde::Deserialize;

use super::TemplateError;
use super::money::MoneyStyle;

/// Every catalogue by its language tag (BCP 47).
const FILES: [(&str, &str); 2] = [
    ("en", include_str!("../../templates/locales/en.json")),
    ("pt-BR", include_str!("../../templates/locales/pt-BR.json")),
];

/// Read by everybody whose language has no catalogue.
const FALLBACK: (&str, &str) = FILES[0];

/// The language tags mails can be written in, the fallback first.
pub fn locales() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(tag, _)| *tag)
}

/// The catalogue that serves a language tag; see [`Locale::find`].
pub fn locale_for(wanted: &str) -> &'static str {
    entry_for(wanted).0
}

/// A catalogue. Its texts are plain text (never HTML) and may use the values of a mail as `{{ value }}` and `{% if %}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Locale {
    #[serde(skip)]
    pub(super) tag: &'static str,
    months: [String; 12],
    /// With `{day}`, `{month}` (its name) and `{year}`.
    date: String,
    pub(super) money: MoneyStyle,
    pub(super) greeting: String,
    pub(super) footer: String,
    /// What the links are called where a mail does not say better.
    pub(super) links: BTreeMap<String, String>,
    /// By [`crate::rules::Mail::as_str`].
    pub(super) mails: BTreeMap<String, Words>,
}

/// The words of one mail.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    pub(super) subject: String,
    /// What inboxes show beside the subject.
    pub(super) preheader: String,
    pub(super) heading: String,
    /// One that comes out empty is left out.
    pub(super) paragraphs: Vec<String>,
    /// Name and value; a row whose value comes out empty is left out.
    #[serde(default)]
    pub(super) details: Vec<(String, String)>,
    /// What this mail calls a link, over [`Locale::links`].
    #[serde(default)]
    pub(super) links: BTreeMap<String, String>,
}

fn entry_for(wanted: &str) -> &'static (&'static str, &'static str) {
    let wanted = wanted.trim().replace('_', "-");
    let language = |tag: &str| tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
    FILES
        .iter()
        .find(|(tag, _)| tag.eq_ignore_ascii_case(&wanted))
        .or_else(|| FILES.iter().find(|(tag, _)| language(tag) == language(&wanted)))
        .unwrap_or(&FALLBACK)
}

impl Locale {
    /// The catalogue of a language tag: itself (`pt_br` is `pt-BR`), else one of the same language, else English.
    pub(super) fn find(wanted: &str) -> Result<Self, TemplateError> {
        let (tag, text) = entry_for(wanted);
        let mut locale: Self =
            serde_json::from_str(text).map_err(|source| TemplateError::Catalogue { locale: tag, source })?;
        locale.tag = tag;
        Ok(locale)
    }

    /// The day in words, in UTC: the owner's time zone is not known.
    pub(super) fn day(&self, at: DateTime<Utc>) -> String {
        let month = &self.months[at.month0() as usize];
        self.date
            .replace("{day}", &at.day().to_string())
            .replace("{month}", month)
            .replace("{year}", &at.year().to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::rules::Mail;

    #[test]
    fn a_language_falls_back_to_its_own_and_then_to_english() {
        let cases = [
            ("en", "en"),
            ("en-GB", "en"),
            ("EN_us", "en"),
            ("pt-BR", "pt-BR"),
            ("pt_br", "pt-BR"),
            ("pt", "pt-BR"),
            ("pt-PT", "pt-BR"),
            ("de", "en"),
            ("", "en"),
            ("-", "en"),
        ];
        for (wanted, tag) in cases {
            assert_eq!(Locale::find(wanted).unwrap().tag, tag, "{wanted}");
        }
    }

    #[test]
    fn days_are_written_out() {
        let at = DateTime::from_timestamp(1_793_577_600, 0).unwrap();
        assert_eq!(Locale::find("en").unwrap().day(at), "2 November 2026");
        assert_eq!(Locale::find("pt-BR").unwrap().day(at), "2 de novembro de 2026");
    }

    #[test]
    fn every_catalogue_file_is_listed_and_complete() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/locales");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(files, locales().map(str::to_owned).collect());
        let names: BTreeSet<&str> = Mail::ALL.into_iter().map(Mail::as_str).collect();
        for tag in locales() {
            let locale = Locale::find(tag).unwrap();
            assert_eq!(locale.mails.keys().map(String::as_str).collect::<BTreeSet<_>>(), names, "{tag}");
            assert_eq!(locale.links.keys().collect::<Vec<_>>(), ["app", "invoice", "portal"], "{tag}");
        }
    }
}
