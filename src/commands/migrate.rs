//! `migrate`: our tables and the queue's.

use billing::store::schema_state;

use crate::output;
use crate::process;
use crate::settings::{Needs, Settings, Stage};
use crate::telemetry;

pub(crate) async fn run() -> anyhow::Result<()> {
    let settings = Settings::load(Stage::Production, Needs::default())?;
    telemetry::start_logs(&settings);
    let db = process::open(&settings, 2)?;
    let before = jobs::migrate(&db, &settings.database_schema).await?;
    let after = schema_state(&db).await?;
    output::line(if before == after { format!("{after}; nothing to do") } else { format!("migrated: {after}") })?;
    db.close().await;
    Ok(())
}
