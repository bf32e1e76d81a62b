//! Erasing a person: the content of their events goes from every table and from the journal, and later arrivals of theirs are kept out.
//!
//! It is done in an order in which nothing can come back. First the ids go on a list, as keyed digests, and Bronze loses the content of the person's rows; whoever writes Bronze by the list
//! of before is refused by the commit and reads the list anew. Then the stages bring what they have in work to its end, and the journal forgets what it held. Then what Silver made of
//! these rows goes, Gold is made anew where it hung on them, and the files that held it are deleted. Broken off, it is begun again, and does what is not done.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use arrow::error::ArrowError;
use contract::{Erased, Person, Timestamp, WireFormat, erasure};
use futures::StreamExt as _;
use lake::{Commit, Edit, Lake, Rewrite, RowFilter, Table};
use medallion::erasure as rows;
use medallion::frontier::BUCKETS;
use medallion::ledger::Counts;
use medallion::schema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::audit::is_before_silver;
use crate::bronze::newest_journal;
use crate::config::Config;
use crate::error::Error;
use crate::gold::Fed;
use crate::replay::drop_build;
use crate::tables::{self, Names};
use crate::upkeep::needed_from;

/// How often other writers may be faster before it is given up.
const ATTEMPTS_MAX: u32 = 50;
/// Anonymous ids that one person may have: more are a fault in what was sent, and not a person.
const LINKED_MAX: usize = 10_000;
/// The columns of a place in the journal.
const PLACE: [&str; 3] = ["journal_generation", "journal_partition", "journal_offset"];
/// Columns that hold one id of a person and nothing else.
const ID_COLUMNS: [&str; 3] = ["user_id", "anonymous_id", "subject_id"];
/// The column that is kept whatever it holds: deduplication and the books rest on it.
const EVENT_ID: &str = "event_id";
const STAGE: &str = "erasure";

/// Whom to erase.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Ids of the user.
    pub users: Vec<String>,
    /// Anonymous ids, beside those that Silver has with a user's id and no other user's.
    pub anonymous: Vec<String>,
    /// Leaves anonymous ids alone that were not named.
    pub only_named: bool,
}

/// The list of erased persons as the lake has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// Whose events are kept out.
    pub erased: Erased,
    /// The version of the table it is from; -1 where there is none.
    pub version: i64,
}

/// Reads the list of erased persons.
///
/// # Errors
/// Of the kind that the lake says; `Fatal` for a list that cannot be read.
pub async fn list(lake: &Lake) -> Result<List, Error> {
    let Some(mut table) = lake.reader(tables::ERASED).await? else { return Ok(List { version: -1, ..List::default() }) };
    read_list(&mut table).await
}

/// The list, if it is newer than this version.
///
/// # Errors
/// As [`list`].
pub async fn newer(lake: &Lake, version: i64) -> Result<Option<List>, Error> {
    let Some(mut table) = lake.reader(tables::ERASED).await? else { return Ok(None) };
    if table.version() <= version {
        return Ok(None);
    }
    read_list(&mut table).await.map(Some)
}

