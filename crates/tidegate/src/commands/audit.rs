//! `tidegate audit`: the books, from the tables alone.

use clap::{Args, ValueEnum};
use pipeline::{Books, Line};
use serde_json::{Value, json};

use super::{LakeArgs, say};
use crate::output::{self, Format};

/// Prove from the tables alone that no event is lost or doubled
///
/// For each source, what was received is held against what became of it, as counts and as digests of the identities. Works while a server runs. Exit code 1 when the
/// books do not balance; what does not agree is named.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[arg(long, value_enum, default_value_t)]
    format: BooksFormat,
    #[command(flatten)]
    lake: LakeArgs,
}

/// How the books are printed: they are one document, not rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum BooksFormat {
    /// For people
    #[default]
    Table,
    /// One JSON document
    Json,
}

pub(crate) async fn run(args: AuditArgs) -> anyhow::Result<bool> {
    let books = pipeline::audit(&args.lake.open().await?).await?;
    match args.format {
        BooksFormat::Table => table(&books)?,
        BooksFormat::Json => output::text(&format!("{}\n", serde_json::to_string_pretty(&books)?))?,
    }
    Ok(books.balanced)
}

fn table(books: &Books) -> anyhow::Result<()> {
    let columns = ["source", "received", "refused", "accepted", "bronze", "silver", "duplicates", "dead letters", "pending", "late"];
    let mut rows = output::stdout(Format::Table, columns.map(str::to_owned).into())?;
    for (source, line) in books.lines() {
        if !rows.write(cells(&source, &line))? {
            break;
        }
    }
    rows.finish()?;
    if books.balanced {
        output::text("The books balance: Bronze = Silver + duplicates + dead letters, in counts and identities.\n")?;
    } else {
        for finding in &books.findings {
            output::text(&format!("- {}\n", finding.text()))?;
        }
        say("error: the books do not balance; what does not agree is listed above");
    }
    Ok(())
}

fn cells(source: &str, line: &Line) -> Vec<Value> {
    let counts =
        [line.received, line.refused, line.accepted, line.bronze, line.silver, line.duplicates, line.dead_letters, line.pending, line.late];
    std::iter::once(json!(source)).chain(counts.map(Value::from)).collect()
}
