//! The books: what was received, what became of it, and whether the tables agree.
//!
//! Everything is read from the lake alone, at versions that belong together: Silver's first, then Bronze, of which [`Frontier`] tells what Silver has decided about. Three things
//! are held against each other, by source and by the hour of receipt, as counts and as digests of the identities: the rows that are there, what the commits
//! say they added, and the law that every row of Bronze is a row of Silver, a duplicate, a dead letter or erased.

use std::collections::{BTreeMap, BTreeSet};

use contract::Timestamp;
use lake::{Lake, Table};
use medallion::ledger::{
    ACCEPTED, BRONZE_EXPIRED, Counts, DEAD_LETTER, DEAD_LETTER_EXPIRED, DUPLICATE, ERASED, EXPOSURE, LATE, REFUSED, REFUSED_EXPIRED,
    SILVER, SILVER_EXPIRED, Tally, UNREADABLE, UNTOLD, places,
};
use serde::Serialize;

use crate::error::Error;
use crate::retention::kept_from;
use crate::{lost, tables};

mod deep;
mod files;
pub(crate) mod frontier;
mod names;
mod positions;
mod rows;
pub(crate) mod said;

pub use deep::audit_deep;
use frontier::Frontier;
pub(crate) use rows::is_before_silver;
use said::Said;

/// What retention took out.
const EXPIRED: [&str; 4] = [BRONZE_EXPIRED, SILVER_EXPIRED, REFUSED_EXPIRED, DEAD_LETTER_EXPIRED];
/// What a row of Bronze became, once Silver has decided about it.
pub(crate) const BECAME: [&str; 5] = [SILVER, DUPLICATE, DEAD_LETTER, ERASED, UNTOLD];
/// Findings that are told at most; there may be one for each source and hour.
const FINDINGS_MAX: usize = 100;

/// The books of a lake.
#[derive(Debug, Clone, Serialize)]
pub struct Books {
    /// Whether they balance: nothing was found.
    pub balanced: bool,
    /// The version of Silver they were made at.
    pub silver_version: i64,
    /// The version of Bronze up to which Silver had decided about everything.
    pub bronze_version: i64,
    /// All sources together.
    pub total: Line,
    /// By source.
    pub sources: BTreeMap<String, Line>,
    /// Rows of Silver that were made anew from Bronze and compared in all columns; `None` where that was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<u64>,
    /// What does not agree, at most 100 things.
    pub findings: Vec<Finding>,
}

/// Counts of events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What the gate took or refused, and kept: accepted + refused.
    pub received: u64,
    /// What the gate took.
    pub accepted: u64,
    /// What it refused. It is among the dead letters, with the reason.
    pub refused: u64,
    /// Rows of Bronze.
    pub bronze: u64,
    /// Rows of Silver.
    pub silver: u64,
    /// Copies of events that Silver has already.
    pub duplicates: u64,
    /// Rows of Bronze that became dead letters.
    pub dead_letters: u64,
    /// Rows of Bronze without content: a person asked for it, and duplicates are not among them.
    #[serde(skip_serializing_if = "is_none")]
    pub erased: u64,
    /// Rows of Bronze that Silver has not come to.
    pub pending: u64,
    /// Rows of Bronze that retention took out; what became of them is still counted, unless Silver was made anew since.
    #[serde(skip_serializing_if = "is_none")]
    pub bronze_expired: u64,
    /// Rows that retention took out of Silver.
    #[serde(skip_serializing_if = "is_none")]
    pub silver_expired: u64,
    /// Dead letters that retention took out.
    #[serde(skip_serializing_if = "is_none")]
    pub dead_letters_expired: u64,
    /// Of Silver's rows, those that were late.
    pub late: u64,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

/// Two things that should agree and do not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was held against what.
    pub check: String,
    /// The source, where the finding is about one.
    pub source: Option<String>,
    /// The hour of receipt, where the finding is about one.
    pub hour: Option<String>,
    /// How many there should be.
    pub expected: u64,
    /// How many there are. As many as there should be: the identities differ.
    pub found: u64,
    /// Some of the events concerned, each as `source/event_id` with what is wrong with it.
    pub events: Vec<String>,
}