async fn read_list(table: &mut Table) -> Result<List, Error> {
    let (version, files) = (table.version(), table.files().await?);
    let mut list: Option<Erased> = None;
    for batch in table.read(&files, Some(&["digest", "digest_key"])).await? {
        let (digests, keys) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
        for row in 0..batch.num_rows() {
            let unreadable =
                || Error::Info { table: tables::ERASED.to_owned(), version, what: "a digest or key is not hexadecimal".to_owned() };
            let key: [u8; 32] = erasure::from_hex(keys.value(row)).ok_or_else(unreadable)?;
            list.get_or_insert_with(|| Erased::new(key)).insert(erasure::from_hex(digests.value(row)).ok_or_else(unreadable)?);
        }
    }
    Ok(List { erased: list.unwrap_or_default(), version })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What an erasure found of a person, and is to look for.
#[derive(Debug, Clone)]
pub struct Found {
    /// The ids to look for.
    pub person: Person,
    /// The user's, as they were named.
    pub users: Vec<String>,
    /// Anonymous ids that are looked for.
    pub anonymous: Vec<String>,
    /// Anonymous ids that other users have too: their events stay where they do not name the user.
    pub shared: Vec<String>,
    /// Ids too short, or too much like a number, to be evidence anywhere but as a user's or an anonymous id.
    pub not_telling: Vec<String>,
}

/// Finds out which ids are the person's.
///
/// # Errors
/// `Setting` where no id was given, or there are too many; [`Error::NoTable`] in a lake without tables.
pub async fn find(lake: &Lake, request: &Request) -> Result<Found, Error> {
    let (users, named): (Vec<String>, Vec<String>) = (sorted(request.users.clone()), sorted(request.anonymous.clone()));
    if users.is_empty() && named.is_empty() {
        return Err(Error::Setting("name at least one id that is not empty".to_owned()));
    }
    let (mut anonymous, mut shared) = (named, Vec::new());
    if !users.is_empty() && !request.only_named {
        let linked = ids(lake, &format!("user_id IN ({})", quoted(&users))).await?;
        let of_others = if linked.is_empty() {
            Vec::new()
        } else {
            ids(lake, &format!("anonymous_id IN ({}) AND user_id NOT IN ({})", quoted(&linked), quoted(&users))).await?
        };
        let is_shared = |id: &String| of_others.contains(id) && !anonymous.contains(id);
        let (of_both, own): (Vec<String>, Vec<String>) = linked.into_iter().partition(is_shared);
        shared = of_both;
        anonymous.extend(own);
    }
    let anonymous = sorted(anonymous);
    let person = Person::new(users.iter().chain(&anonymous).cloned());
    let not_telling = users.iter().chain(&anonymous).filter(|id| !erasure::is_telling(id)).cloned().collect();
    Ok(Found { person, users, anonymous, shared, not_telling })
}

fn sorted(ids: Vec<String>) -> Vec<String> {
    ids.into_iter().filter(|id| !id.is_empty()).collect::<BTreeSet<_>>().into_iter().collect()
}

fn quoted(ids: &[String]) -> String {
    ids.iter().map(|id| format!("'{}'", id.replace('\'', "''"))).collect::<Vec<_>>().join(", ")
}

/// The anonymous ids in Silver's rows for which this holds.
async fn ids(lake: &Lake, condition: &str) -> Result<Vec<String>, Error> {
    let failed = || Error::query("a person's ids");
    if lake.reader(tables::SILVER).await?.is_none() {
        return Err(Error::NoTable { location: lake.location().to_string(), table: tables::SILVER.to_owned() });
    }
    let sql = format!(
        "SELECT DISTINCT anonymous_id FROM {} WHERE anonymous_id IS NOT NULL AND {condition} ORDER BY 1 LIMIT {}",
        tables::SILVER,
        LINKED_MAX + 1
    );
    let batches = lake.session().await?.sql(&sql).await.map_err(failed())?.collect().await.map_err(failed())?;
    let texts = batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
    let found: Vec<String> = texts.collect();
    if found.len() > LINKED_MAX {
        return Err(Error::Setting(format!(
            "more than {LINKED_MAX} anonymous ids come with this user: that is no one person's; erase with --only-named, and name the anonymous ids"
        )));
    }
    Ok(found)
}

/// What was done to a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Rows that lost their content, and keep the place of the event.
    pub rows_emptied: u64,
    /// Rows taken out.
    pub rows_removed: u64,
    /// Data files written anew.
    pub files_rewritten: u64,
    /// Files deleted that held what was replaced.
    pub files_deleted: u64,
}

/// What was removed where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Its number, as in `erased`.
    pub erasure: i64,
    /// When it was begun.
    pub erased_at: String,
    /// The digests of the ids: whoever knows an id can tell that it was among them.
    pub digests: Vec<String>,
    /// By table.
    pub tables: BTreeMap<String, Done>,
    /// Rebuilds beside the live tables that were removed.
    pub rebuilds_removed: Vec<String>,
    /// Tables of Gold that were made anew, with the number of their partitions.
    pub gold_partitions: BTreeMap<String, u64>,
    /// Partitions of the journal that have forgotten what they held.
    pub journal_partitions: u32,
    /// Rows that were searched for the ids at the end.
    pub rows_searched: u64,
    /// Rows that still have one, by table: none, or something has to be looked at.
    pub rows_left: BTreeMap<String, u64>,
    /// Rows whose event id has one of the ids in it; such ids are kept.
    pub event_ids: u64,
}

