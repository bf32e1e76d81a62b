//! The books at a glance: what the commits say was counted, held against what the logs say is there.
//!
//! No event is read, so it may be asked every second. The audit reads all of them, and proves; a glance finds what is missing from a table as a number, and where what Silver
//! decided does not add up.

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use contract::Timestamp;
use futures::TryStreamExt as _;
use lake::{Added, Lake, Table};
use medallion::digest::Digest;
use medallion::ledger::{
    ACCEPTED, BRONZE_EXPIRED, Counts, DEAD_LETTER, DEAD_LETTER_EXPIRED, REFUSED, REFUSED_EXPIRED, SILVER, SILVER_EXPIRED, UNREADABLE,
    places,
};
use serde::Serialize;

use crate::audit::frontier::Frontier;
use crate::audit::said::Said;
use crate::audit::{BECAME, Finding, Line, by_source};
use crate::error::Error;
use crate::gold::{Models, RECEIVED};
use crate::{ledger, tables};

const RECEIVED_AT: &str = "received_at";

/// How the lake stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// All sources together, as the commits say.
    pub total: Line,
    /// By source.
    pub sources: std::collections::BTreeMap<String, Line>,
    /// Bronze's events, Silver's and its exposures, the dead letters, the ledger, and the tables of Gold: those that are there.
    pub tables: Vec<TableStanding>,
    /// The newest time of receipt in Silver, in microseconds since 1970, to the millisecond.
    pub received: Option<i64>,
    /// What does not agree. Nothing: the books balance, as far as numbers tell.
    pub findings: Vec<Finding>,
}

/// How one table stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableStanding {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: i64,
    /// Its rows, as its files say.
    pub rows: u64,
    /// Its data files.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// For a table of Gold: the newest time of receipt of what it was made of, in microseconds since 1970.
    pub received: Option<i64>,
}

impl Standing {
    /// The table of this name, if it is there.
    pub fn table(&self, name: &str) -> Option<&TableStanding> {
        self.tables.iter().find(|table| table.name == name)
    }
}

/// Looks at a lake again and again, and reads each time only what is new.
#[derive(Debug)]
pub struct Glance {
    lake: Lake,
    book: Seen,
    silver: Seen,
    bronze: Seen,
    dead_letters: Seen,
    /// Those that only stand there.
    others: Vec<Seen>,
    /// What the ledger has, over all hours.
    posted: Counts,
    /// The version of the ledger that was read.
    through: Option<i64>,
}

impl Glance {
    /// Of these tables of Gold and all others. Touches nothing yet.
    pub fn new(lake: Lake, models: &Models) -> Self {
        let gold = models.iter().map(|model| model.name.as_str());
        let others = std::iter::once(tables::EXPOSURES).chain(gold).map(Seen::new).collect();
        Self {
            lake,
            book: Seen::new(tables::LEDGER),
            silver: Seen::new(tables::SILVER).with_newest_of(RECEIVED_AT),
            bronze: Seen::new(tables::BRONZE),
            dead_letters: Seen::new(tables::DEAD_LETTERS),
            others,
            posted: Counts::default(),
            through: None,
        }
    }

    /// How the lake stands now. A lake without tables stands at nothing.
    ///
    /// # Errors
    /// Of the kind that the lake says; the next look goes on where this one failed.
    pub async fn look(&mut self) -> Result<Standing, Error> {
        // In this order, so that what one says of the next is there: the ledger of all tables, Silver of Bronze and of the dead letters, Bronze of those of the gate.
        self.book.look(&self.lake).await?;
        self.read_book().await?;
        self.silver.look(&self.lake).await?;
        self.bronze.look(&self.lake).await?;
        self.dead_letters.look(&self.lake).await?;
        for table in &mut self.others {
            table.look(&self.lake).await?;
        }
        let said = self.said().await?;
        let mut standing = Standing { findings: self.compare(&said).await?, ..Standing::default() };
        standing.sources = by_source(&said, &there(&said.all));
        for line in standing.sources.values() {
            standing.total.add(line);
        }
        standing.received = self.silver.newest;
        let first = [&self.bronze, &self.silver];
        let last = [&self.dead_letters, &self.book];
        let all = first.into_iter().chain(&self.others).chain(last);
        standing.tables = all.filter_map(|seen| seen.standing.clone()).collect();
        Ok(standing)
    }

    /// Reads what the ledger has got since.
    async fn read_book(&mut self) -> Result<(), Error> {
        let Some(book) = &mut self.book.table else { return Ok(()) };
        let version = book.version();
        let files: Vec<Added> = match self.through {
            Some(through) if through == version => return Ok(()),
            Some(through) => match book.added(through, version).await {
                Ok(files) => files,
                // The log no longer tells what came since.
                Err(error) if error.kind() == lake::ErrorKind::Missing => {
                    self.posted = Counts::default();
                    book.files().await?
                }
                Err(error) => return Err(error.into()),
            },
            None => book.files().await?,
        };
        self.through = None;
        let mut rows = book.stream(&files, Some(&["measure", "source", "table_name", "count"]))?;
        let mut posted = std::mem::take(&mut self.posted);
        while let Some(batch) = rows.try_next().await? {
            let text = |column: usize| batch.column(column).as_string::<i32>();
            let (measures, sources, names) = (text(0), text(1), text(2));
            let counts = batch.column(3).as_primitive::<Int64Type>();
            for row in (0..batch.num_rows()).filter(|row| ledger::COUNTED.contains(&names.value(*row))) {
                add(&mut posted, sources.value(row), measures.value(row), counts.value(row));
            }
        }
        (self.posted, self.through) = (posted, Some(version));
        Ok(())
    }