/// Makes up the books from the lake's tables.
///
/// # Errors
/// [`Error::NoTable`] when the lake has none; else of the kind that the lake says.
pub async fn audit(lake: &Lake) -> Result<Books, Error> {
    let in_ledger = lost::in_ledger(lake).await?;
    let mut silver = open(lake, tables::SILVER).await?;
    let mut frontier = Frontier::of(&mut silver).await?;
    let mut exposures = open(lake, tables::EXPOSURES).await?;
    let mut bronze = open(lake, tables::BRONZE).await?;
    // After Bronze: what the gate refused in a range is committed before it, and so is there for all that Bronze says that it has.
    let mut dead_letters = open(lake, tables::DEAD_LETTERS).await?;

    // What is there is counted also where files are gone: then the rest tells which events were in them.
    let mut findings = Vec::new();
    for table in [&bronze, &silver, &dead_letters] {
        lost::find(table, "the ledger", in_ledger.get(table.name()).copied().unwrap_or(-1), &mut findings);
    }
    lost::find(&bronze, "Silver", frontier.furthest(), &mut findings);
    for table in [&mut bronze, &mut silver, &mut exposures, &mut dead_letters] {
        files::check(table, &mut findings).await?;
    }
    frontier.look_beyond(&bronze).await?;

    let bronze_version = frontier.whole();
    let mut said = Said::read(lake, &[&bronze, &silver, &dead_letters], bronze_version).await?;
    said.decided.merge(&rows::decided_beyond(&bronze, &frontier, ACCEPTED).await?);
    let mut there = rows::count(&mut bronze, None, ACCEPTED).await?;
    there.merge(&rows::count(&mut silver, None, SILVER).await?);
    there.merge(&rows::count(&mut dead_letters, rows::REFUSED, REFUSED).await?);
    there.merge(&rows::count(&mut dead_letters, rows::OF_BRONZE, DEAD_LETTER).await?);
    // Retention takes days out of the two one after the other.
    let kept_from = kept_from(&mut silver).await?.max(kept_from(&mut exposures).await?);
    there.merge(&rows::count_from(&mut exposures, kept_from, None, EXPOSURE).await?);
    let exposures_in_events = rows::count_from(&mut silver, kept_from, rows::EXPOSURES, EXPOSURE).await?;
    // What was taken out had been there.
    let expired = said.all.only_where(|measure| EXPIRED.contains(&measure) || places::is_place(measure));
    there.merge(&expired);
    // A step that was interrupted leaves its dead letters and exposures before Silver says that it is done; the next start repeats it.
    let mut expected = said.all.clone();
    expected.merge(&rows::undecided(&dead_letters, &frontier, DEAD_LETTER).await?);
    let mut expected_exposures = exposures_in_events;
    expected_exposures.merge(&rows::undecided(&exposures, &frontier, EXPOSURE).await?);

    let mut check = |what: &str, expected: &Counts, expected_as: &[&str], found: &Counts, found_as: &[&str]| {
        compare(&mut findings, what, &by_hour(expected, expected_as), &by_hour(found, found_as));
    };
    check("rows of Bronze, against what its commits say", &expected, &[ACCEPTED], &there, &[ACCEPTED, BRONZE_EXPIRED]);
    check("rows of Silver, against what its commits say", &expected, &[SILVER], &there, &[SILVER, SILVER_EXPIRED]);
    check(
        "dead letters of the gate, against what their commits say",
        &expected,
        &[REFUSED, UNREADABLE],
        &there,
        &[REFUSED, REFUSED_EXPIRED],
    );
    check("dead letters of Silver, against what its commits say", &expected, &[DEAD_LETTER], &there, &[DEAD_LETTER, DEAD_LETTER_EXPIRED]);
    check("exposures, against those among Silver's events", &expected_exposures, &[EXPOSURE], &there, &[EXPOSURE]);
    check("Bronze = Silver + duplicates + dead letters + erased", &said.decided, &[ACCEPTED], &said.all, &BECAME);
    names::name(lake, &mut findings).await?;
    positions::check(&mut bronze, &mut dead_letters, &mut silver, &expired, &mut findings).await?;
    names::doubled(lake, &mut findings).await?;
    findings.truncate(FINDINGS_MAX);

    let sources = by_source(&said, &there);
    let mut total = Line::default();
    for line in sources.values() {
        total.add(line);
    }
    Ok(Books { balanced: findings.is_empty(), silver_version: silver.version(), bronze_version, total, sources, compared: None, findings })
}

