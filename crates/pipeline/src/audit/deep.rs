//! The books, and every row of Silver and Gold made anew: not only that each event is there once, but that it is what Bronze gives, in all columns.

use std::sync::Arc;

use medallion::gold::Model;

use super::{Books, FINDINGS_MAX, Finding, audit};
use crate::config::Config;
use crate::diff::{ColumnDifference, Difference, diff};
use crate::error::{Error, ErrorKind};
use crate::gold::Fed;
use crate::replay::{Replay, Watcher, drop_build};
use crate::tables::Names;

/// The rebuild it makes, compares and removes.
const INTO: &str = "silver_audit";
/// Events or rows that one finding names.
const NAMED_MAX: usize = 10;

/// Makes up the books, rebuilds Silver from Bronze beside it and holds the two against each other row by row, and computes Gold anew from the Silver it was made of.
/// What it writes for that is removed again. Works while a server runs. `index_folder` is as in [`Replay`].
///
/// # Errors
/// As [`audit`] and [`Replay::run`].
pub async fn audit_deep(
    lake: &lake::Lake,
    config: &Config,
    index_folder: std::path::PathBuf,
    watcher: Watcher<'_>,
) -> Result<Books, Error> {
    // Half of one that was broken off is no proof of anything: it may be of other settings, or of a table that was changed since.
    remove(lake).await?;
    let replay = Replay { into: INTO.to_owned(), from: None, to: None, index_folder };
    replay.run(lake, config, watcher).await?;
    let compared = diff(lake, "silver", INTO, config).await;
    remove(lake).await?;
    let compared = compared?;

    let mut books = audit(lake).await?;
    books.compared = Some(compared.rows_right);
    for day in &compared.days {
        let of_day = compared.differences.iter().filter(|difference| difference.event_date == day.event_date);
        books.findings.push(Finding {
            check: format!("rows of Silver of {}, against what Bronze gives", day.event_date),
            source: None,
            hour: None,
            expected: day.rows_right,
            found: day.rows_left,
            events: of_day.take(NAMED_MAX).map(named).collect(),
        });
    }
    for model in config.models()?.iter() {
        books.findings.extend(check_gold(lake, model).await?);
    }
    books.findings.truncate(FINDINGS_MAX);
    books.balanced = books.findings.is_empty();
    Ok(books)
}

/// Removes the rebuild, where there is one.
async fn remove(lake: &lake::Lake) -> Result<(), Error> {
    match drop_build(lake, INTO).await {
        Err(error) if error.kind() == ErrorKind::Setting => Ok(()),
        outcome => outcome,
    }
}

fn named(difference: &Difference) -> String {
    let Difference { source, event_id, what, columns, .. } = difference;
    let columns: Vec<&str> = columns.iter().map(|ColumnDifference { column, .. }| column.as_str()).collect();
    let columns = if columns.is_empty() { String::new() } else { format!(" in {}", columns.join(", ")) };
    let what = what.replace(INTO, "Bronze").replace("only silver has it", "Bronze does not give it");
    format!("{source}/{event_id}: {what}{columns}")
}

/// Whether a table of Gold is what its model makes of the version of Silver that it says it was made of.
async fn check_gold(lake: &lake::Lake, model: &Arc<Model>) -> Result<Option<Finding>, Error> {
    let mut fed = Fed::open(lake, &Names::live(), model).await?;
    let Some(unlike) = fed.unlike(lake).await? else { return Ok(None) };
    if unlike.partitions.is_empty() {
        return Ok(None);
    }
    Ok(Some(Finding {
        check: format!("rows of {}, against what its model makes of Silver", model.name),
        source: None,
        hour: None,
        expected: unlike.expected,
        found: unlike.found,
        events: unlike.partitions.iter().take(NAMED_MAX).map(|value| format!("{} {value}", model.partition_by)).collect(),
    }))
}