    /// What the commits of the tables say, in the ledger and beyond it.
    async fn said(&mut self) -> Result<Said, Error> {
        let mut all = self.posted.clone();
        for seen in [&self.silver, &self.bronze, &self.dead_letters] {
            let Some(table) = &seen.table else { continue };
            let in_ledger = match &mut self.book.table {
                Some(book) => book.progress(&tables::progress_in(table.name())).await?.unwrap_or(-1),
                None => -1,
            };
            for posted in ledger::posted(table, in_ledger.min(table.version()), table.version()).await? {
                posted.counts.iter().for_each(|line| add(&mut all, line.source, line.measure, line.tally.count));
            }
        }
        let decided = all.only(&BECAME).counted_as(ACCEPTED);
        Ok(Said { all, decided })
    }

    async fn compare(&mut self, said: &Said) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        let sum = |measures: &[&str]| measures.iter().map(|measure| said.all.sum(measure).count).sum::<i64>();
        let mut check = |check: &str, expected: i64, found: i64| {
            if expected != found {
                let number = |count: i64| u64::try_from(count).unwrap_or_default();
                let (expected, found) = (number(expected), number(found));
                findings.push(Finding { check: check.to_owned(), source: None, hour: None, expected, found, events: Vec::new() });
            }
        };
        if let Some(rows) = self.bronze.rows() {
            check("rows of Bronze, against what its commits say", sum(&[ACCEPTED]) - sum(&[BRONZE_EXPIRED]), rows);
        }
        if let Some(rows) = self.silver.rows() {
            check("rows of Silver, against what its commits say", sum(&[SILVER]) - sum(&[SILVER_EXPIRED]), rows);
        }
        if let Some(rows) = self.dead_letters.rows() {
            let expected = sum(&[REFUSED, UNREADABLE, DEAD_LETTER]) - sum(&[REFUSED_EXPIRED, DEAD_LETTER_EXPIRED]);
            // Silver's are there before Silver says so.
            check("dead letters, against what the commits say", expected, rows.min(expected));
        }
        if let (Some(silver), Some(bronze)) = (&mut self.silver.table, &self.bronze.table) {
            let (accepted, became) = (sum(&[ACCEPTED]), sum(&BECAME));
            let is_level = Frontier::of(silver).await?.whole() >= bronze.version();
            let expected = if is_level { accepted } else { accepted.max(became) };
            let found = if is_level { became } else { expected.min(accepted) };
            check("Bronze = Silver + duplicates + dead letters + erased", expected, found);
        }
        Ok(findings)
    }
}

/// What the tables have, if they have what is said of them.
fn there(said: &Counts) -> Counts {
    let mut there = said.only(&[ACCEPTED, SILVER, DEAD_LETTER]);
    for (gone, of) in [(BRONZE_EXPIRED, ACCEPTED), (SILVER_EXPIRED, SILVER), (DEAD_LETTER_EXPIRED, DEAD_LETTER)] {
        there.subtract(&said.only(&[gone]).counted_as(of));
    }
    there
}

/// Counts over all hours, and without digests.
fn add(counts: &mut Counts, source: &str, measure: &str, count: i64) {
    if !places::is_place(measure) {
        counts.add(source, Timestamp(0), measure.to_owned(), count, &Digest::default());
    }
}

/// A table, and how it stood when it was last looked at.
#[derive(Debug)]
struct Seen {
    name: String,
    table: Option<Table>,
    standing: Option<TableStanding>,
    /// The column of times whose newest is kept.
    times: Option<&'static str>,
    newest: Option<i64>,
}

impl Seen {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), table: None, standing: None, times: None, newest: None }
    }

    fn with_newest_of(self, times: &'static str) -> Self {
        Self { times: Some(times), ..self }
    }

    fn rows(&self) -> Option<i64> {
        self.standing.as_ref().map(|standing| i64::try_from(standing.rows).unwrap_or(i64::MAX))
    }

    async fn look(&mut self, lake: &Lake) -> Result<(), Error> {
        let version = match &mut self.table {
            Some(table) => table.refresh().await?,
            None => match lake.reader(&self.name).await? {
                Some(table) => self.table.insert(table).version(),
                None => return Ok(()),
            },
        };
        let Some(table) = self.table.as_mut().filter(|_| self.standing.as_ref().is_none_or(|before| before.version != version)) else {
            return Ok(());
        };
        let files = table.files().await?;
        if let Some(times) = self.times {
            // It is in the statistics of all files, so it is looked for once a version.
            self.newest = table.newest(times).await?;
        }
        self.standing = Some(TableStanding {
            name: self.name.clone(),
            version,
            rows: files.iter().filter_map(|file| file.rows).sum(),
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.bytes).sum(),
            received: table.progress(RECEIVED).await?,
        });
        Ok(())
    }
}
