//! The languages mails are written in: one catalogue file each, with its words, dates and money.
//!
//! A new language is a new file, in `templates/locales` here or in `locales` of the operator's own directory.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Utc};
use serde::Deserialize;

use super::TemplateError;
use super::money::MoneyStyle;

/// Every embedded catalogue by its language tag (BCP 47). The first is read by everybody whose language has none, unless
/// the operator names another.
pub(super) const FILES: [(&str, &str); 2] = [
    ("en", include_str!("../../templates/locales/en.json")),
    ("pt-BR", include_str!("../../templates/locales/pt-BR.json")),
];

/// A catalogue. Its texts are plain text (never HTML) and may use the values of a mail as `{{ value }}` and `{% if %}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Locale {
    #[serde(skip)]
    pub(super) tag: String,
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

/// The catalogue of a language tag: itself (`pt_br` is `pt-BR`), else one of the same language.
pub(super) fn find<'a>(locales: &'a [Locale], wanted: &str) -> Option<&'a Locale> {
    let wanted = wanted.trim().replace('_', "-");
    let language = |tag: &str| tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
    locales
        .iter()
        .find(|locale| locale.tag.eq_ignore_ascii_case(&wanted))
        .or_else(|| locales.iter().find(|locale| language(&locale.tag) == language(&wanted)))
}

impl Locale {
    /// Reads a catalogue; `file` is what an error names.
    pub(super) fn parse(tag: &str, text: &str, file: &str) -> Result<Self, TemplateError> {
        let mut locale: Self =
            serde_json::from_str(text).map_err(|cause| TemplateError::Catalogue { file: file.to_owned(), cause })?;
        tag.clone_into(&mut locale.tag);
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

    fn embedded() -> Vec<Locale> {
        FILES.iter().map(|(tag, text)| Locale::parse(tag, text, tag).unwrap()).collect()
    }

    #[test]
    fn a_language_falls_back_to_its_own() {
        let locales = embedded();
        let cases = [
            ("en", Some("en")),
            ("en-GB", Some("en")),
            ("EN_us", Some("en")),
            ("pt-BR", Some("pt-BR")),
            ("pt_br", Some("pt-BR")),
            ("pt", Some("pt-BR")),
            ("pt-PT", Some("pt-BR")),
            ("de", None),
            ("", None),
            ("-", None),
        ];
        for (wanted, tag) in cases {
            assert_eq!(find(&locales, wanted).map(|locale| locale.tag.as_str()), tag, "{wanted}");
        }
    }

    #[test]
    fn days_are_written_out() {
        let at = DateTime::from_timestamp(1_793_577_600, 0).unwrap();
        let days: Vec<String> = embedded().iter().map(|locale| locale.day(at)).collect();
        assert_eq!(days, ["2 November 2026", "2 de novembro de 2026"]);
    }

    #[test]
    fn every_catalogue_file_is_listed_and_complete() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/locales");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(files, FILES.iter().map(|(tag, _)| (*tag).to_owned()).collect());
        let names: BTreeSet<&str> = Mail::ALL.into_iter().map(Mail::as_str).collect();
        for locale in embedded() {
            let tag = &locale.tag;
            assert_eq!(locale.mails.keys().map(String::as_str).collect::<BTreeSet<_>>(), names, "{tag}");
            assert_eq!(locale.links.keys().collect::<Vec<_>>(), ["app", "invoice", "portal"], "{tag}");
        }
    }
}
