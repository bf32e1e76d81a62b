//! Whether every data file that the log names is there.

use lake::Table;

use super::Finding;
use crate::error::Error;

/// Files that one finding names.
const FILES_MAX: usize = 20;

/// Adds a finding where files of a table are gone, and leaves them out from now on.
pub(super) async fn check(table: &mut Table, findings: &mut Vec<Finding>) -> Result<(), Error> {
    let missing = table.missing_files().await?;
    if missing.is_empty() {
        return Ok(());
    }
    let expected = table.files().await?.len() as u64;
    let rows = |file: &lake::Added| file.rows.map_or_else(String::new, |rows| format!(" with {rows} rows"));
    findings.push(Finding {
        check: format!("data files of {} that its log names", table.name()),
        source: None,
        hour: None,
        expected,
        found: expected - missing.len() as u64,
        events: missing.iter().take(FILES_MAX).map(|file| format!("{}{} is gone", file.path, rows(file))).collect(),
    });
    table.leave_out(&missing);
    Ok(())
}
