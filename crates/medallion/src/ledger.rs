//! The books: how many events went where, and which.
//!
//! Beside each count stands the [`Digest`] of the identities counted, because one loss and one duplicate cancel in a count. Counts are kept by source, by
//! the hour in which the gate received the event, and by measure, and travel in the commit of the rows they count. For each source and hour:
//!
//! - [`ACCEPTED`] (what Bronze has, or had) = [`SILVER`] + [`DUPLICATE`] + [`DEAD_LETTER`] + [`ERASED`] + [`UNTOLD`], in numbers and in digests;
//! - what the gate wrote = [`ACCEPTED`] + [`REFUSED`], and [`UNREADABLE`] is what nobody can tell.
//!
//! What retention takes out of a table is counted too ([`BRONZE_EXPIRED`] and its like), with the places in the journal ([`places`]): the rows that are there and those that
//! were taken out are together what the commits say.
//!
//! The other measures say more about rows that are counted above already.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder};
use contract::{Identity, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bronze::Arrival;
use crate::columns::{Columns, UTC, conform};
use crate::digest::Digest;
use crate::{Error, schema};

pub mod places;

/// Events that Bronze has.
pub const ACCEPTED: &str = "accepted";
/// Events that the gate did not take.
pub const REFUSED: &str = "refused";
/// Records of the journal without a receipt.
pub const UNREADABLE: &str = "unreadable";
/// Rows that became rows of Silver.
pub const SILVER: &str = "silver";
/// Copies of an event that Silver has, with the same content.
pub const DUPLICATE: &str = "duplicate";
/// Rows of Bronze that became dead letters: by the plan, because they cannot be decoded, or as a conflict.
pub const DEAD_LETTER: &str = "dead_letter";
/// Rows of Bronze without content: a person asked for it.
pub const ERASED: &str = "erased";
/// Rows of Bronze that retention had taken out when Silver was made anew from what was left: what had become of them is told no more.
pub const UNTOLD: &str = "untold";
/// Rows that retention took out of Bronze.
pub const BRONZE_EXPIRED: &str = "bronze_expired";
/// Rows that retention took out of Silver.
pub const SILVER_EXPIRED: &str = "silver_expired";
/// Dead letters that retention took out and that had been rows of Bronze.
pub const DEAD_LETTER_EXPIRED: &str = "dead_letter_expired";
/// Dead letters that retention took out and that never were rows of Bronze.
pub const REFUSED_EXPIRED: &str = "refused_expired";
/// Of the dead letters: those whose id another event has.
pub const CONFLICT: &str = "conflict";
/// Of Silver: received later than allowed.
pub const LATE: &str = "late";
/// Of Silver: the client's clock was corrected.
pub const CLOCK_CORRECTED: &str = "clock_corrected";
/// Of Silver: breaks the tracking plan, and the policy is to mark it.
pub const FLAGGED: &str = "flagged";
/// Of Silver: without an id of the client's, so that a resend cannot be told.
pub const GENERATED_ID: &str = "generated_id";
/// Of Silver: exposures.
pub const EXPOSURE: &str = "exposure";
/// Of Silver: sent by a bot.
pub const BOT: &str = "bot";

/// A count, and the digest of the identities counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many rows. Negative in the commit of a correction that takes back more than it adds, and never in the sum of a table's commits.
    pub count: i64,
    /// Which.
    pub digest: Digest,
}

/// Counts and digests by source, hour and measure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    by_source: BTreeMap<String, BTreeMap<(Timestamp, Measure), Tally>>,
}

type Measure = Cow<'static, str>;

/// One line of [`Counts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The source of the events.
    pub source: &'a str,
    /// The hour in which they were received, by its start.
    pub hour: Timestamp,
    /// What is counted.
    pub measure: &'a str,
    /// How many, and which.
    pub tally: &'a Tally,
}

impl Counts {
    /// Counts some rows. `hour` is the start of the hour in which they were received.
    pub fn add(&mut self, source: &str, hour: Timestamp, measure: impl Into<Cow<'static, str>>, count: i64, digest: &Digest) {
        if !self.by_source.contains_key(source) {
            self.by_source.insert(source.to_owned(), BTreeMap::new());
        }
        if let Some(tallies) = self.by_source.get_mut(source) {
            let tally = tallies.entry((hour, measure.into())).or_default();
            // Sums of places are modulo 2^64.
            tally.count = tally.count.wrapping_add(count);
            tally.digest.merge(digest);
        }
    }

