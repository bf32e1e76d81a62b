//! `tidegate restore`: what other programs did to a table, taken back.

use anyhow::{anyhow, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use lake::Lake;
use pipeline::care::{self, Restored, Since};
use serde_json::{Value, json};

use super::{LakeArgs, say};
use crate::acts;
use crate::output::{self, Format};

/// Versions that are listed.
const VERSIONS_MAX: usize = 50;

/// Take back what other programs did to a table since a version or a time
///
/// Rows that were deleted or overwritten by hand or by another engine come back, rows that were added so go. What Tidegate's stages committed since stays, with its progress, so the books balance as
/// before. It works as long as the files are there (lake.file_retention, a day by default). Without --version or --time the versions are listed, with who made them. A table of Silver or
/// Gold that is beyond that is made anew from Bronze: `tidegate replay --cut-over`, `tidegate gold run --anew`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate restore silver.events                                     the versions there are
  tidegate restore silver.events --version 120 --dry-run
  tidegate restore bronze.events --time 2026-11-23T10:00:00Z")]
pub(crate) struct RestoreArgs {
    /// The table
    table: String,
    /// Take back what came after this version
    #[arg(long, value_name = "N", conflicts_with = "time", value_parser = clap::value_parser!(i64).range(0..))]
    version: Option<i64>,
    /// Take back what came after this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    time: Option<DateTime<Utc>>,
    /// Tell what would come back and what would go, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    lake: LakeArgs,
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let time = contract::time::parse_text(text).map_err(|_| "give a time such as 2026-11-23T10:00:00Z".to_owned())?;
    DateTime::from_timestamp_micros(time.micros()).ok_or_else(|| "this time is out of all bounds".to_owned())
}

pub(crate) async fn run(args: RestoreArgs) -> anyhow::Result<bool> {
    let (lake, settings) = args.lake.open_with_settings().await?;
    let since = match (args.version, args.time) {
        (Some(version), _) => Since::Version(version),
        (None, Some(time)) => Since::Time(time),
        (None, None) if args.dry_run => bail!("say up to when with --version or --time"),
        (None, None) => return list(&lake, &args).await,
    };
    let act = if args.dry_run { None } else { Some(acts::tell(&settings, None, "restore", &args.table, Value::Null)?) };
    let restored = care::restore(&lake, &args.table, since, args.dry_run).await;
    let restored = match act {
        Some(act) => act.done(restored),
        None => restored,
    }?;
    print(&args, &restored)?;
    match (&restored.made, restored.restoration.versions.is_empty()) {
        (Some(version), _) => {
            say(&format!("{} stands at version {version} now; tables of Gold that read it are made anew by the server", args.table))
        }
        (None, true) => say(&format!("no other program has changed {} since version {}", args.table, restored.since)),
        (None, false) => say("nothing was changed"),
    }
    Ok(true)
}

async fn list(lake: &Lake, args: &RestoreArgs) -> anyhow::Result<bool> {
    let missing = || anyhow!("the lake at {} has no table {}", lake.location(), args.table);
    let mut table = lake.reader(&args.table).await?.ok_or_else(missing)?;
    let columns = ["version", "made at", "what", "by", "rows added", "files added", "files removed"];
    let mut rows = output::stdout(args.format, output::heads(args.format, columns))?;
    for version in table.history(VERSIONS_MAX).await? {
        let lake::Version { number, made_at, what, by, rows_added, files_added, files_removed, engine: _ } = version;
        let made_at = made_at.map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
        let by = by.unwrap_or_else(|| "tidegate".to_owned());
        rows.write(vec![
            json!(number),
            json!(made_at),
            json!(what),
            json!(by),
            json!(rows_added),
            json!(files_added),
            json!(files_removed),
        ])?;
    }
    rows.finish()?;
    Ok(true)
}

fn print(args: &RestoreArgs, restored: &Restored) -> anyhow::Result<()> {
    let columns = ["table", "since version", "versions taken back", "rows back", "files back", "rows out", "files out"];
    let mut rows = output::stdout(args.format, output::heads(args.format, columns))?;
    let lake::Restoration { versions, files_back, rows_back, files_out, rows_out } = &restored.restoration;
    let versions: Vec<String> = versions.iter().map(i64::to_string).collect();
    let numbers = [rows_back, files_back, rows_out, files_out].map(|number| json!(number));
    rows.write([json!(args.table), json!(restored.since), json!(versions.join(", "))].into_iter().chain(numbers).collect())?;
    rows.finish()?;
    Ok(())
}
