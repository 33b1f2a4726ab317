//! `check`: every setting and every connection, and all that is wrong with them at once.

use std::time::Duration;

use billing::mail::{render, sample_context, sample_data};
use billing::rules::Mail;
use billing::store::{SchemaState, schema_state};
use serde::Serialize;

use crate::output;
use crate::process;
use crate::settings::{Needs, Settings, Stage};

/// How long a connection may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    says: String,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let needs = Needs { webhook_secret: true, ..Needs::default() };
    let (settings, checked) = Settings::load_with_problems(Stage::Production, needs)?;
    let (database, mail, stripe) = tokio::join!(database(&settings), mail(&settings), stripe(&settings));
    let well_formed = checked.as_ref().map(|()| "well-formed".to_owned()).map_err(ToString::to_string);
    let mut findings = vec![finding("settings", well_formed)];
    findings.push(prices(&settings));
    findings.push(templates(&settings));
    findings.extend([database, mail, stripe]);
    let wrong = findings.iter().filter(|finding| !finding.ok).count();
    if args.json {
        output::json(&findings)?;
    } else {
        let mut table = output::table(&["check", "result", "says"]);
        for finding in findings {
            let result = output::status(if finding.ok { "ok" } else { "wrong" });
            table.add_row(vec![finding.what.into(), result, finding.says.into()]);
        }
        output::print(&table, "")?;
    }
    checked?;
    anyhow::ensure!(wrong == 0, "{wrong} of the checks found something wrong");
    Ok(())
}

fn finding(what: &'static str, result: Result<String, String>) -> Finding {
    let ok = result.is_ok();
    Finding { what, ok, says: result.unwrap_or_else(|problem| problem) }
}

fn prices(settings: &Settings) -> Finding {
    let without: Vec<&str> = settings
        .policy
        .catalogue
        .plans()
        .iter()
        .filter(|plan| plan.prices.is_empty())
        .map(|plan| plan.id.as_str())
        .collect();
    finding(
        "plans",
        if without.is_empty() {
            Ok(format!("{} plans, all with prices", settings.policy.catalogue.plans().len()))
        } else {
            Err(format!(
                "no price means the plans {}: set their PAYMENTS_… variables or their prices",
                without.join(", ")
            ))
        },
    )
}

/// Every mail in every language, with made-up data.
fn templates(settings: &Settings) -> Finding {
    let rendered = process::templates(settings).and_then(|templates| {
        let locales: Vec<&str> = templates.locales().collect();
        for locale in &locales {
            for mail in Mail::ALL {
                render(&templates, mail, &sample_data(mail), &sample_context(locale))?;
            }
        }
        Ok(format!("{} mails in {}", Mail::ALL.len(), locales.join(", ")))
    });
    finding("templates", rendered.map_err(|error| error.to_string()))
}

async fn within<T>(
    what: &'static str,
    check: impl Future<Output = Result<T, String>>,
    says: impl FnOnce(T) -> Result<String, String>,
) -> Finding {
    let answer = tokio::time::timeout(PATIENCE, check).await;
    let late = || format!("did not answer within {} s", PATIENCE.as_secs());
    finding(what, answer.unwrap_or_else(|_| Err(late())).and_then(says))
}

async fn database(settings: &Settings) -> Finding {
    let check = async {
        let db = process::open(settings, 1).map_err(|error| format!("{error:#}"))?;
        let state = schema_state(&db).await.map_err(|error| format!("does not answer: {error}"))?;
        db.close().await;
        Ok((db.engine_name(), state))
    };
    within("database", check, |(engine, state)| match state {
        SchemaState::Current | SchemaState::Ahead { .. } => Ok(format!("{engine} answers; {state}")),
        state => Err(format!("{engine} answers, but {state}")),
    })
    .await
}

async fn mail(settings: &Settings) -> Finding {
    let mailer = match process::mailer(settings) {
        Ok(mailer) => mailer,
        Err((name, problem)) => return finding("mail", Err(format!("{name}: {problem}"))),
    };
    if settings.smtp_url.is_none() || settings.mail_from.is_none() {
        return finding(
            "mail",
            Err("SMTP_URL and MAIL_FROM are not both set: mail is only written to ./outbox".to_owned()),
        );
    }
    let signs = settings.dkim.as_ref().map(|dkim| format!("; signs for {}", dkim.domain)).unwrap_or_default();
    let check = async { mailer.check().await.map_err(|error| error.to_string()) };
    within("mail", check, |says| Ok(says + &signs)).await
}

async fn stripe(settings: &Settings) -> Finding {
    let Some(key) = &settings.stripe_api_key else {
        let says = "no STRIPE_API_KEY: what events do not tell cannot be asked";
        return finding("stripe", Ok(says.to_owned()));
    };
    let check = async {
        let stripe =
            billing::stripe::Stripe::new(&key.0, settings.stripe_api_base.as_deref(), settings.stripe_reads_per_second)
                .map_err(|error| error.to_string())?;
        stripe.check().await.map_err(|error| error.to_string())
    };
    within("stripe", check, |()| Ok("the key works".to_owned())).await
}
