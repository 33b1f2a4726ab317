//! Sees that a catalogue is whole and that each of its sentences can be said, whichever of its variants is taken.
//!
//! Functions and references to other messages are refused: without them nothing is left that could fail, or go round in
//! circles, when a mail is about to go. Terms (`{ -brand }`) are how a word is kept in one place.

use std::collections::BTreeSet;

use fluent_bundle::FluentResource;
use fluent_syntax::ast::{
    Attribute, Entry, Expression, Identifier, InlineExpression, Message, Pattern, PatternElement,
};
use fluent_syntax::parser::{ParserError, parse};

use crate::mail::render::{DETAILS, VALUES};
use crate::rules::Mail;

pub(super) const PARAGRAPH: &str = "paragraph-";
pub(super) const DETAIL: &str = "detail-";
const LINKS: [&str; 3] = ["link-invoice", "link-portal", "link-app"];
const NEEDED: [&str; 4] = ["subject", "preheader", "heading", "paragraph-1"];

/// Messages that are one sentence, and what they may speak of beside [`VALUES`] (`true`: those, too).
const SENTENCES: [(&str, &[&str], bool); 8] = [
    ("date", &["day", "month", "year"], false),
    ("money-decimal", &[], false),
    ("money-group", &[], false),
    ("money-symbol", &["code"], false),
    ("money-with-symbol", &["code", "symbol", "number"], false),
    ("money-with-code", &["code", "number"], false),
    ("greeting", &[], true),
    ("footer", &[], true),
];
/// The message whose attributes name the links of mails that do not.
const COMMON_LINKS: &str = "links";

type Fault = (usize, String);

/// The line of a byte, from 1.
pub(super) fn line_at(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// Where the parser stumbled, and over what. It steps back from a broken attribute to the message it belongs to, so that the
/// attribute is read once more, as if it were a message.
pub(super) fn stumbled(text: &str, error: &ParserError) -> Fault {
    let within = error.slice.clone().unwrap_or_else(|| error.pos.clone());
    let junk = text.get(within.clone()).unwrap_or_default();
    let attribute = junk.lines().map(str::trim_start).find_map(|line| line.strip_prefix('.')).and_then(|line| {
        let at = (line.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        let (_, errors) = parse(text.get(at..within.end)?).err()?;
        let deeper = errors.first()?;
        Some((line_at(text, at + deeper.pos.start), deeper.kind.to_string()))
    });
    attribute.unwrap_or_else(|| (line_at(text, error.pos.start), error.kind.to_string()))
}

/// The attributes of a message, in their order.
pub(super) fn parts<'a>(resource: &'a FluentResource, id: &str) -> impl Iterator<Item = &'a str> {
    let found = messages(resource).find(|message| message.id.name == id);
    found.into_iter().flat_map(|message| message.attributes.iter().map(|attribute| attribute.id.name))
}

/// The first thing that is wrong, with its line.
pub(super) fn vet(resource: &FluentResource) -> Result<(), Fault> {
    let catalogue = Catalogue {
        text: resource.source(),
        terms: resource
            .entries()
            .filter_map(|entry| if let Entry::Term(term) = entry { Some(term.id.name) } else { None })
            .collect(),
    };
    for entry in resource.entries() {
        match entry {
            Entry::Message(message) => catalogue.message(message)?,
            // A term knows no values; and none may refer to another, or it could refer to itself.
            Entry::Term(term) => {
                let alone = Catalogue { text: catalogue.text, terms: BTreeSet::new() };
                alone.pattern(&term.value, &term.id, &|_| false)?;
            }
            Entry::Comment(_) | Entry::GroupComment(_) | Entry::ResourceComment(_) | Entry::Junk { .. } => {}
        }
    }
    let known: BTreeSet<&str> = messages(resource).map(|message| message.id.name).collect();
    let wanted = SENTENCES.iter().map(|(id, ..)| *id).chain([COMMON_LINKS]).chain(Mail::ALL.map(Mail::as_str));
    for id in wanted {
        if !known.contains(id) {
            return Err((line_at(catalogue.text, catalogue.text.len()), format!("there is no {id}")));
        }
    }
    Ok(())
}

fn messages(resource: &FluentResource) -> impl Iterator<Item = &Message<&str>> {
    resource.entries().filter_map(|entry| if let Entry::Message(message) = entry { Some(message) } else { None })
}

