//! The way of one event through the tables: each record of it, what was decided about each, and where it counts.

use arrow::array::{Array as _, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use lake::Lake;
use medallion::gold::{Model, Span};
use serde::Serialize;

use crate::error::Error;
use crate::gold::Models;
use crate::tables::{self, BRONZE, DEAD_LETTERS, EXPOSURES, SILVER};

const PURPOSE: &str = "the trace";
/// Rows of one table that are told at most: an event that is sent again and again has as many records.
const ROWS_MAX: usize = 1_000;
/// A place in the journal as text, beside the columns that all tables have.
const PLACE: &str = "source, journal_generation || ':' || journal_partition || ':' || journal_offset AS place, received_at";

/// One place where the event is, or was decided about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The table.
    pub table: String,
    /// The event's source.
    pub source: String,
    /// Where in the journal the record is that this comes of, as `generation:partition:offset`; nothing for aggregates.
    pub journal: Option<String>,
    /// When that record was received; for aggregates nothing.
    pub received_at: Option<String>,
    /// What is there, in words.
    pub what: String,
}

/// Everything that the lake's tables have of events with this id, of any source, in the order of the data's way. Empty: no record of it has come to the lake.
///
/// # Errors
/// [`Error::NoTable`] when the lake has none; [`Error::Query`] when they cannot be read.
pub async fn trace(lake: &Lake, models: &Models, event_id: &str) -> Result<Vec<Step>, Error> {
    let missing = || Error::NoTable { location: lake.location().to_string(), table: BRONZE.to_owned() };
    let there = lake.tables().await?;
    if !there.iter().any(|table| table == BRONZE) {
        return Err(missing());
    }
    let is_it = format!("event_id = '{}'", event_id.replace('\'', "''"));
    let order = format!("ORDER BY source, journal_generation, journal_partition, journal_offset LIMIT {ROWS_MAX}");
    let has = |table: &str| there.iter().any(|name| name == table);
    let select = async |table: &str, columns: &str| {
        if !has(table) {
            return Ok(Vec::new());
        }
        rows(lake, &format!("SELECT {PLACE}, {columns} FROM {table} WHERE {is_it} {order}")).await
    };
    let silver = select(SILVER, "CAST(event_date AS VARCHAR), event_type, event_time, is_late, clock_corrected, plan_version").await?;
    let letters = select(DEAD_LETTERS, "stage, code, field, message").await?;
    let mut steps = Vec::new();

    for row in select(BRONZE, "verdict, plan_version, wire_format, CAST(ingest_date AS VARCHAR)").await? {
        let (source, place) = (text(&row, 0), text(&row, 1));
        let same = |other: &&Vec<Option<String>>| text(other, 0) == source && text(other, 1) == place;
        let became = match silver.iter().find(|other| text(other, 0) == source) {
            _ if text(&row, 5) == "erased" => "erased: a person asked for it".to_owned(),
            _ if letters.iter().any(|other| same(&other)) => "a dead letter".to_owned(),
            Some(winner) if text(winner, 1) == place => "the row of Silver".to_owned(),
            Some(winner) => format!("a duplicate: {} came first", text(winner, 1)),
            None => "not decided about yet".to_owned(),
        };
        let what = format!("{} under plan {}, {}, ingest_date {}; {became}", text(&row, 3), text(&row, 4), text(&row, 5), text(&row, 6));
        steps.push(step(BRONZE, &row, what));
    }
    for row in &letters {
        let field = if text(row, 5).is_empty() { String::new() } else { format!(" at {}", text(row, 5)) };
        steps.push(step(DEAD_LETTERS, row, format!("stage {}: {}{field}, {}", text(row, 3), text(row, 4), text(row, 6))));
    }
    let mut partitions: Vec<(&str, String)> = Vec::new();
    for row in &silver {
        let mark = |column: usize, word: &str| if text(row, column) == "true" { format!(", {word}") } else { String::new() };
        let marks = mark(6, "late") + &mark(7, "clock corrected");
        let what = format!("{} at {}, event_date {}, plan {}{marks}", text(row, 4), text(row, 5), text(row, 3), text(row, 8));
        steps.push(step(SILVER, row, what));
        partitions.push((SILVER, text(row, 3).to_owned()));
    }
    for row in select(EXPOSURES, "experiment_id, variation_id, subject_id, CAST(event_date AS VARCHAR)").await? {
        let what = format!("{} saw {} of {}, event_date {}", text(&row, 5), text(&row, 4), text(&row, 3), text(&row, 6));
        steps.push(step(EXPOSURES, &row, what));
        partitions.push((EXPOSURES, text(&row, 3).to_owned()));
    }
    for model in models.iter().filter(|model| has(&model.name)) {
        for (reads, day) in &partitions {
            for input in model.reads.iter().filter(|input| input.table == *reads) {
                steps.push(aggregate(lake, model, reads, input.span, day).await?);
            }
        }
    }
    Ok(steps)
}

