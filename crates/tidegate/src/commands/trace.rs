//! `tidegate trace`: the way of one event.

use clap::Args;
use pipeline::trace::{Step, trace};
use serde_json::json;

use super::{LakeArgs, say};
use crate::output::{self, Format};

/// Tell where an event is: each record of it, what was decided about each, and where it counts
///
/// Looks through Bronze, the dead letters, Silver and Gold, of all sources, also while a server runs. Exit code 1 when no table has it.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tidegate trace 019ac0de-1234-7abc-8def-0123456789ab")]
pub(crate) struct TraceArgs {
    /// The event's id, as the client sent it or the gate answered it
    #[arg(value_name = "EVENT_ID")]
    event_id: String,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    lake: LakeArgs,
}

pub(crate) async fn run(args: TraceArgs) -> anyhow::Result<bool> {
    let (lake, settings) = args.lake.open_with_settings().await?;
    let steps = trace(&lake, &settings.pipeline.models()?, &args.event_id).await?;
    let mut rows = output::stdout(args.format, ["table", "source", "journal", "received_at", "what"].map(str::to_owned).into())?;
    for Step { table, source, journal, received_at, what } in &steps {
        if !rows.write(vec![json!(table), json!(source), json!(journal), json!(received_at), json!(what)])? {
            break;
        }
    }
    rows.finish()?;
    if steps.is_empty() {
        say(&format!(
            "error: no table has an event {}: it was never taken, or it is still in the journal (a server's /readyz and `tidegate audit` tell whether the stages are behind)",
            args.event_id
        ));
    }
    Ok(!steps.is_empty())
}
