//! `mail preview | send-test`: how mails look, and whether they leave.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use billing::Clock;
use billing::mail::{MAIL_LIMIT, Message, RenderContext, check_address, render, sample_context, sample_data};
use billing::rules::Mail;

use crate::cli::Usage;
use crate::output;
use crate::process;
use crate::settings::{Needs, Settings, Stage};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Shows a mail with made-up data, or writes its text and its HTML
    Preview {
        #[arg(value_parser = Mail::ALL.map(Mail::as_str))]
        template: String,
        /// Such as en or pt-BR; one that there is not falls back as for real mails
        #[arg(long, default_value = "en")]
        locale: String,
        /// Writes TEMPLATE.LOCALE.txt and .html into this directory
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        #[arg(long)]
        json: bool,
    },
    /// Sends a mail with made-up data by the configured way, at once
    SendTest {
        address: String,
        #[arg(long, default_value = "payment_failed", value_parser = Mail::ALL.map(Mail::as_str))]
        template: String,
        #[arg(long, default_value = "en")]
        locale: String,
    },
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    let settings = Settings::load(Stage::Production, Needs::default())?;
    let templates = process::templates(&settings)?;
    match command {
        Command::Preview { template, locale, out, json } => {
            let mail = known(&template)?;
            let rendered = render(&templates, mail, &sample_data(mail), &context(&settings, &locale))?;
            if let Some(folder) = out {
                let stem = format!("{template}.{}", templates.locale_for(&locale));
                std::fs::create_dir_all(&folder)
                    .with_context(|| format!("the directory {} cannot be made", folder.display()))?;
                let written =
                    [write(&folder, &stem, "txt", &rendered.text)?, write(&folder, &stem, "html", &rendered.html)?];
                if json {
                    return output::json(&serde_json::json!({"subject": rendered.subject, "written": written}));
                }
                output::line(written.map(|path| path.display().to_string()).join("\n"))?;
            } else if json {
                let (subject, text, html) = (rendered.subject, rendered.text, rendered.html);
                return output::json(&serde_json::json!({"subject": subject, "text": text, "html": html}));
            } else {
                let text = rendered.text.trim_end();
                output::line(format_args!("Subject: {}\n\n{text}", rendered.subject))?;
            }
            Ok(())
        }
        Command::SendTest { address, template, locale } => {
            check_address(&address).map_err(|reason| Usage(format!("{address:?} is no e-mail address: {reason}")))?;
            let mail = known(&template)?;
            let rendered = render(&templates, mail, &sample_data(mail), &context(&settings, &locale))?;
            let clock = Clock::system();
            let process = process::context(&settings, process::open(&settings, 1)?, clock.clone())?;
            let message = Message {
                dedupe_key: format!("test:{}", billing::clock::new_id()),
                template: mail,
                to_address: address,
                to_name: None,
                subject: rendered.subject,
                text: rendered.text,
                html: rendered.html,
                unsubscribe: process.links.unsubscribe.as_ref().and_then(|link| link.address(mail, "acme")),
                date: clock.now(),
            };
            process.mailer.send(&message, MAIL_LIMIT).await.context("the mail was not taken")?;
            output::line(format_args!("taken, with the Message-ID <{}@…>", message.digest()))?;
            Ok(())
        }
    }
}

fn known(template: &str) -> Result<Mail, Usage> {
    Mail::parse(template).ok_or_else(|| Usage(format!("there is no mail {template:?}")))
}

/// Made-up data, but the configured links where there are any.
fn context(settings: &Settings, locale: &str) -> RenderContext {
    let sample = sample_context(locale);
    RenderContext {
        app_url: settings.links.app_url.clone().or(sample.app_url),
        portal_url: settings.links.portal_url.clone().or(sample.portal_url),
        ..sample
    }
}

fn write(folder: &Path, stem: &str, kind: &str, text: &str) -> anyhow::Result<PathBuf> {
    let path = folder.join(format!("{stem}.{kind}"));
    std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(path)
}