/// Where a model of Gold counts it, and whether it does already.
async fn aggregate(lake: &Lake, model: &Model, reads: &str, span: Span, day: &str) -> Result<Step, Error> {
    let (mut table, mut input) = (lake.reader(&model.name).await?, lake.reader(reads).await?);
    let through = match &mut table {
        Some(table) => table.progress(&tables::progress_in(reads)).await?.unwrap_or(-1),
        None => -1,
    };
    // What came into the model's partition since; a commit without rows there changes nothing in it.
    let mut since = 0;
    if let Some(input) = &mut input {
        let newest = input.refresh().await?;
        let is_there = |file: &&lake::Added| file.partition_values.get("event_date").cloned().flatten().as_deref() == Some(day);
        since = match input.added(through, newest).await {
            Ok(files) => files.iter().filter(is_there).count(),
            // The log no longer tells.
            Err(error) if error.kind() == lake::ErrorKind::Missing => 1,
            Err(error) => return Err(error.into()),
        };
    }
    let how_far = if since == 0 {
        "counted".to_owned()
    } else {
        format!("made of version {through} of {reads}; rows have come since, and it is made anew")
    };
    let where_it_is = match span {
        _ if model.partition_by != "event_date" => format!("in the rows of {day}"),
        Span::SAME => format!("event_date {day}"),
        Span::Whole => "in any row".to_owned(),
        Span::Days { before, after } => {
            // A row reaches so many days before itself: so the event is in those of so many days after it.
            let days = |days: Option<u32>, word: &str| days.map_or(format!("all days {word}"), |days| format!("{days} days {word}"));
            format!("event_date {day}, {}, {}", days(after, "before"), days(before, "after"))
        }
    };
    let what = format!("{where_it_is}: {how_far}");
    Ok(Step { table: model.name.clone(), source: String::new(), journal: None, received_at: None, what })
}

fn step(table: &str, row: &[Option<String>], what: String) -> Step {
    Step {
        table: table.to_owned(),
        source: text(row, 0).to_owned(),
        journal: row.get(1).cloned().flatten(),
        received_at: row.get(2).cloned().flatten(),
        what,
    }
}

fn text(row: &[Option<String>], column: usize) -> &str {
    row.get(column).and_then(Option::as_deref).unwrap_or_default()
}

/// The rows of a query, all columns as text.
async fn rows(lake: &Lake, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
    let failed = || Error::query(PURPOSE);
    let batches = lake.session().await?.sql(sql).await.map_err(failed())?.collect().await.map_err(failed())?;
    let mut rows = Vec::new();
    for batch in &batches {
        let columns = batch.columns().iter().map(|column| cast(column, &DataType::Utf8)).collect::<Result<Vec<_>, _>>();
        let columns = columns.map_err(medallion::Error::from)?;
        for row in 0..batch.num_rows() {
            let value = |column: &arrow::array::ArrayRef| {
                let texts = column.as_string::<i32>();
                texts.is_valid(row).then(|| texts.value(row).to_owned())
            };
            rows.push(columns.iter().map(value).collect());
        }
    }
    Ok(rows)
}