impl Report {
    /// Whether nothing of the person was found at the end.
    pub fn is_complete(&self) -> bool {
        self.rows_left.is_empty()
    }

    /// The BLAKE3 digest of the report as JSON, hexadecimal: what was handed over can be told from what was altered since.
    pub fn seal(&self) -> String {
        blake3::hash(serde_json::to_string(self).unwrap_or_default().as_bytes()).to_hex().to_string()
    }
}

/// An erasure that is begun: nothing of the person comes into Bronze any more.
#[derive(Debug)]
pub struct Begun {
    person: Arc<Person>,
    bronze_version: i64,
    report: Report,
}

/// Puts the person on the list and takes the content of their rows out of Bronze.
///
/// # Errors
/// `Retry` when the store fails or other writers were faster every time; [`Error::NoTable`] in a lake without tables. Called again it goes on.
pub async fn begin(lake: &Lake, found: &Found, now: Timestamp, key: [u8; 32]) -> Result<Begun, Error> {
    let mut bronze = open(lake, tables::BRONZE).await?;
    let mut report = enlist(lake, found, now, key).await?;
    let person = Arc::new(found.person.clone());
    let done = report.tables.entry(tables::BRONZE.to_owned()).or_default();
    let (mut known, mut lost, mut is_fenced) = (BTreeSet::new(), 0, false);
    loop {
        bronze.refresh().await?;
        let emptied = Arc::new(Mutex::new(0));
        let rewrite = bronze.rewrite(&of_bronze(&person, &emptied), &known).await?;
        if is_fenced && rewrite.files() == 0 {
            break;
        }
        let commit = commit_of(&mut bronze, report.erasure, !is_fenced, &Counts::default()).await?;
        let (files, looked_at): (u64, Vec<String>) = (rewrite.files() as u64, rewrite.looked_at().collect());
        match bronze.commit_rewrite(rewrite, commit).await {
            Ok(_) => {
                // What came in before that commit, and was not seen, is looked at in another round.
                is_fenced = true;
                known.extend(looked_at);
                done.files_rewritten += files;
                done.rows_emptied += *emptied.lock().unwrap_or_else(PoisonError::into_inner);
            }
            Err(error) => lost = again(error, lost)?,
        }
    }
    Ok(Begun { person, bronze_version: bronze.version(), report })
}

/// How many rows of Bronze, and how many dead letters, are the person's.
///
/// # Errors
/// As [`begin`].
pub async fn count(lake: &Lake, person: &Person) -> Result<(u64, u64), Error> {
    let mut counts = [0, 0];
    for (count, name) in counts.iter_mut().zip([tables::BRONZE, tables::DEAD_LETTERS]) {
        let mut table = open(lake, name).await?;
        let files = table.files().await?;
        let reasons = if name == tables::DEAD_LETTERS { &rows::COLUMNS_OF_REASONS[..] } else { &[] };
        let mut batches = table.stream(&files, Some(&[&rows::COLUMNS[..], reasons].concat()))?;
        while let Some(batch) = batches.next().await {
            let (batch, whose) = (batch?, person.clone());
            let concerned = tokio::task::spawn_blocking(move || rows::concerned(&batch, &whose)).await;
            *count += concerned.map_err(|_| Error::Panicked(STAGE))??.true_count() as u64;
        }
    }
    let [rows, dead_letters] = counts;
    Ok((rows, dead_letters))
}

fn again(error: lake::Error, lost: u32) -> Result<u32, Error> {
    let is_lost = matches!(error.kind(), lake::ErrorKind::Conflict | lake::ErrorKind::Fenced | lake::ErrorKind::Missing);
    if is_lost && lost < ATTEMPTS_MAX { Ok(lost + 1) } else { Err(error.into()) }
}

async fn open(lake: &Lake, name: &str) -> Result<Table, Error> {
    let missing = || Error::NoTable { location: lake.location().to_string(), table: name.to_owned() };
    lake.reader(name).await?.ok_or_else(missing)
}