    pub(crate) fn add_row(&mut self, identity: Identity<'_>, received_at: Timestamp, measure: &'static str) {
        self.add(identity.source, received_at.hour(), measure, 1, &Digest::of(identity));
    }

    /// Adds what `other` counted.
    pub fn merge(&mut self, other: &Self) {
        for (source, tallies) in &other.by_source {
            for ((hour, measure), tally) in tallies {
                self.add(source, *hour, measure.clone(), tally.count, &tally.digest);
            }
        }
    }

    /// Takes away what `other` counted. What remains may be negative: a correction.
    pub fn subtract(&mut self, other: &Self) {
        for line in other.iter() {
            let mut digest = Digest::default();
            digest.subtract(&line.tally.digest);
            self.add(line.source, line.hour, line.measure.to_owned(), line.tally.count.wrapping_neg(), &digest);
        }
        for tallies in self.by_source.values_mut() {
            tallies.retain(|_, tally| *tally != Tally::default());
        }
        self.by_source.retain(|_, tallies| !tallies.is_empty());
    }

    /// Only these measures.
    #[must_use]
    pub fn only(&self, measures: &[&str]) -> Self {
        self.only_where(|measure| measures.contains(&measure))
    }

    /// Only the measures for which this holds.
    #[must_use]
    pub fn only_where(&self, holds: impl Fn(&str) -> bool) -> Self {
        let mut counts = Self::default();
        for line in self.iter().filter(|line| holds(line.measure)) {
            counts.add(line.source, line.hour, line.measure.to_owned(), line.tally.count, &line.tally.digest);
        }
        counts
    }

    /// All of it, counted as this measure.
    #[must_use]
    pub fn counted_as(&self, measure: &'static str) -> Self {
        let mut counts = Self::default();
        for line in self.iter() {
            counts.add(line.source, line.hour, measure, line.tally.count, &line.tally.digest);
        }
        counts
    }

    /// The number of rows of a measure, over all sources and hours; 0 where more was taken back than counted.
    pub fn total(&self, measure: &str) -> u64 {
        let total: i64 = self.iter().filter(|line| line.measure == measure).map(|line| line.tally.count).sum();
        u64::try_from(total).unwrap_or_default()
    }

    /// Number and digest of a measure, over all sources and hours.
    pub fn sum(&self, measure: &str) -> Tally {
        let mut sum = Tally::default();
        for line in self.iter().filter(|line| line.measure == measure) {
            sum.count += line.tally.count;
            sum.digest.merge(&line.tally.digest);
        }
        sum
    }

    /// The number and digest of a measure for one source and hour; none where nothing was counted.
    pub fn get(&self, source: &str, hour: Timestamp, measure: &str) -> Tally {
        let key = (hour, Cow::Owned(measure.to_owned()));
        self.by_source.get(source).and_then(|tallies| tallies.get(&key)).copied().unwrap_or_default()
    }

    /// All lines, by source, then hour, then measure.
    pub fn iter(&self) -> impl Iterator<Item = Line<'_>> {
        self.by_source
            .iter()
            .flat_map(|(source, tallies)| tallies.iter().map(move |((hour, measure), tally)| Line { source, hour: *hour, measure, tally }))
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.by_source.is_empty()
    }

    /// As JSON, for the information that goes with a commit: an array of `{"source", "hour", "measure", "count", "digest"}`. The hour is microseconds since
    /// 1970-01-01T00:00:00Z.
    pub fn to_json(&self) -> Value {
        // Texts and whole numbers always have a JSON form.
        serde_json::to_value(self.iter().map(JsonLine::from).collect::<Vec<_>>()).unwrap_or_default()
    }

    /// Reads what [`Counts::to_json`] of this or another version wrote: measures that are not known here are kept, fields that are not known are left.
    ///
    /// # Errors
    ///
    /// [`Error::Counts`] for anything else.
    pub fn from_json(json: &Value) -> Result<Self, Error> {
        let lines = Vec::<JsonLine<'_>>::deserialize(json).map_err(|error| Error::Counts(error.to_string()))?;
        let mut counts = Self::default();
        for line in lines {
            let digest = line.digest.parse().map_err(|error: crate::digest::InvalidDigest| Error::Counts(error.to_string()))?;
            counts.add(&line.source, line.hour, line.measure.into_owned(), line.count, &digest);
        }
        Ok(counts)
    }
}

