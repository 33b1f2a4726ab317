//! The languages mails are written in: one catalogue file each, with its words, dates and money.
//!
//! A new language is a new file in Project Fluent's syntax, in `templates/locales` here or in `locales` of the operator's
//! own directory; its plural rules are Unicode's for that language tag.

mod vet;

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Datelike, Utc};
use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource};

use super::TemplateError;
use super::money::MoneyStyle;
use crate::rules::Mail;

/// Every embedded catalogue by its language tag (BCP 47). The first is read by everybody whose language has none, unless
/// the operator names another.
pub(super) const FILES: [(&str, &str); 2] = [
    ("en", include_str!("../../templates/locales/en.ftl")),
    ("pt-BR", include_str!("../../templates/locales/pt-BR.ftl")),
];

/// A catalogue. Its texts are plain text, never HTML.
pub(super) struct Locale {
    pub(super) tag: String,
    pub(super) money: MoneyStyle,
    bundle: FluentBundle<FluentResource>,
    /// Which paragraphs and details each mail has, by [`Mail::as_str`].
    mails: BTreeMap<&'static str, Shape>,
}

/// The parts of a mail, as names of attributes and in the file's order.
#[derive(Debug, Default)]
struct Shape {
    paragraphs: Vec<String>,
    /// With the name of the value that is shown.
    details: Vec<(String, String)>,
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
    /// Reads a catalogue and looks at every sentence of it; `file` is what an error names, beside the line.
    pub(super) fn parse(tag: &str, text: &str, file: &str) -> Result<Self, TemplateError> {
        let fault = |line: usize, problem: String| TemplateError::Catalogue { file: file.to_owned(), line, problem };
        let language = tag.parse().map_err(|_| fault(1, format!("the file's name {tag:?} is no language tag")))?;
        let resource = FluentResource::try_new(text.to_owned()).map_err(|(_, errors)| {
            let (line, problem) = errors.first().map_or((1, String::new()), |error| vet::stumbled(text, error));
            fault(line, problem)
        })?;
        vet::vet(&resource).map_err(|(line, problem)| fault(line, problem))?;
        let mails = Mail::ALL.into_iter().map(|mail| (mail.as_str(), shape(&resource, mail.as_str()))).collect();
        let mut bundle = FluentBundle::new_concurrent(vec![language]);
        // The marks around values are for screens that mix directions; in a subject they show, or look like an attack.
        bundle.set_use_isolating(false);
        bundle
            .add_resource(resource)
            .map_err(|errors| fault(1, errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
        let mut locale = Self { tag: tag.to_owned(), money: MoneyStyle::default(), bundle, mails };
        locale.money =
            MoneyStyle { decimal: locale.message("money-decimal", None), group: locale.message("money-group", None) };
        Ok(locale)
    }

    /// The text of a message that is no mail. Empty where there is none, which [`vet`] does not let happen.
    pub(super) fn message(&self, id: &str, values: Option<&FluentArgs<'_>>) -> String {
        self.say(id, None, values).unwrap_or_default()
    }

    /// A part of a mail; of the links also their common name. `None`: the mail has no such part.
    pub(super) fn part(&self, mail: &str, part: &str, values: &FluentArgs<'_>) -> Option<String> {
        self.say(mail, Some(part), Some(values))
    }

    pub(super) fn paragraphs(&self, mail: Mail) -> impl Iterator<Item = &str> {
        self.mails[mail.as_str()].paragraphs.iter().map(String::as_str)
    }

    /// Part, and the name of the value it shows.
    pub(super) fn details(&self, mail: Mail) -> impl Iterator<Item = (&str, &str)> {
        self.mails[mail.as_str()].details.iter().map(|(part, value)| (part.as_str(), value.as_str()))
    }

    fn say(&self, id: &str, part: Option<&str>, values: Option<&FluentArgs<'_>>) -> Option<String> {
        let message = self.bundle.get_message(id)?;
        let pattern = match part {
            Some(part) => message.get_attribute(part)?.value(),
            None => message.value()?,
        };
        let mut errors = Vec::new();
        let text = self.bundle.format_pattern(pattern, values, &mut errors).into_owned();
        if !errors.is_empty() {
            // Every reference was looked up when the file was read.
            tracing::error!(locale = self.tag, mail = id, ?errors, "a sentence of a mail cannot be put together");
        }
        Some(text)
    }

    /// The day in words, in UTC: the owner's time zone is not known.
    pub(super) fn day(&self, at: DateTime<Utc>) -> String {
        let mut values = FluentArgs::new();
        values.set("day", at.day());
        values.set("month", at.month());
        values.set("year", at.year());
        super::one_line(&self.message("date", Some(&values)))
    }

    /// An amount in its currency's minor unit: `$49.00`, `R$ 49,00`, `CAD 49.00`. `currency` is an ISO 4217 code in any
    /// case.
    pub(super) fn amount(&self, amount: i64, currency: &str) -> String {
        let code = currency.trim().to_ascii_uppercase();
        let mut values = FluentArgs::new();
        values.set("number", self.money.number(amount.unsigned_abs(), &code));
        values.set("code", code);
        let symbol = self.message("money-symbol", Some(&values));
        let text = if symbol.is_empty() {
            self.message("money-with-code", Some(&values))
        } else {
            values.set("symbol", symbol);
            self.message("money-with-symbol", Some(&values))
        };
        if amount < 0 { format!("-{text}") } else { text }
    }
}

fn shape(resource: &FluentResource, mail: &str) -> Shape {
    let mut shape = Shape::default();
    for part in vet::parts(resource, mail) {
        if part.starts_with(vet::PARAGRAPH) {
            shape.paragraphs.push(part.to_owned());
        } else if let Some(value) = part.strip_prefix(vet::DETAIL) {
            shape.details.push((part.to_owned(), value.to_owned()));
        }
    }
    shape
}

impl fmt::Debug for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locale").field("tag", &self.tag).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