/// Puts the ids on the list.
async fn enlist(lake: &Lake, found: &Found, now: Timestamp, key: [u8; 32]) -> Result<Report, Error> {
    let mut lost = 0;
    loop {
        let mut table = lake.table(&tables::erased()).await?;
        let number = table.progress(tables::ERASURES).await?.unwrap_or_default() + 1;
        let list = read_list(&mut table).await?.erased;
        let list = if list.is_empty() { Erased::new(key) } else { list };
        let all = found.users.iter().map(|id| ("user", id)).chain(found.anonymous.iter().map(|id| ("anonymous", id)));
        let digests: Vec<(&str, String)> = all.map(|(kind, id)| (kind, hex(&list.digest(id)))).collect();
        let texts = |values: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from(values)) };
        let (many, list_key) = (digests.len(), hex(list.key()));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![number; many])),
            Arc::new(TimestampMicrosecondArray::from(vec![now.micros(); many]).with_timezone("UTC")),
            texts(digests.iter().map(|(kind, _)| *kind).collect()),
            texts(digests.iter().map(|(_, digest)| digest.as_str()).collect()),
            texts(vec![list_key.as_str(); many]),
        ];
        let batch = RecordBatch::try_new(schema::erased(), columns).map_err(medallion::Error::from)?;
        let commit = Commit { progress: vec![(tables::ERASURES.to_owned(), number)], info: info(&Counts::default()), ..Commit::default() };
        match table.append(vec![batch], commit).await {
            Ok(_) => {
                let digests = digests.into_iter().map(|(_, digest)| digest).collect();
                return Ok(Report { erasure: number, erased_at: now.to_rfc3339(), digests, ..Report::default() });
            }
            Err(error) => lost = again(error, lost)?,
        }
    }
}

fn info(counts: &Counts) -> Map<String, Value> {
    let mut info = Map::from_iter([("stage".to_owned(), Value::from(STAGE))]);
    if !counts.is_empty() {
        info.insert("counts".to_owned(), counts.to_json());
    }
    info
}

/// A commit of a rewrite; the first of a table also refuses whoever writes by an older list.
async fn commit_of(table: &mut Table, erasure: i64, fences: bool, counts: &Counts) -> Result<Commit, Error> {
    let mut commit = Commit { info: info(counts), ..Commit::default() };
    if table.progress(tables::ERASURES).await?.is_none_or(|known| known < erasure) && fences {
        commit.progress.push((tables::ERASURES.to_owned(), erasure));
    }
    Ok(commit)
}

fn arrow(error: medallion::Error) -> ArrowError {
    ArrowError::ExternalError(Box::new(error))
}

fn add(count: &Mutex<u64>, rows: usize) {
    *count.lock().unwrap_or_else(PoisonError::into_inner) += rows as u64;
}

fn of_bronze(person: &Arc<Person>, emptied: &Arc<Mutex<u64>>) -> Edit {
    let (whose, emptied) = (Arc::clone(person), Arc::clone(emptied));
    let concerns: RowFilter = Arc::new(move |batch| rows::concerned(batch, &whose).map_err(arrow));
    let concerned = Arc::clone(&concerns);
    let change = Arc::new(move |batch: &RecordBatch| {
        let mask = concerned(batch)?;
        add(&emptied, mask.true_count());
        if mask.true_count() == 0 { Ok(None) } else { rows::redact(batch, &mask).map(Some).map_err(arrow) }
    });
    Edit { columns: rows::COLUMNS.to_vec(), concerns, change }
}

/// Places in the journal whose events were erased.
type Places = Arc<HashSet<(i32, i32, i64)>>;

/// Which rows are of such places.
fn at(batch: &RecordBatch, places: &Places) -> Result<BooleanArray, ArrowError> {
    let column = |name: &str| batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("there is no column {name}")));
    let [generation, partition, offset] = PLACE;
    let (generations, partitions) = (column(generation)?.as_primitive::<Int32Type>(), column(partition)?.as_primitive::<Int32Type>());
    let offsets = column(offset)?.as_primitive::<Int64Type>();
    let is_at = |row: usize| Some(places.contains(&(generations.value(row), partitions.value(row), offsets.value(row))));
    Ok((0..batch.num_rows()).map(is_at).collect())
}