#[derive(Serialize, Deserialize)]
struct JsonLine<'a> {
    source: Cow<'a, str>,
    hour: Timestamp,
    measure: Cow<'a, str>,
    count: i64,
    digest: Cow<'a, str>,
}

impl<'a> From<Line<'a>> for JsonLine<'a> {
    fn from(line: Line<'a>) -> Self {
        Self {
            source: line.source.into(),
            hour: line.hour,
            measure: line.measure.into(),
            count: line.tally.count,
            digest: line.tally.digest.to_hex().into(),
        }
    }
}

/// Counts records of the journal: [`ACCEPTED`], or [`REFUSED`] by the gate.
pub fn of_arrivals(arrivals: &[Arrival]) -> Counts {
    let mut counts = Counts::default();
    for Arrival { receipt, .. } in arrivals {
        let identity = Identity { source: receipt.source.as_str(), event_id: receipt.event_id.as_str() };
        let measure = if receipt.verdict == contract::Verdict::Refused { REFUSED } else { ACCEPTED };
        counts.add_row(identity, receipt.received_at, measure);
    }
    counts
}

/// Counts rows of a table that has `source`, `event_id` and `received_at`, all under one measure: what the books are audited against.
///
/// # Errors
///
/// [`Error::Column`] when the rows do not have these columns.
pub fn of_rows(batch: &RecordBatch, measure: &'static str) -> Result<Counts, Error> {
    const TABLE: &str = "the rows";
    let batch = conform(batch, &schema::counted(), TABLE)?;
    let columns = Columns { batch: &batch, table: TABLE };
    let (sources, ids, received) = (columns.text("source")?, columns.text("event_id")?, columns.instant("received_at")?);
    let mut counts = Counts::default();
    for row in 0..batch.num_rows() {
        counts.add_row(Identity { source: sources.value(row), event_id: ids.value(row) }, Timestamp(received.value(row)), measure);
    }
    Ok(counts)
}

/// What a commit of a table counted.
#[derive(Debug, Clone, Copy)]
pub struct Committed<'a> {
    /// The stage that committed: `gate`, `bronze`, `silver`.
    pub stage: &'a str,
    /// The table.
    pub table_name: &'a str,
    /// The version that the commit made.
    pub table_version: i64,
    /// The version of the table read up to which the commit decided, where a table was read.
    pub input_version: Option<i64>,
    /// What was counted.
    pub counts: &'a Counts,
}

/// The rows of the ledger ([`schema::ledger`]) for these commits.
///
/// # Errors
///
/// [`Error::Arrow`] is not to be expected.
pub fn batch(commits: &[Committed<'_>]) -> Result<RecordBatch, Error> {
    let [mut stages, mut sources, mut measures, mut tables, mut digests] = std::array::from_fn(|_| StringBuilder::new());
    let [mut numbers, mut versions, mut inputs] = std::array::from_fn(|_| Int64Builder::new());
    let mut hours = TimestampMicrosecondBuilder::new().with_timezone(UTC);
    for commit in commits {
        for line in commit.counts.iter() {
            stages.append_value(commit.stage);
            sources.append_value(line.source);
            hours.append_value(line.hour.micros());
            measures.append_value(line.measure);
            numbers.append_value(line.tally.count);
            tables.append_value(commit.table_name);
            versions.append_value(commit.table_version);
            digests.append_value(line.tally.digest.to_hex());
            inputs.append_option(commit.input_version);
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(stages.finish()),
        Arc::new(sources.finish()),
        Arc::new(hours.finish()),
        Arc::new(measures.finish()),
        Arc::new(numbers.finish()),
        Arc::new(tables.finish()),
        Arc::new(versions.finish()),
        Arc::new(digests.finish()),
        Arc::new(inputs.finish()),
    ];
    Ok(RecordBatch::try_new(schema::ledger(), columns)?)
}

#[cfg(test)]
mod tests;
