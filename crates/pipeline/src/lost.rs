//! Whether a table still has all versions that others have read of it.
//!
//! The newest files of a log can be gone without a trace in the log itself: what is left is an older table, sound as it is. Made again, its next versions would have the numbers of those that are gone, and other rows;
//! and who has read these would pass over them. But whoever read them says so in its own progress.

use std::collections::BTreeMap;

use lake::{Lake, Table};

use crate::audit::Finding;
use crate::error::Error;
use crate::{ledger, tables};

/// Holds the version up to which a reader says that it has read a table against what the table has, before anything is added to it.
///
/// # Errors
/// [`Error::Lost`] when the table has no such version.
pub(crate) async fn check(table: &mut Table, reader: &str, through: i64) -> Result<(), Error> {
    // It may have been opened before the reader was.
    if through > table.version() && through > table.refresh().await? {
        let (table, newest) = (table.name().to_owned(), table.version());
        return Err(Error::Lost { table, newest, reader: reader.to_owned(), through });
    }
    Ok(())
}

/// The versions that the ledger has read, by table. To be asked before these are opened.
pub(crate) async fn in_ledger(lake: &Lake) -> Result<BTreeMap<&'static str, i64>, Error> {
    let mut through = BTreeMap::new();
    let Some(mut book) = lake.reader(tables::LEDGER).await? else { return Ok(through) };
    for table in ledger::COUNTED {
        through.extend(book.progress(&tables::progress_in(table)).await?.map(|version| (table, version)));
    }
    Ok(through)
}

/// The same as a finding of the audit, which goes on with what is there.
pub(crate) fn find(table: &Table, reader: &str, through: i64, findings: &mut Vec<Finding>) {
    let newest = table.version();
    if through > newest {
        findings.push(Finding {
            check: format!("versions of {}, against what {reader} has read of it", table.name()),
            source: None,
            hour: None,
            expected: through.unsigned_abs(),
            found: newest.unsigned_abs(),
            events: vec![format!("its log ends at version {newest}, what came up to version {through} is gone")],
        });
    }
}
