//! `workspaces mail`: who is written to about a workspace, and what it does not want.

use anyhow::Context as _;
use billing::mail::check_address;
use billing::rules::Mail;
use billing::store::{self, Recipient};
use billing::{Clock, Db};
use serde::Serialize;

use crate::cli::Usage;
use crate::output::{self, or_dash};

#[derive(clap::Args)]
pub(crate) struct Args {
    id: String,
    /// Writes to this address, too
    #[arg(long, value_name = "ADDRESS")]
    add_recipient: Vec<String>,
    /// Takes an address that was added off again
    #[arg(long, value_name = "ADDRESS")]
    remove_recipient: Vec<String>,
    /// Ends these mails; only such as are not essential: `payment_succeeded`, `credits_granted`, `trial_ending`
    #[arg(long, value_name = "TEMPLATE")]
    opt_out: Vec<String>,
    /// Takes these mails up again
    #[arg(long, value_name = "TEMPLATE")]
    opt_in: Vec<String>,
    #[arg(long)]
    json: bool,
}

/// Who gets mail, and which not.
#[derive(Serialize)]
pub(crate) struct MailView {
    pub(crate) recipients: Vec<Recipient>,
    pub(crate) opted_out: Vec<String>,
}

pub(crate) async fn run(db: &Db, clock: &Clock, args: Args) -> anyhow::Result<()> {
    for address in &args.add_recipient {
        check_address(address).map_err(|reason| Usage(format!("{address:?} is no e-mail address: {reason}")))?;
    }
    for template in args.opt_out.iter().chain(&args.opt_in) {
        optional(template)?;
    }
    store::find_workspace(db, &args.id)
        .await?
        .with_context(|| format!("there is no workspace {:?}; `billingd workspaces list` shows them", args.id))?;
    let now = clock.now();
    let mut tx = db.begin().await?;
    store::add_recipients(&mut tx, &args.id, &args.add_recipient, now).await?;
    let removed = store::remove_recipients(&mut tx, &args.id, &args.remove_recipient).await?;
    anyhow::ensure!(
        removed == args.remove_recipient.len() as u64,
        "not all of the addresses to remove had been added, so nothing was changed; owner and members get mail by their role"
    );
    store::opt_out(&mut tx, &args.id, &args.opt_out, now).await?;
    store::opt_in(&mut tx, &args.id, &args.opt_in).await?;
    tx.commit().await?;
    let view = view(db, &args.id).await?;
    if args.json {
        return output::json(&view);
    }
    let mut table = output::table(&["address", "because", "locale", "suppressed"]);
    for one in &view.recipients {
        let (locale, suppressed) = (or_dash(one.locale.as_deref()), or_dash(one.suppressed.as_deref()));
        table.add_row(vec![one.address.clone(), one.because.clone(), locale, suppressed]);
    }
    output::print(&table, "nobody is written to; `billingd workspaces put ID --owner-email …` names the owner")?;
    if !view.opted_out.is_empty() {
        output::line(format_args!("not wanted: {}", view.opted_out.join(", ")))?;
    }
    Ok(())
}

pub(crate) async fn view(db: &Db, id: &str) -> anyhow::Result<MailView> {
    let mut tx = db.begin().await?;
    let recipients = store::recipients_of(&mut tx, &[id]).await?;
    drop(tx);
    Ok(MailView { recipients, opted_out: store::opt_outs_of(db, id).await? })
}

fn optional(template: &str) -> Result<(), Usage> {
    let list = |essential: bool| {
        let names = Mail::ALL.into_iter().filter(|mail| mail.is_essential() == essential).map(Mail::as_str);
        names.collect::<Vec<_>>().join(", ")
    };
    match Mail::parse(template) {
        Some(mail) if mail.is_essential() => {
            Err(Usage(format!("{template} tells what is owed or lost and cannot be ended; {} can", list(false))))
        }
        Some(_) => Ok(()),
        None => Err(Usage(format!("there is no mail {template:?}; there are {}, {}", list(false), list(true)))),
    }
}
