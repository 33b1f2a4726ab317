//! From a template's name and the data of its cause to a subject, a text and an HTML page.
//!
//! A catalogue's words are rendered first, as plain text; the layouts put the results in their places. So only the two
//! layouts know the formats, and everything a person or Stripe wrote passes the HTML layout's escaping exactly once.

mod view;

pub(super) use self::view::{DETAILS, VALUES};

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use minijinja::value::Value as Slot;
use minijinja::{AutoEscape, Environment, Output, State, UndefinedBehavior, context};
use serde_json::Value;

use self::view::View;
use super::locale::Locale;
use super::one_line;
use super::templates::{TemplateError, Templates};
use crate::rules::Mail;

/// What a mail needs to know beside its cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RenderContext {
    pub workspace_name: String,
    /// `None` or blank: greeted without a name.
    pub recipient_name: Option<String>,
    /// Said at the foot: the owner, or another billing contact.
    pub is_owner: bool,
    /// A BCP 47 tag; an unknown one falls back to its language, then to English.
    pub locale: String,
    /// Name of the plan that `data.plan` names by its id. `None`: the id itself is shown.
    pub plan_name: Option<String>,
    /// The product's own address, `APP_URL`. `None`: no link to it. Only `http(s)` is taken, here as below.
    pub app_url: Option<String>,
    /// Stripe's customer portal, `STRIPE_CUSTOMER_PORTAL_URL`. `None`: no link to it.
    pub portal_url: Option<String>,
    /// The moment of sending: a day that has passed by then is not announced.
    pub now: DateTime<Utc>,
}

/// A mail's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// One line.
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// Writes the mail `template`. A value that `data` lacks, or has in another shape, is left out of the sentences; amounts
/// are in the currency's minor unit and times in Unix seconds, shown as days in UTC.
pub fn render(
    templates: &Templates,
    template: Mail,
    data: &Value,
    context: &RenderContext,
) -> Result<Rendered, TemplateError> {
    let missing = |locale: &str| TemplateError::Missing { locale: locale.to_owned(), template: template.as_str() };
    let locale = templates.locale(&context.locale).ok_or_else(|| missing(&context.locale))?;
    let view = View::new(template, data, context, locale);
    write(templates, &view, template, locale).map_err(|cause| TemplateError::Render {
        locale: locale.tag.clone(),
        template: template.as_str(),
        cause,
    })
}

fn write(templates: &Templates, view: &View, mail: Mail, locale: &Locale) -> Result<Rendered, minijinja::Error> {
    let layouts = environment(templates)?;
    let values = view.values();
    let message = |id: &str| one_line(&locale.message(id, Some(&values)));
    let part = |part: &str| locale.part(mail.as_str(), part, &values).map(|text| one_line(&text));
    let needed = |name: &str| part(name).unwrap_or_default();

    let paragraphs: Vec<String> =
        locale.paragraphs(mail).map(needed).filter(|paragraph| !paragraph.is_empty()).collect();
    let mut details = Vec::new();
    for (name, value) in locale.details(mail) {
        if let Some(value) = view.shown(value) {
            details.push(context! { name => needed(name), value });
        }
    }
    let mut links = Vec::new();
    for (kind, url) in &view.links {
        let name = format!("link-{kind}");
        let name = part(&name).or_else(|| locale.part("links", &name, &values).map(|text| one_line(&text)));
        links.push(context! { name, url });
    }
    let subject = needed("subject");
    let slots = context! {
        language => locale.tag,
        workspace_name => view.workspace_name,
        subject,
        preheader => needed("preheader"),
        heading => needed("heading"),
        greeting => message("greeting"),
        footer => message("footer"),
        paragraphs,
        details,
        links,
    };
    let text = layouts.get_template("layout.txt")?.render(&slots)?;
    let html = layouts.get_template("layout.html")?.render(&slots)?;
    Ok(Rendered { subject, text, html })
}

/// Made anew for each mail: two small layouts take far less time to read than the mail takes to send.
fn environment(templates: &Templates) -> Result<Environment<'_>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_keep_trailing_newline(true);
    environment.set_formatter(escaped);
    for (name, text) in &templates.layouts {
        environment.add_template(name, text)?;
    }
    Ok(environment)
}

/// Escapes for HTML text and quoted attributes. The engine's own way also escapes `/`, which makes every link in a mail's
/// source unreadable and confuses scanners that look for links; a slash means nothing between quotes.
fn escaped(out: &mut Output<'_>, state: &State<'_, '_>, value: &Slot) -> Result<(), minijinja::Error> {
    if !matches!(state.auto_escape(), AutoEscape::Html) {
        return minijinja::escape_formatter(out, state, value);
    }
    for c in value.to_string().chars() {
        match c {
            '&' => out.write_str("&amp;")?,
            '<' => out.write_str("&lt;")?,
            '>' => out.write_str("&gt;")?,
            '"' => out.write_str("&quot;")?,
            '\'' => out.write_str("&#39;")?,
            c => out.write_char(c)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
