//! What the commits say they counted: from the ledger, and from the log for what the ledger does not have yet.

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use contract::Timestamp;
use futures::StreamExt as _;
use lake::{Lake, Table};
use medallion::digest::Digest;
use medallion::ledger::{ACCEPTED, Counts};

use crate::error::Error;
use crate::{ledger, tables};

/// The counts of all commits of the tables.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) all: Counts,
    /// Of those of Bronze, what Silver has decided about; as this reads it, up to the version that Silver has come to as a whole.
    pub(crate) decided: Counts,
}

impl Said {
    /// What the commits of these tables say, each up to the version its handle stands at. `bronze_version` is where Silver is as a whole.
    pub(crate) async fn read(lake: &Lake, tables: &[&Table], bronze_version: i64) -> Result<Self, Error> {
        let mut said = Self::default();
        let mut book = lake.reader(tables::LEDGER).await?;
        for table in tables {
            let in_ledger = match &mut book {
                Some(book) => book.progress(&tables::progress_in(table.name())).await?.unwrap_or(-1),
                None => -1,
            };
            for posted in ledger::posted(table, in_ledger.min(table.version()), table.version()).await? {
                said.all.merge(&posted.counts);
                if posted.version <= bronze_version && table.name() == tables::BRONZE {
                    said.decided.merge(&posted.counts);
                }
            }
        }
        if let Some(mut book) = book {
            let files = book.files().await?;
            let columns = ["measure", "source", "hour", "table_name", "table_version", "count", "digest"];
            let mut rows = book.stream(&files, Some(&columns))?;
            while let Some(batch) = rows.next().await {
                said.take(&batch?, tables, bronze_version)?;
            }
        }
        Ok(said)
    }

    fn take(&mut self, batch: &RecordBatch, known: &[&Table], bronze_version: i64) -> Result<(), Error> {
        let text = |column: usize| batch.column(column).as_string::<i32>();
        let (measures, sources, names, digests) = (text(0), text(1), text(3), text(6));
        let hours = batch.column(2).as_primitive::<TimestampMicrosecondType>();
        let (versions, counts) = (batch.column(4).as_primitive::<Int64Type>(), batch.column(5).as_primitive::<Int64Type>());
        for row in 0..batch.num_rows() {
            let (name, version, measure) = (names.value(row), versions.value(row), measures.value(row));
            // What was committed after the tables were opened is none of this audit's business.
            if !known.iter().any(|table| table.name() == name && version <= table.version()) {
                continue;
            }
            let unreadable = || Error::Info { table: name.to_owned(), version, what: "its digest in the ledger is none".to_owned() };
            let digest: Digest =
                if digests.is_valid(row) { digests.value(row).parse().map_err(|_| unreadable())? } else { return Err(unreadable()) };
            let (source, hour, count) = (sources.value(row), Timestamp(hours.value(row)), counts.value(row));
            self.all.add(source, hour, measure.to_owned(), count, &digest);
            if measure == ACCEPTED && version <= bronze_version {
                self.decided.add(source, hour, ACCEPTED, count, &digest);
            }
        }
        Ok(())
    }
}
