//! Events a second, and how long each answer takes.

use clap::Args;

use super::Target;
use super::load::{self, LoadArgs};
use super::report::{Report, ReportArgs};
use crate::commands::say;

#[derive(Debug, Args)]
pub(super) struct IngestArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    report: ReportArgs,
}

pub(super) async fn run(args: IngestArgs) -> anyhow::Result<()> {
    let mut report = Report::begin("ingest", args.load.settings(&args.target));
    let measured = Box::pin(load::run(&args.target, &args.load, None)).await?;
    measured.tell(&mut report);
    args.report.tell(&report, Some(&measured.seen.answers))?;
    if let Some(error) = measured.error() {
        say(&format!("the first error: {error}"));
    }
    Ok(())
}
