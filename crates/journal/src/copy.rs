//! Moving to Kafka: what an embedded journal still holds, and the lake does not have, is copied into the topic.
//!
//! Each record says in a header where it was. A copy that was broken off is begun again, and copies what is missing.

use std::ops::AddAssign;

use crate::embedded::Embedded;
use crate::kafka::{Kafka, Mark, Outgoing};
use crate::origin::Arrived;
use crate::{Error, Journal as _, Offsets, Stored};

/// The header that says which generation, partition and offset of an embedded journal a record had.
const HEADER: &str = "tidegate-copied";

/// How far a copy is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Records copied now.
    pub copied: u64,
    /// Records that an earlier copy had brought already.
    pub already: u64,
}

impl AddAssign for Copied {
    fn add_assign(&mut self, more: Self) {
        self.copied += more.copied;
        self.already += more.already;
    }
}

/// Copies every record at or after the offsets `after`, which are those that the lake does not have yet; a partition that is not named is copied from its
/// start. Nobody may append to `from` meanwhile: what comes later may be left out. Reads the topic once from its start to find what is there already; what a copy
/// that was broken off still has on its way then arrives twice, and Silver takes one of them.
///
/// # Errors
///
/// [`Error::Trimmed`] when `from` does not hold all that was asked for; [`Error::TooLarge`] when a record is over the bound of `to`, which has to be raised;
/// otherwise what either journal meets. What was copied by then is there, and copying can be begun again.
pub async fn copy(from: &Embedded, after: &Offsets, to: &Kafka, progress: impl Fn(Copied) + Send + Sync) -> Result<Copied, Error> {
    let log = Arrived::none_of(from.generation().to_string());
    let arrived = to.collect_marks(to.start().await?, HEADER, log, |arrived, origin| arrived.note(origin)).await?;
    let mut next = from.start().await?;
    next.extend(after.iter().filter(|(partition, _)| **partition < from.partitions()));
    let mut sum = Copied::default();
    loop {
        let records = from.read(&next, to.batch_limit()).await?;
        let Some(last) = records.last() else { return Ok(sum) };
        tracing::debug!(partition = last.partition, offset = last.offset, "copying");
        next.extend(records.iter().map(|stored| (stored.partition, stored.offset + 1)));
        let read = records.len() as u64;
        let missing: Vec<Outgoing> = records
            .into_iter()
            .filter(|stored| !arrived.contains(stored.partition, stored.offset))
            .map(|stored| marked(&arrived, stored))
            .collect();
        let copied = missing.len() as u64;
        to.append_marked(missing).await?;
        sum += Copied { copied, already: read - copied };
        progress(sum);
    }
}

fn marked(arrived: &Arrived, stored: Stored) -> Outgoing {
    let mark = Mark { name: HEADER, value: arrived.origin(stored.partition, stored.offset) };
    Outgoing { record: stored.record, mark: Some(mark) }
}
