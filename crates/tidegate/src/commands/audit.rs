//! `tidegate audit`: the books, from the tables alone.

use clap::{Args, ValueEnum};
use pipeline::replay::Progress;
use pipeline::{Books, Line};
use serde_json::{Value, json};

use super::rebuilding::Bar;
use super::{LakeArgs, say};
use crate::output::{self, Format};

/// Prove from the tables alone that no event is lost or doubled
///
/// For each source, what was received is held against what became of it, as counts and as digests of the identities. Works while a server runs. Exit code 1 when the
/// books do not balance; what does not agree is named.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Make every row of Silver anew from Bronze, and Gold from Silver, and compare them in all columns. Takes as long as `tidegate replay`, and its disk meanwhile
    #[arg(long)]
    deep: bool,
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
    let (lake, settings) = args.lake.open_with_settings().await?;
    let books = if args.deep {
        let bar = Bar::new();
        let watcher = |progress: Progress| bar.show(progress);
        let books = pipeline::audit_deep(&lake, &settings.pipeline, settings.data.join("index-audit"), &watcher).await;
        bar.end();
        books?
    } else {
        pipeline::audit(&lake).await?
    };
    match args.format {
        BooksFormat::Table => table(&books)?,
        BooksFormat::Json => output::text(&format!("{}\n", serde_json::to_string_pretty(&books)?))?,
    }
    Ok(books.balanced)
}

fn table(books: &Books) -> anyhow::Result<()> {
    let columns =
        ["source", "received", "refused", "accepted", "bronze", "silver", "duplicates", "dead letters", "erased", "pending", "late"];
    let mut rows = output::stdout(Format::Table, columns.map(str::to_owned).into())?;
    for (source, line) in books.lines() {
        if !rows.write(cells(&source, &line))? {
            break;
        }
    }
    rows.finish()?;
    if books.balanced {
        output::text("The books balance: Bronze = Silver + duplicates + dead letters + erased, in counts and identities.\n")?;
        let Line { bronze_expired, silver_expired, dead_letters_expired, .. } = books.total;
        if bronze_expired + silver_expired + dead_letters_expired > 0 {
            output::text(&format!(
                "Retention took out {bronze_expired} rows of Bronze, {silver_expired} of Silver and {dead_letters_expired} dead letters; they are counted as they were.\n"
            ))?;
        }
        if let Some(compared) = books.compared {
            output::text(&format!(
                "Made anew from Bronze, {compared} rows of Silver are as they are there, in all columns; so is Gold, made anew from Silver.\n"
            ))?;
        }
    } else {
        for finding in &books.findings {
            output::text(&format!("- {}\n", finding.text()))?;
        }
        say("error: the books do not balance; what does not agree is listed above");
    }
    Ok(())
}

fn cells(source: &str, line: &Line) -> Vec<Value> {
    let counts = [
        line.received,
        line.refused,
        line.accepted,
        line.bronze,
        line.silver,
        line.duplicates,
        line.dead_letters,
        line.erased,
        line.pending,
        line.late,
    ];
    std::iter::once(json!(source)).chain(counts.map(Value::from)).collect()
}
