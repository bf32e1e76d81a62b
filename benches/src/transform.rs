//! From the journal's records to Bronze, Silver and Gold, with their digests, and Silver to the bytes of its file.

use std::hint::black_box;

use anyhow::{Context as _, Result, ensure};
use arrow::array::{Array as _, AsArray as _, RecordBatch, StringArray};
use lake::TableSpec;
use medallion::functions::Function;
use medallion::silver::{Candidates, Rules};
use medallion::{Arrival, digest, ledger, schema, silver, tables};

use crate::{Round, events};

/// Records to rows of Bronze.
pub(crate) fn bronze(events: usize) -> Result<Round> {
    let arrivals = events::arrivals(events)?;
    Ok(Box::new(move || Ok(medallion::bronze::batch(&arrivals)?.num_rows())))
}

/// Rows of Bronze to candidates for Silver.
pub(crate) fn refine(events: usize) -> Result<Round> {
    let (bronze, rules) = (medallion::bronze::batch(&events::arrivals(events)?)?, Rules::default());
    Ok(Box::new(move || Ok(silver::refine(&bronze, &rules)?.candidates.len())))
}

/// Candidates, one in twenty a copy of another, to rows of Silver.
pub(crate) fn choose(events: usize) -> Result<Round> {
    let candidates = candidates(&events::arrivals_with_copies(events)?)?;
    let known = vec![None; events];
    Ok(Box::new(move || {
        let chosen = silver::choose(&candidates, &known)?;
        Ok(chosen.events.num_rows() + usize::try_from(chosen.counts.total(ledger::DUPLICATE))?)
    }))
}

/// The digest of identities, as the books have it.
pub(crate) fn digest_identities(events: usize) -> Result<Round> {
    let rows = silver_rows(events)?;
    Ok(Box::new(move || {
        black_box(digest::identities(&rows)?);
        Ok(rows.num_rows())
    }))
}

/// The digest of rows of Silver, as two builds of it are compared by.
pub(crate) fn digest_rows(events: usize) -> Result<Round> {
    let rows = silver_rows(events)?;
    Ok(Box::new(move || {
        black_box(digest::rows(&rows)?);
        Ok(rows.num_rows())
    }))
}

/// An amount out of each event's properties, as Gold's metrics are summed up from: of Gold the part that is no engine's.
pub(crate) fn decimals(events: usize) -> Result<Round> {
    let rows = silver_rows(events)?;
    let properties = rows.column_by_name("properties").and_then(|column| column.as_string_opt::<i32>());
    let properties = properties.context("Silver has no properties")?.clone();
    let names = StringArray::from(vec!["revenue"; events]);
    Ok(Box::new(move || Ok(black_box(Function::Decimal.evaluate(&properties, &names)).len())))
}

/// Rows of Silver to the bytes of a file, as the lake writes it.
pub(crate) fn parquet(events: usize) -> Result<Round> {
    // As `pipeline` has the table.
    let spec = TableSpec::new(tables::SILVER, schema::silver_events(), &["event_date"]);
    let spec = spec.with_stats_columns(&["source", "event_id", "event_type", "event_time", "received_at"]);
    let (options, rows) = (lake::Options::default(), [silver_rows(events)?]);
    Ok(Box::new(move || {
        let files = black_box(spec.encode(&rows, &options)?);
        ensure!(files.len() == 1, "the rows of a day are in {} files", files.len());
        Ok(rows.iter().map(RecordBatch::num_rows).sum())
    }))
}

fn candidates(arrivals: &[Arrival]) -> Result<[Candidates; 1]> {
    Ok([silver::refine(&medallion::bronze::batch(arrivals)?, &Rules::default())?.candidates])
}

fn silver_rows(events: usize) -> Result<RecordBatch> {
    Ok(silver::choose(&candidates(&events::arrivals(events)?)?, &vec![None; events])?.events)
}