/// What an edit counted.
#[derive(Debug, Default)]
struct Tally {
    removed: u64,
    emptied: u64,
    correction: Counts,
}

type Correction = fn(&RecordBatch) -> Result<Counts, medallion::Error>;

/// Takes out the rows of such places.
fn without(places: &Places, tally: &Arc<Mutex<Tally>>, correction: Correction) -> Edit {
    let (of_filter, of_change, tally) = (Arc::clone(places), Arc::clone(places), Arc::clone(tally));
    let change = Arc::new(move |batch: &RecordBatch| {
        let mask = at(batch, &of_change)?;
        if mask.true_count() == 0 {
            return Ok(None);
        }
        note(&tally, &filter_record_batch(batch, &mask)?, correction)?;
        filter_record_batch(batch, &not(&mask)?).map(Some)
    });
    Edit { columns: PLACE.to_vec(), concerns: Arc::new(move |batch| at(batch, &of_filter)), change }
}

fn note(tally: &Mutex<Tally>, removed: &RecordBatch, correction: Correction) -> Result<(), ArrowError> {
    let correction = correction(removed).map_err(arrow)?;
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    tally.removed += removed.num_rows() as u64;
    tally.correction.merge(&correction);
    Ok(())
}

/// Takes out the dead letters that were rows of Bronze of such places, and the content of those that never were and are the person's.
fn of_dead_letters(person: &Arc<Person>, places: &Places, tally: &Arc<Mutex<Tally>>) -> Edit {
    let (person, places, tally) = (Arc::clone(person), Arc::clone(places), Arc::clone(tally));
    let masks = Arc::new(move |batch: &RecordBatch| -> Result<(BooleanArray, BooleanArray), ArrowError> {
        let missing = || ArrowError::SchemaError("dead letters have no column stage".to_owned());
        let stages = batch.column_by_name("stage").and_then(|column| column.as_string_opt::<i32>()).ok_or_else(missing)?;
        let (at, theirs) = (at(batch, &places)?, rows::concerned(batch, &person).map_err(arrow)?);
        let before = |row: usize| is_before_silver(stages.value(row));
        let removed = (0..batch.num_rows()).map(|row| Some(!before(row) && at.value(row))).collect();
        let emptied = (0..batch.num_rows()).map(|row| Some(before(row) && theirs.value(row))).collect();
        Ok((removed, emptied))
    });
    let of_filter = Arc::clone(&masks);
    let concerns: RowFilter = Arc::new(move |batch| {
        let (removed, emptied) = of_filter(batch)?;
        arrow::compute::or(&removed, &emptied)
    });
    let change = Arc::new(move |batch: &RecordBatch| {
        let (removed, emptied) = masks(batch)?;
        if removed.true_count() + emptied.true_count() == 0 {
            return Ok(None);
        }
        note(&tally, &filter_record_batch(batch, &removed)?, rows::correction_of_dead_letters)?;
        tally.lock().unwrap_or_else(PoisonError::into_inner).emptied += emptied.true_count() as u64;
        filter_record_batch(&rows::redact(batch, &emptied).map_err(arrow)?, &not(&removed)?).map(Some)
    });
    let columns = [&["stage"], &rows::COLUMNS[..], &rows::COLUMNS_OF_REASONS[..], &PLACE[..]].concat();
    Edit { columns, concerns, change }
}

/// What an erasure waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// Versions of Bronze that Silver has still to decide about.
    pub versions: u64,
    /// Partitions of the journal that have still to forget.
    pub partitions: u32,
}

impl Waiting {
    /// Whether it may go on.
    pub fn is_over(&self) -> bool {
        *self == Self::default()
    }
}

