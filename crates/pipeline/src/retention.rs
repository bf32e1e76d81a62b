//! How long rows are kept.
//!
//! Rows go by whole days: of Bronze and the dead letters by the day of receipt, of Silver and Gold by the day of the event. A day is one commit, which counts what it takes out, by source and
//! hour and with the places in the journal, so the books go on to balance. The table says from which day on it is kept; whoever makes something of it makes nothing anew for which
//! days are missing.
//!
//! What is made of Bronze is never kept longer than Bronze, so that all of it can always be made anew. And as no event is received before it happened, what Silver keeps is then there in
//! Bronze too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use chrono::NaiveDate;
use contract::Timestamp;
use futures::StreamExt as _;
use lake::{Added, Commit, Lake, Table};
use medallion::ledger::places::{Partition, Sums};
use medallion::ledger::{self, BRONZE_EXPIRED, Counts, DEAD_LETTER_EXPIRED, REFUSED_EXPIRED, SILVER_EXPIRED};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::audit::frontier::Frontier;
use crate::audit::is_before_silver;
use crate::config::Config;
use crate::error::Error;
use crate::tables;

const STAGE: &str = "retention";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The progress that says from which day on a table is kept, as days since 1970-01-01.
const KEPT_FROM: &str = "tidegate:kept_from";
/// The columns by which days are told.
pub(crate) const EVENT_DATE: &str = "event_date";
const INGEST_DATE: &str = "ingest_date";

/// `[pipeline.retention]`: how long rows are kept, by table, in whole days. Without one they are kept for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Bronze, from the day of receipt on. Must be the longest of the first three, which then must all be set.
    #[serde(with = "humantime_serde")]
    pub bronze: Option<Duration>,
    /// Silver's events and exposures, from the day of the event on.
    #[serde(with = "humantime_serde")]
    pub silver: Option<Duration>,
    /// The dead letters, from the day of receipt on.
    #[serde(with = "humantime_serde")]
    pub dead_letters: Option<Duration>,
    /// Tables of Gold that are divided by the day of the event.
    #[serde(with = "humantime_serde")]
    pub gold: Option<Duration>,
}

impl Retention {
    /// Refuses what cannot be used.
    ///
    /// # Errors
    /// The setting, and what it must be.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |what: String| Err(Error::Setting(format!("pipeline.retention.{what}")));
        let all = [("bronze", self.bronze), ("silver", self.silver), ("dead_letters", self.dead_letters), ("gold", self.gold)];
        if let Some((name, _)) = all.iter().find(|(_, time)| time.is_some_and(|time| time < DAY)) {
            return refuse(format!("{name} must be at least 1day"));
        }
        let Some(bronze) = self.bronze else { return Ok(()) };
        for (name, time) in [("silver", self.silver), ("dead_letters", self.dead_letters)] {
            if time.is_none_or(|time| time > bronze) {
                let why = "what is made of Bronze cannot be made anew from what is gone";
                return refuse(format!("{name} must be set, and at most as long as pipeline.retention.bronze: {why}"));
            }
        }
        Ok(())
    }
}

/// What retention takes out of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Expired {
    /// The table.
    pub table: String,
    /// The first day that is kept.
    pub kept_from: String,
    /// Days that go.
    pub days: u64,
    /// Their files.
    pub files: u64,
    /// Their rows.
    pub rows: u64,
    /// The bytes of these files.
    pub bytes: u64,
}

