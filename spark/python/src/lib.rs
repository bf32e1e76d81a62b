//! The Python module `tidegate_spark._medallion`: the transform of [`medallion`] over Arrow record batches, which come and go through the Arrow C data interface
//! without being copied.
//!
//! It is what a Python worker of Spark calls. Rows of several tables come out of one call and must go through one schema, so a batch of results has one
//! column of structs for each table, in which a row of another table is null, and a column for what was counted.

mod results;

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array as _, ArrayData, ArrayRef, AsArray as _, Int64Array, RecordBatch, make_array};
use arrow::compute::max;
use arrow::datatypes::{Int32Type, Int64Type, Schema, TimestampMicrosecondType};
use arrow_pyarrow::PyArrowType;
use bytes::Bytes;
use contract::erasure::from_hex;
use contract::{Erased, Position};
use experiments::definition::Experiment;
use experiments::report::{Gold, Report};
use medallion::bronze::{Arrival, Rows};
use medallion::frontier::{self, BUCKETS, Reached, in_buckets};
use medallion::functions::Function;
use medallion::gold::{Span, reach};
use medallion::ledger::{self, Committed, Counts};
use medallion::schema;
use medallion::silver::{self, Candidates, Rules};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::results::{Part, Results};

/// Rows in one batch of results at most.
const ROWS_MAX: usize = 16_384;

fn refused(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// Journal to Bronze, for one task: records in, rows of Bronze and dead letters out.
#[pyclass(module = "tidegate_spark._medallion")]
struct BronzeStep {
    generation: u32,
    refused_from: BTreeMap<u32, u64>,
    erased: Erased,
    accepted: Counts,
    refused: Counts,
    /// The first offset that was read, and one past the last, by partition.
    ranges: BTreeMap<u32, (u64, u64)>,
    records: u64,
    bytes: u64,
    dead_letters: u64,
    newest: Option<i64>,
}

#[pymethods]
impl BronzeStep {
    /// `refused_from`: by partition, the offset before which the dead letters have what was refused. `erased`: digest and key of each id of an erased person, hexadecimal.
    #[new]
    fn new(generation: u32, refused_from: BTreeMap<u32, u64>, erased: Vec<(String, String)>) -> PyResult<Self> {
        let mut list: Option<Erased> = None;
        for (digest, key) in &erased {
            let key = from_hex(key).ok_or_else(|| refused("the key of an erased id is not 64 hexadecimal digits"))?;
            let digest = from_hex(digest).ok_or_else(|| refused("the digest of an erased id is not 32 hexadecimal digits"))?;
            list.get_or_insert_with(|| Erased::new(key)).insert(digest);
        }
        Ok(Self {
            generation,
            refused_from,
            erased: list.unwrap_or_default(),
            accepted: Counts::default(),
            refused: Counts::default(),
            ranges: BTreeMap::new(),
            records: 0,
            bytes: 0,
            dead_letters: 0,
            newest: None,
        })
    }

    /// The schema of the results.
    #[staticmethod]
    fn schema() -> PyArrowType<Schema> {
        PyArrowType(results::schema(&BRONZE))
    }

    /// The results of records with the columns `partition` (int32), `offset` (int64), `header` and `value` (binary).
    fn push(&mut self, py: Python<'_>, records: PyArrowType<RecordBatch>) -> PyResult<Vec<PyArrowType<RecordBatch>>> {
        py.detach(|| self.rows(&records.0)).map(wrapped)
    }

    /// The last batch of results. Its one row tells, as JSON: `accepted` and `refused` (counts), `ranges` (by partition, the first offset and one past the last), `records`,
    /// `bytes`, `dead_letters` (rows), and `newest`, the newest time of receipt in microseconds.
    fn finish(&mut self) -> PyResult<Vec<PyArrowType<RecordBatch>>> {
        let told = serde_json::json!({
            "accepted": self.accepted.to_json(), "refused": self.refused.to_json(), "ranges": self.ranges, "records": self.records,
            "bytes": self.bytes, "dead_letters": self.dead_letters, "newest": self.newest,
        });
        let mut results = Results::new(&BRONZE, ROWS_MAX);
        results.tell(&told.to_string())?;
        Ok(wrapped(results.finish()))
    }
}

const BRONZE: [Part; 2] = [Part { name: "bronze", schema: schema::bronze }, Part { name: "dead_letter", schema: schema::dead_letters }];

impl BronzeStep {
    fn rows(&mut self, records: &RecordBatch) -> PyResult<Vec<RecordBatch>> {
        let column = |name: &str| records.column_by_name(name).ok_or_else(|| refused(format!("the records have no column {name}")));
        let wrong = |name: &str| refused(format!("the column {name} of the records is of another type than it must be"));
        let binary = |name: &'static str| column(name)?.as_binary_opt::<i32>().ok_or_else(|| wrong(name));
        let partitions = column("partition")?.as_primitive_opt::<Int32Type>().ok_or_else(|| wrong("partition"))?;
        let offsets = column("offset")?.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong("offset"))?;
        let (headers, values) = (binary("header")?, binary("value")?);
        let record = |row: usize| {
            let position = Position {
                generation: self.generation,
                partition: partitions.value(row).cast_unsigned(),
                offset: offsets.value(row).cast_unsigned(),
            };
            let is_new = self.refused_from.get(&position.partition).is_none_or(|next| position.offset >= *next);
            // What another program wrote may have neither header nor value.
            let (header, value) = (Bytes::copy_from_slice(headers.value(row)), Bytes::copy_from_slice(values.value(row)));
            (Arrival::read(position, &header, value), is_new)
        };
        let rows = Rows::of((0..records.num_rows()).map(record), &self.erased).map_err(refused)?;
        for row in 0..records.num_rows() {
            let (partition, offset) = (partitions.value(row).cast_unsigned(), offsets.value(row).cast_unsigned());
            let range = self.ranges.entry(partition).or_insert((offset, offset));
            *range = (range.0.min(offset), range.1.max(offset + 1));
            self.bytes += (headers.value(row).len() + values.value(row).len()) as u64;
        }
        self.records += records.num_rows() as u64;
        self.newest = self.newest.max(newest(&rows.bronze));
        self.accepted.merge(&rows.accepted);
        self.refused.merge(&rows.refused);
        self.dead_letters += rows.dead_letters.iter().map(|letters| letters.num_rows() as u64).sum::<u64>();
        let mut results = Results::new(&BRONZE, ROWS_MAX);
        results.add(0, &rows.bronze)?;
        for letters in &rows.dead_letters {
            results.add(1, letters)?;
        }
        Ok(results.finish())
    }
}

