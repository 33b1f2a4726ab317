//! `trigger`: sample events, signed and posted the way Stripe does.

use anyhow::Context as _;
use billing::Clock;
use billing::stripe::Secrets;
use serde_json::{Value, json};

use crate::cli::Usage;
use crate::maker::{Maker, NEWEST, Prices, TYPES, sample_of};
use crate::output;
use crate::sender::Sender;
use crate::settings::{DEVELOPMENT_SECRET, Needs, Settings, Stage};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Types of events, such as invoice.paid; --list names them
    #[arg(required_unless_present = "list")]
    types: Vec<String>,
    /// The workspace that the events are about
    #[arg(long, default_value = "acme")]
    workspace: String,
    /// The Stripe customer [default: one that follows from the workspace]
    #[arg(long)]
    customer: Option<String>,
    /// Where to post [default: http://127.0.0.1:PORT/webhooks/stripe]
    #[arg(long)]
    url: Option<String>,
    /// Changes a field: a dotted path into the event and a value, such as `data.object.attempt_count=3`
    #[arg(long = "set", value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// The shape of the events: from 2025-03-31 on the present one, earlier the old one
    #[arg(long, default_value = NEWEST)]
    api_version: String,
    /// Print the events instead of posting them
    #[arg(long)]
    print: bool,
    /// Name the types that there are
    #[arg(long)]
    list: bool,
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    if args.list {
        return list(args.json);
    }
    let settings = Settings::load(Stage::Development, Needs::default())?;
    let now = Clock::system().now().timestamp();
    let mut maker = Maker {
        api_version: args.api_version.clone(),
        livemode: settings.policy.livemode.unwrap_or(false),
        ..Maker::new(&args.workspace, args.customer.clone(), Prices::of(&settings.policy.catalogue))
    };
    let mut events = Vec::new();
    for kind in &args.types {
        let mut event = sample_of(&mut maker, kind, now).ok_or_else(|| unknown(kind))?;
        for assignment in &args.set {
            assign(&mut event, assignment)?;
        }
        events.push(event);
    }
    if args.print {
        for event in &events {
            output::json(event)?;
        }
        return Ok(());
    }
    let secrets = match settings.webhook_secrets {
        Some(secrets) => secrets,
        None => Secrets::parse(DEVELOPMENT_SECRET).context("the development secret is empty")?,
    };
    let url = args.url.unwrap_or_else(|| format!("http://127.0.0.1:{}/webhooks/stripe", settings.listen.port()));
    let sender = Sender::new(&url, secrets)?;
    let mut answers = Vec::new();
    for event in &events {
        // What was answered so far is shown, whatever becomes of the rest.
        let (status, answer) = match sender.post(&event.to_string(), now).await {
            Ok(answer) => (json!(answer.status), answer.body),
            Err(error) => (Value::Null, json!(format!("{error:#}"))),
        };
        answers.push(json!({"id": event["id"], "type": event["type"], "status": status, "answer": answer}));
    }
    if args.json {
        output::json(&answers)?;
    } else {
        let mut table = output::table(&["event", "type", "HTTP", "answer"]);
        for answer in &answers {
            table.add_row(["id", "type", "status", "answer"].map(|field| match &answer[field] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            }));
        }
        output::print(&table, "nothing was posted")?;
    }
    let refused = answers.iter().filter(|answer| !matches!(answer["status"].as_u64(), Some(200..=299))).count();
    anyhow::ensure!(refused == 0, "{refused} of {} events were not taken", answers.len());
    Ok(())
}

fn list(as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return output::json(
            &TYPES.iter().map(|(kind, what)| json!({"type": kind, "means": what})).collect::<Vec<_>>(),
        );
    }
    let mut table = output::table(&["type", "means"]);
    for (kind, what) in TYPES {
        table.add_row(vec![*kind, *what]);
    }
    output::print(&table, "")
}

/// Names the types that are spelt alike.
fn unknown(kind: &str) -> Usage {
    let last = kind.rsplit('.').next().unwrap_or(kind);
    let near: Vec<&str> = TYPES.iter().map(|(known, _)| *known).filter(|known| known.contains(last)).collect();
    let hint = if near.is_empty() { String::new() } else { format!("; perhaps {}", near.join(" or ")) };
    Usage(format!("there is no sample of {kind:?}{hint}; `billingd trigger --list` names all"))
}

/// Sets a field by `path=value`; the value is JSON, or else a text. Objects on the way are made, lists are not.
fn assign(event: &mut Value, assignment: &str) -> Result<(), Usage> {
    let wrong = |problem: &str| Usage(format!("--set {assignment}: {problem}"));
    let (path, value) = assignment.split_once('=').ok_or_else(|| wrong("has to be PATH=VALUE"))?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    let mut place = event;
    for name in path.split('.') {
        place = match place {
            Value::Array(items) => {
                let length = items.len();
                let index = name.parse().ok().filter(|index: &usize| *index < length);
                index
                    .and_then(|index| items.get_mut(index))
                    .ok_or_else(|| wrong(&format!("{name:?} is no place in a list of {length}")))?
            }
            Value::Object(fields) => fields.entry(name).or_insert(Value::Null),
            empty @ Value::Null => {
                *empty = json!({});
                &mut empty[name]
            }
            _ => return Err(wrong(&format!("there is nothing inside of what comes before {name:?}"))),
        };
    }
    *place = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_set_by_their_path() {
        let mut event = json!({"data": {"object": {"lines": [{"amount": 1}]}}});
        for assignment in
            ["data.object.attempt_count=3", "data.object.lines.0.amount=7", "data.new.deep=text", "livemode=true"]
        {
            assign(&mut event, assignment).unwrap();
        }
        assert_eq!(event["data"]["object"], json!({"lines": [{"amount": 7}], "attempt_count": 3}));
        assert_eq!((&event["data"]["new"]["deep"], &event["livemode"]), (&json!("text"), &json!(true)));
        for wrong in ["nothing", "data.object.lines.9.amount=1", "livemode.x=1"] {
            assert!(assign(&mut event, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_misspelt_type_is_told_what_is_near() {
        assert!(unknown("invoices.paid").0.contains("invoice.paid"));
    }
}
