//! What Bronze says a row should be.

use arrow::array::{AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use lake::Lake;
use medallion::digest::{self, Digest};
use medallion::silver::{self, Rules};

use crate::error::Error;
use crate::silver::refine_all;
use crate::tables;

/// Makes rows of Silver anew, event by event.
#[derive(Debug)]
pub(super) struct Expected {
    lake: Lake,
    rules: Rules,
}

impl Expected {
    pub(super) fn new(lake: Lake, rules: Rules) -> Self {
        Self { lake, rules }
    }

    /// Why the builds differ about this event: which of them are not what Bronze gives. Each side is its name with the digests of the rows it has.
    pub(super) async fn explain(&mut self, source: &str, event_id: &str, sides: &[(&str, Vec<Digest>)]) -> Result<String, Error> {
        let copies = self.copies(source, event_id).await?;
        let rows: usize = copies.iter().map(RecordBatch::num_rows).sum();
        if rows == 0 {
            return Ok("Bronze has no such event: its row was not made from Bronze, or Bronze has lost it".to_owned());
        }
        let (candidates, letters, _) = refine_all(&copies, &self.rules)?;
        let known = vec![None; candidates.iter().map(silver::Candidates::len).sum()];
        let chosen = silver::choose(&candidates, &known)?;
        let due: Vec<Digest> = if chosen.events.num_rows() == 0 { Vec::new() } else { vec![digest::rows(&chosen.events)?] };
        let wrong: Vec<&str> = sides.iter().filter(|(_, has)| *has != due).map(|(name, _)| *name).collect();
        let gives = match (due.is_empty(), letters.iter().map(RecordBatch::num_rows).sum::<usize>()) {
            (false, _) if rows == 1 => "one row".to_owned(),
            (false, _) => format!("one row of {rows} copies"),
            (true, dead) => format!("no row, {dead} of {rows} copies are dead letters"),
        };
        Ok(match wrong.as_slice() {
            [] => format!("Bronze gives {gives}, and both are that: it was read while it changed; compare again"),
            wrong => format!("Bronze gives {gives}; what {} has is not that: it was altered, lost or added there", wrong.join(" and ")),
        })
    }

    async fn copies(&self, source: &str, event_id: &str) -> Result<Vec<RecordBatch>, Error> {
        let quoted = format!("'{}'", event_id.replace('\'', "''"));
        let sql = format!("SELECT * FROM {} WHERE event_id = {quoted}", tables::BRONZE);
        let failed = || Error::query("the comparison");
        let batches = self.lake.session().await?.sql(&sql).await.map_err(failed())?.collect().await.map_err(failed())?;
        let own = |batch: RecordBatch| {
            let Some(sources) = batch.column_by_name("source").and_then(|column| column.as_string_opt::<i32>()) else { return Ok(batch) };
            let mask: BooleanArray = sources.iter().map(|found| Some(found == Some(source))).collect();
            filter_record_batch(&batch, &mask)
        };
        let own = batches.into_iter().map(own).collect::<Result<Vec<_>, _>>();
        Ok(own.map_err(medallion::Error::from)?)
    }
}
