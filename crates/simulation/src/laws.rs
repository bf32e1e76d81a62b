//! The laws, held against what is there in the end: by a small model of what should be, and by what the platform says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result};
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use contract::{Receipt, Verdict};
use lake::Lake;
use pipeline::Config;
use serde_json::Value;

use crate::clients::Told;
use crate::journal::Topic;
use crate::world::IN_FLIGHT_BYTES_MAX;

/// So many violations of one law are told.
const TOLD_MAX: usize = 5;

/// A law of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// A yes is durable.
    Yes,
    /// Progress is data: work is repeated, rows are not.
    Progress,
    /// Bronze is the truth: what came, as it came.
    Bronze,
    /// Silver is a function of the set of Bronze's rows.
    Silver,
    /// One event, one row.
    Unique,
    /// Late is not lost.
    Late,
    /// Bad is not lost.
    Bad,
    /// The books balance.
    Books,
    /// Everything has a bound, and nothing panics.
    Bounds,
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yes => "a yes is durable",
            Self::Progress => "progress is data",
            Self::Bronze => "Bronze is the truth",
            Self::Silver => "Silver is a function of Bronze",
            Self::Unique => "one event, one row",
            Self::Late => "late is not lost",
            Self::Bad => "bad is not lost",
            Self::Books => "the books balance",
            Self::Bounds => "everything has a bound",
        })
    }
}

/// A law that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub law: Law,
    /// What was found.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(law: Law, what: String) -> Self {
        Self { law, what }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law, self.what)
    }
}

/// A place in the journal.
type Place = (i64, i64);

/// What should be there of one record.
struct Should {
    id: String,
    payload: Vec<u8>,
    verdict: Verdict,
    event_time: Option<i64>,
    is_late: bool,
}

/// What is found, up to a bound of each law.
#[derive(Default)]
struct Found(Vec<Violation>);

impl Found {
    fn check(&mut self, is_so: bool, law: Law, what: impl FnOnce() -> String) {
        let Self(found) = self;
        if !is_so && found.iter().filter(|violation| violation.law == law).count() < TOLD_MAX {
            found.push(Violation::new(law, what()));
        }
    }
}

/// Holds the journal and the tables against what clients were told, and against each other. `deep`: a folder in which Silver can be made anew to compare it.
pub(crate) async fn check(lake: &Lake, topic: &Topic, told: &Told, config: &Config, deep: Option<&Path>) -> Result<Vec<Violation>> {
    let mut found = Found::default();
    let should = should(topic, config)?;
    yes(&mut found, &should, told);
    let peak = topic.bytes_waiting_peak();
    found.check(peak <= IN_FLIGHT_BYTES_MAX, Law::Bounds, || format!("a gate had {peak} bytes in memory, of {IN_FLIGHT_BYTES_MAX}"));
    if lake.reader(pipeline::tables::LEDGER).await?.is_none() {
        found.check(should.is_empty(), Law::Yes, || "there are records and no tables".to_owned());
        let Found(found) = found;
        return Ok(found);
    }
    bronze(&mut found, lake, &should).await?;
    silver(&mut found, lake, &should).await?;
    dead_letters(&mut found, lake, &should).await?;
    if let Some(folder) = deep {
        let books = pipeline::audit_deep(lake, config, folder.join("index-of-audit"), &|_| ()).await.context("make up the books")?;
        found.check(books.balanced, Law::Books, || format!("{:?}", books.findings));
    }
    let Found(found) = found;
    Ok(found)
}

fn should(topic: &Topic, config: &Config) -> Result<BTreeMap<Place, Should>> {
    let rules = config.rules();
    let mut all = BTreeMap::new();
    for stored in topic.all() {
        let receipt = Receipt::from_bytes(&stored.record.header).context("a receipt")?;
        let payload: Value = serde_json::from_slice(&stored.record.value).unwrap_or_default();
        let time = payload.pointer("/event_time").and_then(Value::as_str).and_then(|text| contract::time::parse_text(text).ok());
        let received = receipt.received_at.micros();
        // The rule as it is documented: a clock that is off by more than the tolerance is corrected by how far it is off; nothing happens after it was received.
        let skew = receipt.sent_at.map_or(0, |sent| received - sent.micros());
        let shift = if skew.abs() > rules.clock_skew_tolerance_micros { skew } else { 0 };
        let event_time = time.map(|time| (time.micros() + shift).min(received));
        let is_late = event_time.is_some_and(|time| received - time > rules.allowed_lateness_micros);
        let should = Should {
            id: receipt.event_id.as_str().to_owned(),
            payload: stored.record.value.to_vec(),
            verdict: receipt.verdict,
            event_time,
            is_late,
        };
        all.insert((i64::from(stored.partition), i64::try_from(stored.offset).unwrap_or(i64::MAX)), should);
    }
    Ok(all)
}

