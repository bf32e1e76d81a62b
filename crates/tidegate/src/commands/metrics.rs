//! `tidegate metrics`: what a server tells at /metrics.

use clap::Args;
use serde_json::json;

use crate::output::{self, Format};
use crate::platform::metrics::{Described, described, markdown};

/// List the metrics that a server tells at /metrics, and what each says
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate metrics
  tidegate metrics --format json")]
pub(crate) struct MetricsArgs {
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// As the table of the reference
    #[arg(long, conflicts_with = "format")]
    markdown: bool,
}

pub(crate) fn run(args: &MetricsArgs) -> anyhow::Result<bool> {
    if args.markdown {
        output::text(&markdown())?;
        return Ok(true);
    }
    let mut rows = output::stdout(args.format, ["metric", "type", "unit", "meaning"].map(str::to_owned).into())?;
    for Described { name, kind, unit, meaning } in described() {
        if !rows.write(vec![json!(name), json!(kind), json!(unit), json!(meaning)])? {
            break;
        }
    }
    rows.finish()?;
    Ok(true)
}