struct Catalogue<'a> {
    text: &'a str,
    terms: BTreeSet<&'a str>,
}

impl<'a> Catalogue<'a> {
    /// The names are pieces of the text, so where they are in it is known.
    fn fault<T>(&self, at: &str, problem: String) -> Result<T, Fault> {
        let offset = (at.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        Err((line_at(self.text, offset), problem))
    }

    fn message(&self, message: &Message<&'a str>) -> Result<(), Fault> {
        let id = message.id.name;
        if let Some((_, own, values)) = SENTENCES.iter().find(|(known, ..)| *known == id) {
            let Some(pattern) = &message.value else { return self.fault(id, format!("{id} says nothing")) };
            return self.pattern(pattern, &message.id, &|name| own.contains(&name) || (*values && is_value(name)));
        }
        let needed: &[&str] = if id == COMMON_LINKS {
            &LINKS
        } else if Mail::parse(id).is_some() {
            &NEEDED
        } else {
            return self.fault(id, format!("{id} is no mail and nothing else that mails know"));
        };
        message.attributes.iter().try_for_each(|attribute| self.attribute(id, attribute))?;
        let has = |name: &&&str| message.attributes.iter().any(|attribute| attribute.id.name == **name);
        if let Some(missing) = needed.iter().find(|name| !has(name)) {
            return self.fault(id, format!("{id} has no .{missing}"));
        }
        Ok(())
    }

    fn attribute(&self, id: &str, attribute: &Attribute<&'a str>) -> Result<(), Fault> {
        let name = attribute.id.name;
        let detail = name.strip_prefix(DETAIL).is_some_and(|value| DETAILS.contains(&value));
        let of_mail = NEEDED.contains(&name) || name.starts_with(PARAGRAPH) || detail;
        if !LINKS.contains(&name) && (id == COMMON_LINKS || !of_mail) {
            return self.fault(name, format!("{id} has a .{name}, which means nothing"));
        }
        self.pattern(&attribute.value, &attribute.id, &is_value)
    }

    fn pattern(
        &self,
        pattern: &Pattern<&'a str>,
        of: &Identifier<&'a str>,
        may: &dyn Fn(&str) -> bool,
    ) -> Result<(), Fault> {
        pattern.elements.iter().try_for_each(|element| match element {
            PatternElement::TextElement { .. } => Ok(()),
            PatternElement::Placeable { expression } => self.expression(expression, of, may),
        })
    }

    fn expression(
        &self,
        expression: &Expression<&'a str>,
        of: &Identifier<&'a str>,
        may: &dyn Fn(&str) -> bool,
    ) -> Result<(), Fault> {
        match expression {
            Expression::Inline(inline) => self.inline(inline, of, may),
            Expression::Select { selector, variants } => {
                self.inline(selector, of, may)?;
                variants.iter().try_for_each(|variant| self.pattern(&variant.value, of, may))
            }
        }
    }

    fn inline(
        &self,
        inline: &InlineExpression<&'a str>,
        of: &Identifier<&'a str>,
        may: &dyn Fn(&str) -> bool,
    ) -> Result<(), Fault> {
        match inline {
            InlineExpression::StringLiteral { .. } | InlineExpression::NumberLiteral { .. } => Ok(()),
            InlineExpression::VariableReference { id } if may(id.name) => Ok(()),
            InlineExpression::VariableReference { id } => {
                self.fault(id.name, format!("{} speaks of ${}, which it does not know", of.name, id.name))
            }
            InlineExpression::TermReference { id, attribute: None, arguments: None }
                if self.terms.contains(id.name) =>
            {
                Ok(())
            }
            InlineExpression::TermReference { id, .. } => {
                self.fault(id.name, format!("{} refers to -{}, which it cannot", of.name, id.name))
            }
            InlineExpression::MessageReference { id, .. } => {
                self.fault(id.name, format!("{} refers to the message {}; only to terms it may", of.name, id.name))
            }
            InlineExpression::FunctionReference { id, .. } => {
                self.fault(id.name, format!("{} calls {}; there are no functions", of.name, id.name))
            }
            InlineExpression::Placeable { expression } => self.expression(expression, of, may),
        }
    }
}

/// Whether a mail has such a value, or may be asked whether it has it.
fn is_value(name: &str) -> bool {
    VALUES.contains(&name)
        || name.strip_prefix("has_").is_some_and(|value| DETAILS.contains(&value) || value == "recipient")
}
