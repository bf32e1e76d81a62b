//! Gives the events concerned by a finding their names.

use arrow::array::{Array as _, AsArray as _};
use lake::Lake;

use super::Finding;
use crate::error::Error;

/// Events that one finding names.
const EVENTS_MAX: usize = 20;
/// Findings that are looked into; each takes a query over the tables.
const LOOKED_INTO_MAX: usize = 10;

/// Adds to findings about a source and an hour which events are missing where, or too many.
pub(super) async fn name(lake: &Lake, findings: &mut [Finding]) -> Result<(), Error> {
    for finding in findings.iter_mut().take(LOOKED_INTO_MAX) {
        let (Some(source), Some(hour)) = (&finding.source, &finding.hour) else { continue };
        let rows = |table: &str| format!("{table} WHERE source = {} AND date_trunc('hour', received_at) = {}", text(source), time(hour));
        let queries = [
            (
                "is in Bronze, and neither in Silver nor among the dead letters",
                format!(
                    "SELECT event_id FROM {} AND wire_format <> 'erased' AND event_id NOT IN (SELECT event_id FROM silver.events WHERE source = {source}) AND event_id NOT IN (SELECT \
                     event_id FROM dead_letters WHERE source = {source} AND stage NOT IN ('gate', 'bronze'))",
                    rows("bronze.events"),
                    source = text(source)
                ),
            ),
            (
                "is in Silver, and not in Bronze",
                format!(
                    "SELECT event_id FROM {} AND event_id NOT IN (SELECT event_id FROM bronze.events WHERE source = {source})",
                    rows("silver.events"),
                    source = text(source)
                ),
            ),
            (
                "is among the dead letters of Silver, and not in Bronze",
                format!(
                    "SELECT event_id FROM {} AND stage NOT IN ('gate', 'bronze') AND event_id NOT IN (SELECT event_id FROM bronze.events WHERE source = {source})",
                    rows("dead_letters"),
                    source = text(source)
                ),
            ),
        ];
        let source = source.clone();
        for (problem, sql) in queries {
            // A query cannot leave out a file that is gone; what was in it is named by its place.
            let ids = ids(lake, &format!("{sql} ORDER BY event_id LIMIT {EVENTS_MAX}")).await.unwrap_or_default();
            finding.events.extend(ids.into_iter().map(|id| format!("{source}/{id} {problem}")));
        }
        finding.events.truncate(EVENTS_MAX);
    }
    Ok(())
}

/// Adds a finding if events are in Silver more than once.
pub(super) async fn doubled(lake: &Lake, findings: &mut Vec<Finding>) -> Result<(), Error> {
    let copies =
        "SELECT source || '/' || event_id AS event, count(*) AS copies FROM silver.events GROUP BY source, event_id HAVING count(*) > 1";
    let sql = format!("SELECT event || ' is there ' || CAST(copies AS VARCHAR) || ' times' FROM ({copies}) ORDER BY 1 LIMIT {EVENTS_MAX}");
    let events = ids(lake, &sql).await.unwrap_or_default();
    if !events.is_empty() {
        let found = events.len() as u64;
        findings.push(Finding {
            check: "events that are in Silver more than once".to_owned(),
            source: None,
            hour: None,
            expected: 0,
            found,
            events,
        });
    }
    Ok(())
}

/// The texts in the first column of what a query gives.
async fn ids(lake: &Lake, sql: &str) -> Result<Vec<String>, Error> {
    let failed = || Error::query("the audit");
    let batches = lake.session().await?.sql(sql).await.map_err(failed())?.collect().await.map_err(failed())?;
    let mut texts = Vec::new();
    for batch in batches {
        let column = batch.column(0).as_string::<i32>();
        texts.extend((0..column.len()).filter(|row| column.is_valid(*row)).map(|row| column.value(row).to_owned()));
    }
    Ok(texts)
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// An hour as [`contract::Timestamp`] writes it.
fn time(hour: &str) -> String {
    format!("TIMESTAMP {}", text(hour))
}