/// Bronze to Silver, for one task that has all copies of each event it is given: rows of Bronze in, rows of Silver and dead letters out.
#[pyclass(module = "tidegate_spark._medallion")]
struct SilverStep {
    rules: Rules,
    buckets: BTreeSet<u32>,
    candidates: Vec<Candidates>,
    known: Vec<Option<u64>>,
    dead_letters: Vec<RecordBatch>,
    counts: Counts,
    read: u64,
}

const SILVER: [Part; 3] = [
    Part { name: "event", schema: schema::silver_events },
    Part { name: "exposure", schema: schema::silver_exposures },
    Part { name: "dead_letter", schema: schema::dead_letters },
];

#[pymethods]
impl SilverStep {
    #[new]
    fn new(clock_skew_tolerance_micros: i64, allowed_lateness_micros: i64, buckets: BTreeSet<u32>) -> Self {
        let rules = Rules { clock_skew_tolerance_micros, allowed_lateness_micros, ..Rules::default() };
        Self { rules, buckets, candidates: Vec::new(), known: Vec::new(), dead_letters: Vec::new(), counts: Counts::default(), read: 0 }
    }

    /// The schema of the results.
    #[staticmethod]
    fn schema() -> PyArrowType<Schema> {
        PyArrowType(results::schema(&SILVER))
    }

    /// Takes rows of Bronze. Their column `known_content` (int64) is the `content_hash` of the row that Silver has of the same event, and null where it has none. Results come
    /// with `finish`: before that it is not known which copy of an event wins.
    fn push(&mut self, py: Python<'_>, bronze: PyArrowType<RecordBatch>) -> PyResult<()> {
        py.detach(|| self.refine(&bronze.0))
    }

    /// The results. The last row tells, as JSON: `counts`, `read` (rows of Bronze), and `exposures` and `dead_letters` (rows).
    fn finish(&mut self, py: Python<'_>) -> PyResult<Vec<PyArrowType<RecordBatch>>> {
        py.detach(|| self.choose()).map(wrapped)
    }
}

