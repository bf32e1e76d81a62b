//! `tidegate expire`: what is no longer to be kept, taken out now.

use clap::Args;
use contract::Timestamp;
use pipeline::retention::{self, Expired};
use serde_json::{Value, json};
use telemetry::clock::{Clock as _, SystemClock};

use super::spinner::Spinner;
use super::{LakeArgs, say};
use crate::acts;
use crate::output::{self, Format};

/// Take out of the tables what is older than the settings say
///
/// How long rows are kept is said by pipeline.retention.bronze, silver, dead_letters and gold, such as "400days"; without one, for ever. A running server does this by itself, every
/// pipeline.cleaning_interval. Rows go by whole days; the books go on to balance, and say what went. The files are deleted once lake.file_retention is over.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  TIDEGATE_PIPELINE__RETENTION__SILVER=400days tidegate expire --dry-run
  tidegate expire")]
pub(crate) struct ExpireArgs {
    /// Tell what would go, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    lake: LakeArgs,
}

pub(crate) async fn run(args: ExpireArgs) -> anyhow::Result<bool> {
    let (lake, settings) = args.lake.open_with_settings().await?;
    let spinner = Spinner::new();
    spinner.say("looking at what is no longer to be kept");
    let now = Timestamp(SystemClock.now_micros());
    let act = if args.dry_run { None } else { Some(acts::tell(&settings, None, "expire", "the lake", Value::Null)?) };
    let expired = retention::expire(&lake, &settings.pipeline, now, args.dry_run).await;
    let expired = match act {
        Some(act) => act.done(expired),
        None => expired,
    };
    spinner.end();
    let expired = expired?;
    let columns = ["table", "kept from", "days", "files", "rows", "bytes"];
    let mut rows = output::stdout(args.format, output::heads(args.format, columns))?;
    for Expired { table, kept_from, days, files, rows: of_table, bytes } in &expired {
        let numbers = [*days, *files, *of_table, *bytes].map(Value::from);
        rows.write([json!(table), json!(kept_from)].into_iter().chain(numbers).collect())?;
    }
    rows.finish()?;
    if settings.pipeline.retention == retention::Retention::default() {
        say("everything is kept for ever: set pipeline.retention.bronze, silver, dead_letters or gold, such as \"400days\"");
    } else if args.dry_run && !expired.is_empty() {
        say("nothing was changed");
    }
    Ok(true)
}