async fn open(lake: &Lake, name: &str) -> Result<Table, Error> {
    let missing = || Error::NoTable { location: lake.location().to_string(), table: name.to_owned() };
    lake.reader(name).await?.ok_or_else(missing)
}

type ByHour = BTreeMap<(String, Timestamp), Tally>;

/// These measures added up.
fn by_hour(counts: &Counts, measures: &[&str]) -> ByHour {
    let mut sums = ByHour::new();
    for line in counts.iter().filter(|line| measures.contains(&line.measure)) {
        let sum = sums.entry((line.source.to_owned(), line.hour)).or_default();
        sum.count += line.tally.count;
        sum.digest.merge(&line.tally.digest);
    }
    sums
}

/// One finding for each source and hour where the two differ.
fn compare(findings: &mut Vec<Finding>, check: &str, expected: &ByHour, found: &ByHour) {
    for key in expected.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
        let of = |sums: &ByHour| sums.get(key).copied().unwrap_or_default();
        let (should, is) = (of(expected), of(found));
        if should != is {
            findings.push(Finding {
                check: check.to_owned(),
                source: Some(key.0.clone()),
                hour: Some(key.1.to_rfc3339()),
                expected: should.count.unsigned_abs(),
                found: is.count.unsigned_abs(),
                events: Vec::new(),
            });
        }
    }
}

/// What the commits say, with the rows that are there.
pub(crate) fn by_source(said: &Said, there: &Counts) -> BTreeMap<String, Line> {
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    let mut put = |counts: &Counts, measures: &[&str], field: fn(&mut Line) -> &mut u64| {
        for line in counts.iter().filter(|line| measures.contains(&line.measure)) {
            let field = field(lines.entry(line.source.to_owned()).or_default());
            *field = field.saturating_add_signed(line.tally.count);
        }
    };
    put(&said.all, &[ACCEPTED], |line| &mut line.accepted);
    put(&said.all, &[REFUSED, UNREADABLE], |line| &mut line.refused);
    put(there, &[ACCEPTED], |line| &mut line.bronze);
    put(there, &[SILVER], |line| &mut line.silver);
    put(&said.all, &[DUPLICATE], |line| &mut line.duplicates);
    put(there, &[DEAD_LETTER], |line| &mut line.dead_letters);
    put(&said.all, &[ERASED], |line| &mut line.erased);
    put(&said.all, &[LATE], |line| &mut line.late);
    put(&said.decided, &[ACCEPTED], |line| &mut line.pending);
    put(&said.all, &[BRONZE_EXPIRED], |line| &mut line.bronze_expired);
    put(&said.all, &[SILVER_EXPIRED], |line| &mut line.silver_expired);
    put(&said.all, &[REFUSED_EXPIRED, DEAD_LETTER_EXPIRED], |line| &mut line.dead_letters_expired);
    for line in lines.values_mut() {
        line.received = line.accepted + line.refused;
        line.pending = line.accepted.saturating_sub(line.pending);
    }
    lines
}

impl Books {
    /// The lines to show: each source's, then all together if there are several.
    pub fn lines(&self) -> Vec<(String, Line)> {
        let mut lines: Vec<_> = self.sources.iter().map(|(source, line)| (source.clone(), line.clone())).collect();
        if lines.len() != 1 {
            lines.push(("all sources".to_owned(), self.total.clone()));
        }
        lines
    }
}

impl Line {
    pub(crate) fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.bronze += other.bronze;
        self.silver += other.silver;
        self.duplicates += other.duplicates;
        self.dead_letters += other.dead_letters;
        self.erased += other.erased;
        self.pending += other.pending;
        self.bronze_expired += other.bronze_expired;
        self.silver_expired += other.silver_expired;
        self.dead_letters_expired += other.dead_letters_expired;
        self.late += other.late;
    }
}

impl Finding {
    /// In words.
    pub fn text(&self) -> String {
        let place = match (&self.source, &self.hour) {
            (Some(source), Some(hour)) => format!(" (source {source}, received in the hour from {hour})"),
            (Some(source), None) => format!(" (source {source})"),
            _ => String::new(),
        };
        let numbers = if self.expected == self.found {
            format!("{} each, but not the same events", self.found)
        } else {
            format!("{} expected, {} found", self.expected, self.found)
        };
        let events = if self.events.is_empty() { String::new() } else { format!(": {}", self.events.join("; ")) };
        format!("{}{place}: {numbers}{events}", self.check)
    }
}