impl SilverStep {
    fn refine(&mut self, bronze: &RecordBatch) -> PyResult<()> {
        let bronze = in_buckets(bronze, &self.buckets).map_err(refused)?;
        self.read += bronze.num_rows() as u64;
        let refined = silver::refine(&bronze, &self.rules).map_err(refused)?;
        let known = bronze.column_by_name("known_content").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let known: &Int64Array = known.ok_or_else(|| refused("the rows of Bronze have no column known_content of int64"))?;
        let known = refined.candidates.values(known).map_err(refused)?;
        self.known.extend(known.into_iter().map(|content| content.map(i64::cast_unsigned)));
        self.candidates.push(refined.candidates);
        if refined.dead_letters.num_rows() > 0 {
            self.dead_letters.push(refined.dead_letters);
        }
        self.counts.merge(&refined.counts);
        Ok(())
    }

    fn choose(&mut self) -> PyResult<Vec<RecordBatch>> {
        let (candidates, known) = (std::mem::take(&mut self.candidates), std::mem::take(&mut self.known));
        let chosen = silver::choose(&candidates, &known).map_err(refused)?;
        drop(candidates);
        let mut counts = std::mem::take(&mut self.counts);
        counts.merge(&chosen.counts);
        let mut results = Results::new(&SILVER, ROWS_MAX);
        results.add(0, &chosen.events)?;
        results.add(1, &chosen.exposures)?;
        for letters in std::mem::take(&mut self.dead_letters).iter().chain([&chosen.dead_letters]) {
            results.add(2, letters)?;
        }
        let told = serde_json::json!({
            "counts": counts.to_json(), "read": std::mem::take(&mut self.read), "exposures": chosen.exposures.num_rows(),
            "dead_letters": counts.total(ledger::DEAD_LETTER),
        });
        results.tell(&told.to_string())?;
        Ok(results.finish())
    }
}

/// What Silver is to decide about next: `None` where all buckets are at the newest version, else the buckets, the version of Bronze after which and the one through
/// which, whether it has to be reached in one step, and how far the exposures and the dead letters are.
///
/// `reached`: by bucket, the versions of Bronze that Silver, the exposures and the dead letters have come to, -1 where there is none.
#[pyfunction]
#[expect(clippy::type_complexity, reason = "it is taken apart by its one caller")]
fn next_task(
    reached: BTreeMap<u32, (i64, i64, i64)>,
    newest: i64,
    versions_max: i64,
) -> Option<(BTreeSet<u32>, i64, i64, bool, (i64, i64))> {
    let reached = reached
        .into_iter()
        .map(|(bucket, (silver, exposures, dead_letters))| (bucket, Reached::new(silver, exposures, dead_letters)))
        .collect();
    let task = frontier::next(&reached, newest, versions_max)?;
    Some((task.buckets, task.after, task.through_max, task.whole, (task.reached.exposures, task.reached.dead_letters)))
}

/// The sum of counts that steps have given, as JSON.
#[pyfunction]
fn merged_counts(parts: Vec<String>) -> PyResult<String> {
    let mut counts = Counts::default();
    for part in &parts {
        let part = serde_json::from_str(part).map_err(refused)?;
        counts.merge(&Counts::from_json(&part).map_err(refused)?);
    }
    Ok(counts.to_json().to_string())
}

/// How many rows such counts have of each measure, over all sources and hours.
#[pyfunction]
fn totals(counts: &str) -> PyResult<BTreeMap<String, u64>> {
    let counts = serde_json::from_str(counts).map_err(refused)?;
    let counts = Counts::from_json(&counts).map_err(refused)?;
    let measures: BTreeSet<&str> = counts.iter().map(|line| line.measure).collect();
    Ok(measures.into_iter().map(|measure| (measure.to_owned(), counts.total(measure))).collect())
}

/// The rows of the ledger for commits of a table: stage, version, version of the input and counts (JSON) of each.
#[pyfunction]
fn ledger_rows(table: &str, commits: Vec<(String, i64, Option<i64>, String)>) -> PyResult<PyArrowType<RecordBatch>> {
    let mut counted = Vec::with_capacity(commits.len());
    for (.., counts) in &commits {
        let counts = serde_json::from_str(counts).map_err(refused)?;
        counted.push(Counts::from_json(&counts).map_err(refused)?);
    }
    let commit = |(commit, counts)| {
        let (stage, version, input_version, _): &(String, i64, Option<i64>, String) = commit;
        Committed { stage, table_name: table, table_version: *version, input_version: *input_version, counts }
    };
    let commits: Vec<Committed<'_>> = commits.iter().zip(&counted).map(commit).collect();
    ledger::batch(&commits).map(PyArrowType).map_err(refused)
}

