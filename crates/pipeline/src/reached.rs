//! How much of a journal a lake has, for those who move what is left of it elsewhere.

use journal::Offsets;
use lake::Lake;

use crate::error::Error;
use crate::tables;

/// The offsets from which on the lake lacks the records of a generation of the journal, by partition; empty where it has none of them.
///
/// # Errors
///
/// Of kind `Retry` when the lake's store fails.
pub async fn reached(lake: &Lake, generation: u32, partitions: u32) -> Result<Offsets, Error> {
    let mut offsets = Offsets::new();
    let Some(mut bronze) = lake.reader(tables::BRONZE).await? else { return Ok(offsets) };
    for partition in 0..partitions {
        if let Some(next) = bronze.progress(&tables::progress_in_journal(generation, partition)).await? {
            offsets.insert(partition, next.unsigned_abs());
        }
    }
    Ok(offsets)
}
