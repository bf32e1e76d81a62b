//! `tidegate diff`: two builds of Silver, row by row.

use clap::{Args, ValueEnum};
use pipeline::{ColumnDifference, Compared, Difference};
use serde_json::json;

use super::{LakeArgs, say};
use crate::misuse::Misuse;
use crate::output::{self, Format};

/// The longest value that is shown in the table of differences, in characters.
const VALUE_CHARS_MAX: usize = 60;

/// Compare the live Silver with a rebuild, row by row and column by column
///
/// First by day, then by bucket of identities, then by row: only what differs is looked into. What one of the two has not come to is left out on both sides. Of each difference it says
/// which of the two is not what Bronze gives. Exit code 1 when they differ.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate replay && tidegate diff
  tidegate diff silver silver_v2 --format json")]
pub(crate) struct DiffArgs {
    /// The one: silver is the live one
    #[arg(default_value = "silver")]
    left: String,
    /// The other
    #[arg(default_value = "silver_rebuild")]
    right: String,
    #[arg(long, value_enum, default_value_t)]
    format: DiffFormat,
    #[command(flatten)]
    lake: LakeArgs,
}

/// How the comparison is printed: it is one document, not rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum DiffFormat {
    /// For people
    #[default]
    Table,
    /// One JSON document
    Json,
}

pub(crate) async fn run(args: DiffArgs) -> anyhow::Result<bool> {
    let (lake, settings) = args.lake.open_with_settings().await?;
    let compared = pipeline::diff(&lake, &args.left, &args.right, &settings.pipeline).await;
    let compared = compared.map_err(|error| match error.kind() {
        pipeline::ErrorKind::Setting => anyhow::Error::new(Misuse(error.to_string())),
        pipeline::ErrorKind::Retry | pipeline::ErrorKind::Fatal => error.into(),
    })?;
    match args.format {
        DiffFormat::Table => table(&compared)?,
        DiffFormat::Json => output::text(&format!("{}\n", serde_json::to_string_pretty(&compared)?))?,
    }
    Ok(compared.identical)
}

fn table(compared: &Compared) -> anyhow::Result<()> {
    let Compared { left, right, rows_left, rows_right, bronze_version, .. } = compared;
    if compared.identical {
        let what = format!("{left} and {right} are identical: {rows_left} rows, all columns, up to version {bronze_version} of Bronze.\n");
        return Ok(output::text(&what)?);
    }
    let columns = ["event date".to_owned(), format!("rows of {left}"), format!("rows of {right}"), "digests".to_owned()];
    let mut days = output::stdout(Format::Table, columns.into())?;
    for day in &compared.days {
        let digests = format!("{}… {}…", front(&day.digest_left), front(&day.digest_right));
        if !days.write(vec![json!(day.event_date), json!(day.rows_left), json!(day.rows_right), json!(digests)])? {
            break;
        }
    }
    days.finish()?;
    for difference in &compared.differences {
        output::text(&format!("- {}\n", line(difference, left, right)))?;
    }
    say(&format!(
        "error: {left} ({rows_left} rows) and {right} ({rows_right} rows) differ on {} days, up to version {bronze_version} of Bronze; the first {} rows that differ are \
         listed above",
        compared.days.len(),
        compared.differences.len()
    ));
    Ok(())
}

fn line(difference: &Difference, left: &str, right: &str) -> String {
    let Difference { event_date, source, event_id, what, why, columns } = difference;
    let column = |ColumnDifference { column, left: one, right: other }: &ColumnDifference| {
        format!("{column}: {} in {left}, {} in {right}", value(one.as_deref()), value(other.as_deref()))
    };
    let columns: String = columns.iter().map(|difference| format!("\n    {}", column(difference))).collect();
    format!("{source}/{event_id} of {event_date}: {what}. {why}{columns}")
}

fn value(value: Option<&str>) -> String {
    let Some(value) = value else { return "null".to_owned() };
    let short: String = value.chars().take(VALUE_CHARS_MAX).collect();
    if short.len() < value.len() { format!("`{short}…`") } else { format!("`{value}`") }
}

fn front(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
