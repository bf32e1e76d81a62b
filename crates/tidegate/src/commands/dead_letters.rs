//! `tidegate dead-letters`: what could not be accepted or understood, and why.

use clap::Args;
use contract::Timestamp;
use pipeline::recovery::{self, Filter};

use super::LakeArgs;
use crate::output::{Format, batches};

/// List what could not be accepted or understood, with the reason
///
/// Nothing that a known source sent is thrown away: what broke the tracking plan or could not be read is kept, whole, with what was wrong with it. Once plan or code are mended,
/// `tidegate recover` puts it through again; the column in_silver says which events have made it since.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate dead-letters --summary
  tidegate dead-letters --source web --reason wrong_type --from 2026-11-01 --payload
  tidegate dead-letters --format ndjson --limit 100000 > letters.ndjson")]
pub(crate) struct DeadLettersArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Count them by source, stage and reason instead
    #[arg(long, conflicts_with_all = ["limit", "payload"])]
    summary: bool,
    /// The newest so many
    #[arg(long, default_value_t = 100, value_name = "ROWS")]
    limit: usize,
    /// Show the events as they came
    #[arg(long)]
    payload: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    lake: LakeArgs,
}

/// Which dead letters are meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct FilterArgs {
    /// Of this source; may be given more than once
    #[arg(long, value_name = "NAME")]
    source: Vec<String>,
    /// With this reason, such as wrong_type; may be given more than once
    #[arg(long, value_name = "CODE")]
    reason: Vec<String>,
    /// With this field at fault, such as /properties/price; may be given more than once
    #[arg(long, value_name = "POINTER")]
    field: Vec<String>,
    /// From this stage: gate (refused, the client was told so), bronze (no receipt), plan (quarantined), silver (not to be decoded); may be given more than once
    #[arg(long, value_name = "STAGE", value_parser = ["gate", "bronze", "plan", "silver"])]
    stage: Vec<String>,
    /// With this event id; may be given more than once
    #[arg(long, value_name = "EVENT_ID")]
    id: Vec<String>,
    /// Received at or after this day or time
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// Received before this day or time
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
}

impl FilterArgs {
    pub(crate) fn filter(self) -> Filter {
        let Self { source, reason, field, stage, id, from, to } = self;
        Filter { sources: source, codes: reason, fields: field, stages: stage, event_ids: id, from, to }
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    let wrong = |_| "give a day such as 2026-11-23 or a time such as 2026-11-23T10:00:00Z".to_owned();
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    contract::time::parse_text(&whole).map_err(wrong)
}

pub(crate) async fn run(args: DeadLettersArgs) -> anyhow::Result<bool> {
    let lake = args.lake.open().await?;
    let filter = args.filter.filter();
    let rows = if args.summary {
        recovery::summary(&lake, &filter).await?
    } else {
        recovery::list(&lake, &filter, args.limit, args.payload).await?
    };
    batches::print(rows, args.format).await?;
    Ok(true)
}