impl Begun {
    /// What the stages have still to do before it can go on.
    ///
    /// # Errors
    /// `Retry` when the store fails.
    pub async fn waiting(&mut self, lake: &Lake) -> Result<Waiting, Error> {
        let (mut silver, mut bronze) = (open(lake, tables::SILVER).await?, open(lake, tables::BRONZE).await?);
        let mut reached = Vec::new();
        for bucket in 0..BUCKETS {
            reached.push((bucket, silver.progress(&tables::progress_in_bucket(bucket)).await?.unwrap_or(-1)));
        }
        let least = reached.iter().map(|(_, through)| *through).min().unwrap_or(-1);
        let (generation, of_journal) = newest_journal(&mut bronze).await?;
        let (mut partitions, mut waiting) = (0, Waiting::default());
        for partition in 0..of_journal {
            // A copy of a journal takes what is left of the generation before it first.
            let mut is_read = false;
            for generation in [generation, generation.saturating_sub(1)] {
                is_read |= bronze.progress(&tables::progress_in_journal(generation, partition)).await?.is_some();
            }
            if !is_read {
                continue;
            }
            partitions += 1;
            let forgotten = bronze.progress(&tables::progress_in_forgetting(partition)).await?;
            waiting.partitions += u32::from(forgotten.is_none_or(|forgotten| forgotten < self.report.erasure));
        }
        self.report.journal_partitions = partitions;
        // Of versions with nothing for a bucket Silver says nothing for a while.
        let files = if least < self.bronze_version { bronze.added(least, self.bronze_version).await? } else { Vec::new() };
        let is_open = |(bucket, through): &(u32, i64)| {
            let of_bucket = BTreeSet::from([*bucket]);
            files.iter().any(|file| file.version > *through && crate::silver::may_hold(file, &of_bucket))
        };
        if reached.iter().any(is_open) {
            waiting.versions = self.bronze_version.abs_diff(least);
        }
        Ok(waiting)
    }

    /// Does the rest, once [`Begun::waiting`] is over: Silver, the dead letters, Gold, and the files that held what was replaced.
    ///
    /// # Errors
    /// As [`begin`].
    pub async fn finish(self, lake: &Lake, config: &Config) -> Result<Report, Error> {
        let Self { person, mut report, .. } = self;
        let places = places(lake).await?;
        let live = Names::live();
        for build in tables::builds(&lake.tables().await?) {
            drop_build(lake, &build.silver()).await?;
            report.rebuilds_removed.push(build.silver());
        }
        let nothing: Correction = |_| Ok(Counts::default());
        for (name, correction) in [
            (live.exposures().name, nothing),
            (live.events().name, rows::correction_of_events as Correction),
            (live.dead_letters().name, nothing),
        ] {
            let is_dead_letters = name == tables::DEAD_LETTERS;
            let edit = |tally: &Arc<Mutex<Tally>>| {
                if is_dead_letters { of_dead_letters(&person, &places, tally) } else { without(&places, tally, correction) }
            };
            let done = rewrite(lake, &name, report.erasure, edit).await?;
            report.tables.insert(name, done);
        }
        let models = config.models()?;
        for model in models.iter() {
            let made = Fed::open(lake, &live, model).await?;
            let partitions = remake(lake, made).await?;
            report.gold_partitions.insert(model.name.clone(), partitions);
        }
        for name in lake.tables().await? {
            let Some(mut table) = lake.reader(&name).await? else { continue };
            let deleted = table.purge().await?;
            // Statistics of files that are gone, of columns that once had some.
            table.checkpoint().await?;
            table.trim_log(Duration::ZERO, needed_from(lake, &table, &models).await?).await?;
            report.tables.entry(name).or_default().files_deleted = deleted;
        }
        search(lake, &person, &mut report).await?;
        Ok(report)
    }
}

/// The places of all events in Bronze that have no content any more.
async fn places(lake: &Lake) -> Result<Places, Error> {
    let mut bronze = open(lake, tables::BRONZE).await?;
    let files = bronze.files().await?;
    let columns = [&["wire_format"], &PLACE[..]].concat();
    let mut batches = bronze.stream(&files, Some(&columns))?;
    let mut places = HashSet::new();
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let formats = batch.column(0).as_string::<i32>();
        let (generations, partitions) = (batch.column(1).as_primitive::<Int32Type>(), batch.column(2).as_primitive::<Int32Type>());
        let offsets = batch.column(3).as_primitive::<Int64Type>();
        let erased = (0..batch.num_rows()).filter(|row| formats.value(*row) == WireFormat::Erased.as_str());
        places.extend(erased.map(|row| (generations.value(row), partitions.value(row), offsets.value(row))));
    }
    Ok(Arc::new(places))
}