/// Takes out of all tables what is older than the settings say, counted from this time; or only tells what it would take. Tables of which nothing goes are left out.
///
/// # Errors
/// Of the kind that the lake says. What is done stays done, and the rest is done the next time. `Setting` where the settings cannot be used.
pub async fn expire(lake: &Lake, config: &Config, now: Timestamp, dry_run: bool) -> Result<Vec<Expired>, Error> {
    config.retention.check()?;
    let Retention { bronze, silver, dead_letters, gold } = config.retention.clone();
    let mut expired = Vec::new();
    let is_building = !tables::builds(&lake.tables().await?).is_empty();
    let own = [
        (tables::BRONZE, bronze, INGEST_DATE),
        (tables::DEAD_LETTERS, dead_letters, INGEST_DATE),
        (tables::EXPOSURES, silver, EVENT_DATE),
        (tables::SILVER, silver, EVENT_DATE),
    ];
    let models = config.models()?;
    let of_gold = models.iter().filter(|model| model.partition_by == EVENT_DATE).map(|model| (model.name.as_str(), gold, EVENT_DATE));
    for (name, time, column) in own.into_iter().chain(of_gold) {
        let Some(time) = time else { continue };
        if is_building && name == tables::BRONZE {
            // What a rebuild counts would not be what the books say of the rest.
            tracing::warn!(
                "a rebuild is there: no day of Bronze goes until it has taken its place or was removed (tidegate replay --cut-over, --drop)"
            );
            continue;
        }
        let Some(mut table) = lake.reader(name).await? else { continue };
        let done = of_table(lake, &mut table, column, first_kept(now, time), dry_run).await?;
        if done.days > 0 {
            expired.push(done);
        }
    }
    Ok(expired)
}

/// The first day that is kept, as days since 1970-01-01.
fn first_kept(now: Timestamp, time: Duration) -> i64 {
    i64::from(now.date()) - i64::try_from(time.as_secs() / DAY.as_secs()).unwrap_or(i64::MAX)
}

/// From which day on a table is kept, as days since 1970-01-01; `None`: from the first on.
pub(crate) async fn kept_from(table: &mut Table) -> Result<Option<i64>, Error> {
    Ok(table.progress(KEPT_FROM).await?)
}

/// A day as partitions are named.
pub(crate) fn named(day: i64) -> String {
    let day = i32::try_from(day).ok().and_then(NaiveDate::from_epoch_days);
    day.map_or_else(String::new, |day| day.to_string())
}

/// The day that a partition is.
pub(crate) fn day_of(file: &Added, column: &str) -> Option<i64> {
    let value = file.partition_values.get(column)?.as_deref()?;
    value.parse::<NaiveDate>().ok().map(|day| i64::from(day.to_epoch_days()))
}

async fn of_table(lake: &Lake, table: &mut Table, column: &str, kept_from: i64, dry_run: bool) -> Result<Expired, Error> {
    let mut expired = Expired { table: table.name().to_owned(), kept_from: named(kept_from), ..Expired::default() };
    let undecided = if table.name() == tables::BRONZE { undecided(lake, table).await? } else { BTreeSet::new() };
    let mut days: BTreeMap<i64, Vec<Added>> = BTreeMap::new();
    for file in table.files().await? {
        if let Some(day) = day_of(&file, column).filter(|day| *day < kept_from && !undecided.contains(&file.path)) {
            days.entry(day).or_default().push(file);
        }
    }
    for (day, files) in days {
        let rows = files.iter().filter_map(|file| file.rows).sum::<u64>();
        expired.days += 1;
        expired.files += files.len() as u64;
        expired.rows += rows;
        expired.bytes += files.iter().map(|file| file.bytes).sum::<u64>();
        if dry_run {
            continue;
        }
        let counts = counted(table, &files, day).await?;
        let mut info = Map::from_iter([("stage".to_owned(), Value::from(STAGE)), ("day".to_owned(), named(day).into())]);
        if !counts.is_empty() {
            info.insert("counts".to_owned(), counts.to_json());
        }
        let progress = match table.progress(KEPT_FROM).await? {
            Some(known) if known > day => Vec::new(),
            _ => vec![(KEPT_FROM.to_owned(), day + 1)],
        };
        table.expire(&files, Commit { progress, info, ..Commit::default() }).await?;
        tracing::info!(table = table.name(), day = named(day), rows, "let go of a day, as retention says");
    }
    Ok(expired)
}

/// The files of Bronze that Silver has still to decide about.
async fn undecided(lake: &Lake, bronze: &Table) -> Result<BTreeSet<String>, Error> {
    let Some(mut silver) = lake.reader(tables::SILVER).await? else { return Ok(BTreeSet::new()) };
    let frontier = Frontier::of(&mut silver).await?;
    let files = bronze.added(frontier.whole().min(bronze.version()), bronze.version()).await?;
    Ok(files.into_iter().map(|file| file.path).collect())
}