/// What clients were told is in the journal.
fn yes(found: &mut Found, should: &BTreeMap<Place, Should>, told: &Told) {
    let mut taken: BTreeMap<&[u8], usize> = BTreeMap::new();
    let mut refused: BTreeSet<&[u8]> = BTreeSet::new();
    for record in should.values() {
        if record.verdict == Verdict::Refused {
            refused.insert(&record.payload);
        } else {
            *taken.entry(&record.payload).or_default() += 1;
        }
    }
    let mut answered: BTreeMap<&str, usize> = BTreeMap::new();
    for payload in &told.accepted {
        *answered.entry(payload).or_default() += 1;
    }
    for (payload, times) in answered {
        let there = taken.get(payload.as_bytes()).copied().unwrap_or_default();
        found.check(there >= times, Law::Yes, || format!("{payload} was accepted {times} times and is in the journal {there} times"));
    }
    for payload in &told.refused {
        found.check(refused.contains(payload.as_bytes()), Law::Bad, || format!("{payload} was refused, and is not kept"));
    }
}

async fn bronze(found: &mut Found, lake: &Lake, should: &BTreeMap<Place, Should>) -> Result<()> {
    let batches = rows(lake, pipeline::tables::BRONZE, &["event_id", "payload"]).await?;
    let mut seen = BTreeSet::new();
    for batch in &batches {
        let payloads = batch.column(3).as_binary::<i32>();
        for (row, place) in places(batch).enumerate() {
            found.check(seen.insert(place), Law::Progress, || format!("Bronze has what lies at {place:?} twice"));
            let is_same =
                should.get(&place).is_some_and(|record| record.payload == payloads.value(row) && record.verdict != Verdict::Refused);
            found.check(is_same, Law::Bronze, || format!("Bronze has something else than what lies at {place:?}"));
        }
    }
    for (place, record) in should.iter().filter(|(_, record)| record.verdict != Verdict::Refused) {
        found.check(seen.contains(place), Law::Bronze, || format!("Bronze has not {}, which lies at {place:?}", record.id));
    }
    Ok(())
}

async fn silver(found: &mut Found, lake: &Lake, should: &BTreeMap<Place, Should>) -> Result<()> {
    // Of the copies of an event, the one that lies first wins.
    let mut winners: BTreeMap<&str, (Place, &Should)> = BTreeMap::new();
    for (place, record) in should.iter().filter(|(_, record)| matches!(record.verdict, Verdict::Accepted | Verdict::Flagged)) {
        winners.entry(&record.id).or_insert((*place, record));
    }
    let batches = rows(lake, pipeline::tables::SILVER, &["event_id", "is_late", "event_time"]).await?;
    let mut seen = BTreeSet::new();
    for batch in &batches {
        let (ids, late) = (batch.column(2).as_string::<i32>(), batch.column(3).as_boolean());
        let times = batch.column(4).as_primitive::<TimestampMicrosecondType>();
        for (row, place) in places(batch).enumerate() {
            let id = ids.value(row);
            found.check(seen.insert(id.to_owned()), Law::Unique, || format!("Silver has {id} twice"));
            let Some((wins, record)) = winners.get(id) else {
                found.check(false, Law::Unique, || format!("Silver has {id}, which was never accepted"));
                continue;
            };
            found.check(*wins == place, Law::Silver, || {
                format!("of {id} Silver has the copy at {place:?} in the place of that at {wins:?}")
            });
            let is_as_ruled = record.is_late == late.value(row) && record.event_time == Some(times.value(row));
            found.check(*wins != place || is_as_ruled, Law::Silver, || format!("the time of {id} is not what the rules make of it"));
        }
    }
    for (id, (place, record)) in winners {
        let law = if record.is_late { Law::Late } else { Law::Silver };
        found.check(seen.contains(id), law, || format!("Silver has not {id}, which lies at {place:?}"));
    }
    Ok(())
}

async fn dead_letters(found: &mut Found, lake: &Lake, should: &BTreeMap<Place, Should>) -> Result<()> {
    let batches = rows(lake, pipeline::tables::DEAD_LETTERS, &["stage"]).await?;
    let mut seen = BTreeSet::new();
    for batch in &batches {
        for place in places(batch) {
            found.check(seen.insert(place), Law::Progress, || format!("the dead letters have what lies at {place:?} twice"));
            found.check(should.contains_key(&place), Law::Bad, || format!("the dead letters have what lies nowhere: {place:?}"));
        }
    }
    let is_dead = |record: &Should| matches!(record.verdict, Verdict::Refused | Verdict::Quarantined);
    for (place, record) in should.iter().filter(|(_, record)| is_dead(record)) {
        found.check(seen.contains(place), Law::Bad, || format!("the dead letters have not {}, which lies at {place:?}", record.id));
    }
    Ok(())
}

/// The place in the journal of each row of a table, and these columns.
async fn rows(lake: &Lake, table: &str, columns: &[&str]) -> Result<Vec<RecordBatch>> {
    let mut table = lake.reader(table).await?.with_context(|| format!("there is no {table}"))?;
    let files = table.files().await?;
    let all: Vec<&str> = ["journal_partition", "journal_offset"].iter().chain(columns).copied().collect();
    Ok(table.read(&files, Some(&all)).await?)
}

/// The places in the journal that the rows of a batch are of: its first two columns.
fn places(batch: &RecordBatch) -> impl Iterator<Item = Place> + '_ {
    let number = |column: usize, row: usize| {
        let column = arrow::compute::cast(batch.column(column), &arrow::datatypes::DataType::Int64);
        column.map_or(-1, |column| if column.is_null(row) { -1 } else { column.as_primitive::<Int64Type>().value(row) })
    };
    (0..batch.num_rows()).map(move |row| (number(0, row), number(1, row)))
}