async fn rewrite(lake: &Lake, name: &str, erasure: i64, edit: impl Fn(&Arc<Mutex<Tally>>) -> Edit) -> Result<Done, Error> {
    let mut table = open(lake, name).await?;
    let fences = name == tables::DEAD_LETTERS;
    let (mut done, mut known, mut lost, mut is_done) = (Done::default(), BTreeSet::new(), 0, false);
    loop {
        table.refresh().await?;
        let tally = Arc::new(Mutex::new(Tally::default()));
        let rewrite: Rewrite = table.rewrite(&edit(&tally), &known).await?;
        let tally = std::mem::take(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner));
        if rewrite.files() == 0 && (is_done || !fences) {
            return Ok(done);
        }
        let commit = commit_of(&mut table, erasure, fences && !is_done, &tally.correction).await?;
        let (files, looked_at): (u64, Vec<String>) = (rewrite.files() as u64, rewrite.looked_at().collect());
        match table.commit_rewrite(rewrite, commit).await {
            Ok(_) => {
                is_done = true;
                known.extend(looked_at);
                done.files_rewritten += files;
                done.rows_removed += tally.removed;
                done.rows_emptied += tally.emptied;
            }
            Err(error) => lost = again(error, lost)?,
        }
    }
}

/// Brings a table of Gold up to what it reads, also where a running server does the same.
async fn remake(lake: &Lake, mut fed: Fed) -> Result<u64, Error> {
    let mut lost = 0;
    loop {
        match fed.refresh(lake).await {
            Ok(made) => return Ok(made.map_or(0, |made| made.partitions)),
            Err(Error::Lake(error)) => {
                lost = again(error, lost)?;
                fed.take_position_anew().await?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Searches every text of every table for the ids.
async fn search(lake: &Lake, person: &Person, report: &mut Report) -> Result<(), Error> {
    for name in lake.tables().await? {
        let Some(mut table) = lake.reader(&name).await? else { continue };
        let is_text = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::Binary);
        let table_schema = table.schema();
        let columns: Vec<&str> =
            table_schema.fields().iter().filter(|field| is_text(field.data_type())).map(|field| field.name().as_str()).collect();
        if columns.is_empty() {
            continue;
        }
        let files = table.files().await?;
        let mut batches = table.stream(&files, Some(&columns))?;
        while let Some(batch) = batches.next().await {
            let (batch, whose) = (batch?, person.clone());
            report.rows_searched += batch.num_rows() as u64;
            let searched = tokio::task::spawn_blocking(move || found_in(&batch, &whose)).await;
            let (left, event_ids) = searched.map_err(|_| Error::Panicked(STAGE))?;
            report.event_ids += event_ids;
            if left > 0 {
                *report.rows_left.entry(name.clone()).or_default() += left;
            }
        }
    }
    Ok(())
}

/// In how many rows one of the ids is: in some column, and in the event's id.
fn found_in(batch: &RecordBatch, person: &Person) -> (u64, u64) {
    let (mut left, mut event_ids) = (0, 0);
    for row in 0..batch.num_rows() {
        let is_in = |column: usize| {
            let array = batch.column(column);
            if array.is_null(row) {
                return false;
            }
            let bytes = match array.data_type() {
                DataType::Binary => array.as_binary::<i32>().value(row),
                _ => array.as_string::<i32>().value(row).as_bytes(),
            };
            let is_id = ID_COLUMNS.contains(&batch.schema_ref().field(column).name().as_str());
            person.is_mentioned(bytes) || (is_id && std::str::from_utf8(bytes).is_ok_and(|id| person.is(id)))
        };
        let (kept, others): (Vec<usize>, Vec<usize>) =
            (0..batch.num_columns()).partition(|column| batch.schema_ref().field(*column).name() == EVENT_ID);
        event_ids += u64::from(kept.into_iter().any(is_in));
        left += u64::from(others.into_iter().any(is_in));
    }
    (left, event_ids)
}