/// What is in these files, as the books have it; Gold is in no book.
async fn counted(table: &Table, files: &[Added], day: i64) -> Result<Counts, Error> {
    let (name, mut counts) = (table.name().to_owned(), Counts::default());
    let is_in_books = [tables::BRONZE, tables::SILVER, tables::DEAD_LETTERS].contains(&name.as_str());
    if !is_in_books {
        return Ok(counts);
    }
    let mut columns = vec!["source", "event_id", "received_at", "journal_generation", "journal_partition", "journal_offset"];
    columns.extend((name == tables::DEAD_LETTERS).then_some("stage"));
    let mut batches = table.stream(files, Some(&columns))?;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        match name.as_str() {
            tables::SILVER => counts.merge(&ledger::of_rows(&batch, SILVER_EXPIRED)?),
            tables::BRONZE => {
                counts.merge(&ledger::of_rows(&batch, BRONZE_EXPIRED)?);
                add_places(&mut counts, &batch, day);
            }
            _ => {
                let stages = batch.column(columns.len() - 1).as_string::<i32>();
                let before: arrow::array::BooleanArray = stages.iter().map(|stage| Some(stage.is_some_and(is_before_silver))).collect();
                let split = |mask| arrow::compute::filter_record_batch(&batch, mask).map_err(medallion::Error::from);
                let (refused, decided) = (split(&before)?, split(&arrow::compute::not(&before).map_err(medallion::Error::from)?)?);
                counts.merge(&ledger::of_rows(&refused, REFUSED_EXPIRED)?);
                add_places(&mut counts, &refused, day);
                counts.merge(&ledger::of_rows(&decided, DEAD_LETTER_EXPIRED)?);
            }
        }
    }
    Ok(counts)
}

/// The places of these rows, whose first columns are source, id, time of receipt, and place.
fn add_places(counts: &mut Counts, batch: &RecordBatch, day: i64) {
    let sources = batch.column(0).as_string::<i32>();
    let (generations, partitions) = (batch.column(3).as_primitive::<Int32Type>(), batch.column(4).as_primitive::<Int32Type>());
    let offsets = batch.column(5).as_primitive::<Int64Type>();
    let mut sums: BTreeMap<(&str, Partition), Sums> = BTreeMap::new();
    for row in 0..batch.num_rows() {
        let partition = (generations.value(row), partitions.value(row));
        sums.entry((sources.value(row), partition)).or_default().add(offsets.value(row).cast_unsigned());
    }
    let day = Timestamp(day.saturating_mul(i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX)));
    for ((source, partition), sums) in sums {
        counts.add_places(source, day, partition, sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_made_is_kept_longer_than_what_it_is_made_of() {
        let days = |days: u64| Some(DAY * u32::try_from(days).unwrap());
        let check = |bronze, silver, dead_letters, gold, part: Option<&str>| {
            let checked = Retention { bronze, silver, dead_letters, gold }.check().map_err(|error| error.to_string());
            match part {
                None => assert_eq!(checked, Ok(())),
                Some(part) => assert!(checked.as_ref().is_err_and(|error| error.contains(part)), "{checked:?}"),
            }
        };
        check(None, None, None, None, None);
        check(None, days(1), days(400), days(1), None);
        check(days(30), days(30), days(7), None, None);
        check(days(30), days(31), days(7), None, Some("retention.silver must be set"));
        check(days(30), None, days(7), None, Some("retention.silver must be set"));
        check(days(30), days(30), None, None, Some("retention.dead_letters must be set"));
        check(None, None, None, Some(DAY / 2), Some("retention.gold must be at least 1day"));
    }

    #[test]
    fn days_are_counted_back_from_now() {
        let now = Timestamp(1_795_428_000_000_000);
        assert_eq!(named(first_kept(now, DAY)), "2026-11-22");
        assert_eq!(named(first_kept(now, DAY * 23)), "2026-10-31");
        assert_eq!(named(0), "1970-01-01");
    }
}