/// The partitions, of those that are `known`, that hang on one that `changed`: all of them where a model reads a table as a `whole`, else those that have it among so many days before
/// and after (`None`: all days).
#[pyfunction]
fn concerned(changed: BTreeSet<String>, whole: bool, before: Option<u32>, after: Option<u32>, known: BTreeSet<String>) -> BTreeSet<String> {
    reach::concerned(&changed, span(whole, before, after), &known)
}

/// The condition, as SQL, for what has to be in view of a table to make these partitions.
#[pyfunction]
fn view(whole: bool, before: Option<u32>, after: Option<u32>, partitions: Vec<String>, column: &str, is_date: bool) -> String {
    reach::view(span(whole, before, after), &partitions, column, is_date)
}

/// `column IN (…)`, for texts or dates.
#[pyfunction]
fn one_of(column: &str, partitions: Vec<String>, is_date: bool) -> String {
    reach::one_of(column, &partitions, is_date)
}

/// A query that gives these partitions, in one column.
#[pyfunction]
fn values(column: &str, partitions: Vec<String>, is_date: bool) -> String {
    reach::values(column, &partitions, is_date)
}

/// The values of a function that takes a property out of JSON, for objects and names.
#[pyfunction]
fn evaluate(
    py: Python<'_>,
    function: &str,
    objects: PyArrowType<ArrayData>,
    names: PyArrowType<ArrayData>,
) -> PyResult<PyArrowType<ArrayData>> {
    let function = Function::ALL
        .into_iter()
        .find(|known| known.name() == function)
        .ok_or_else(|| refused(format!("there is no function {function}")))?;
    let (objects, names) = (make_array(objects.0), make_array(names.0));
    let texts = |array: &ArrayRef| array.as_string_opt::<i32>().cloned().ok_or_else(|| refused(format!("{} takes texts", function.name())));
    let (objects, names) = (texts(&objects)?, texts(&names)?);
    Ok(PyArrowType(py.detach(|| function.evaluate(&objects, &names)).to_data()))
}

/// What came of an experiment: it and what Gold has of it come as JSON, and so does the result.
#[pyfunction]
fn experiment_report(py: Python<'_>, experiment: &str, gold: &str) -> PyResult<String> {
    let experiment: Experiment = serde_json::from_str(experiment).map_err(refused)?;
    let gold: Gold = serde_json::from_str(gold).map_err(refused)?;
    serde_json::to_string(&py.detach(|| Report::of(&experiment, &gold))).map_err(refused)
}

/// The type of a function's values, as Spark names it.
fn spark_type(function: Function) -> &'static str {
    match function {
        Function::Text | Function::Json => "string",
        Function::Integer => "bigint",
        Function::Number => "double",
        Function::Decimal => "decimal(16, 6)",
        Function::Boolean => "boolean",
        Function::Time => "timestamp",
    }
}

fn span(whole: bool, before: Option<u32>, after: Option<u32>) -> Span {
    if whole { Span::Whole } else { Span::Days { before, after } }
}

/// The newest time of receipt among rows of Bronze.
fn newest(bronze: &RecordBatch) -> Option<i64> {
    max(bronze.column_by_name("received_at")?.as_primitive_opt::<TimestampMicrosecondType>()?)
}

fn wrapped(batches: Vec<RecordBatch>) -> Vec<PyArrowType<RecordBatch>> {
    batches.into_iter().map(PyArrowType).collect()
}

#[pymodule]
fn _medallion(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("BUCKETS", BUCKETS)?;
    module.add_class::<BronzeStep>()?;
    module.add_class::<SilverStep>()?;
    module.add_function(wrap_pyfunction!(next_task, module)?)?;
    module.add_function(wrap_pyfunction!(merged_counts, module)?)?;
    module.add_function(wrap_pyfunction!(totals, module)?)?;
    module.add_function(wrap_pyfunction!(ledger_rows, module)?)?;
    module.add_function(wrap_pyfunction!(concerned, module)?)?;
    module.add_function(wrap_pyfunction!(view, module)?)?;
    module.add_function(wrap_pyfunction!(one_of, module)?)?;
    module.add_function(wrap_pyfunction!(values, module)?)?;
    module.add_function(wrap_pyfunction!(evaluate, module)?)?;
    module.add_function(wrap_pyfunction!(experiment_report, module)?)?;
    let functions: BTreeMap<&str, &str> = Function::ALL.into_iter().map(|function| (function.name(), spark_type(function))).collect();
    module.add("FUNCTIONS", functions)?;
    Ok(())
}
