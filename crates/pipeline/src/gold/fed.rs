//! A model with its table and the tables it reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use lake::functions::of_two_texts;
use lake::{Added, Commit, Lake, Table, TableSpec};
use medallion::functions::Function;
use medallion::gold::{Input, Model, Span, reach};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::columns;
use crate::error::Error;
use crate::tables::{self, Names};
use crate::{lost, metrics, retention};

/// Partitions that one query computes; more are done one lot after the other.
const PARTITIONS_MAX: usize = 31;
/// The same for a model that reads all days there are.
const PARTITIONS_OF_ALL_DAYS_MAX: usize = 4;
/// Under which name a query sees the partitions that it is to make.
const PARTITIONS: &str = "partitions";
/// The newest time of receipt among the rows that a table of Gold was made of, in microseconds.
pub(crate) const RECEIVED: &str = "tidegate:received";
/// Which definition made the table: 40 bits of it, below the number of times it was changed.
const DEFINITION: &str = "tidegate:definition";
const DEFINITION_BITS: u32 = 40;
/// Tables that are never made anew from their first version on.
const KEPT: [&str; 4] = [tables::BRONZE, tables::SILVER, tables::EXPOSURES, tables::DEAD_LETTERS];

/// A model with its table and the tables it reads.
#[derive(Debug)]
pub(crate) struct Fed {
    model: Arc<Model>,
    schema: SchemaRef,
    table: Table,
    inputs: Vec<Feed>,
    /// How many partitions one query computes: fewer from then on that so many needed too much memory.
    lot_max: usize,
    /// Whether the partitions are days.
    is_by_day: bool,
    /// What the table says of the definition that made it.
    definition: i64,
    /// The newest time of receipt among the rows it was made of.
    received: Option<i64>,
}

/// Statistics stand in the log, which is not written anew when a person is erased: none are kept of texts, which may be ids of persons.
fn spec_of(name: String, schema: &SchemaRef, partition_by: &str) -> TableSpec {
    let is_plain = |data_type: &DataType| !matches!(data_type, DataType::Utf8 | DataType::Binary);
    let names = schema.fields().iter().filter(|field| is_plain(field.data_type())).map(|field| field.name().as_str());
    let mut columns: Vec<&str> = names.filter(|name| *name != partition_by).collect();
    if columns.is_empty() {
        // None at all would be all.
        columns.push(partition_by);
    }
    TableSpec::new(name, Arc::clone(schema), &[partition_by]).with_stats_columns(&columns)
}

/// A table that it reads, and the version up to which it has.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) input: Input,
    pub(super) table: Table,
    pub(super) through: i64,
}

/// What is to be made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    /// The partitions.
    pub(crate) partitions: BTreeSet<String>,
    /// Why, in words.
    pub(crate) why: Vec<String>,
    newest: Vec<i64>,
    received: Option<i64>,
}

/// What was made anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// Partitions.
    pub partitions: u64,
    /// Their rows.
    pub rows: u64,
}

impl Fed {
    /// Opens the model's table; makes it where there is none, or where the one there has other columns than the model gives by now.
    ///
    /// # Errors
    /// `Setting` where the model's query cannot be run over what it reads; else as the lake says.
    pub(crate) async fn open(lake: &Lake, names: &Names, model: &Arc<Model>) -> Result<Self, Error> {
        let mut inputs = Vec::new();
        for input in &model.reads {
            let name = names.reading(&input.table);
            let table = lake.reader(&name).await?;
            let table = table.ok_or_else(|| Error::NoTable { location: lake.location().to_string(), table: name })?;
            inputs.push(Feed { input: input.clone(), table, through: -1 });
        }
        let schema = schema_of(lake, model, &inputs).await?;
        let is_by_day = schema.field_with_name(&model.partition_by).is_ok_and(|field| *field.data_type() == DataType::Date32);
        check_spans(model, &inputs, is_by_day)?;
        let spec = spec_of(names.gold(&model.name), &schema, &model.partition_by);
        remove_unlike(lake, &spec).await?;
        let table = lake.table(&spec).await?;
        let reads_all_days = inputs.iter().any(|feed| is_unbounded(feed.input.span));
        let lot_max = if reads_all_days { PARTITIONS_OF_ALL_DAYS_MAX } else { PARTITIONS_MAX };
        let mut fed = Self { model: Arc::clone(model), schema, table, inputs, lot_max, is_by_day, definition: 0, received: None };
        fed.take_position().await?;
        if names.is_live() {
            for feed in fed.inputs.iter_mut().filter(|feed| KEPT.contains(&feed.input.table.as_str())) {
                lost::check(&mut feed.table, &model.name, feed.through).await?;
            }
        }
        Ok(fed)
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    pub(super) fn table(&mut self) -> &mut Table {
        &mut self.table
    }

    pub(super) fn inputs(&mut self) -> &mut [Feed] {
        &mut self.inputs
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The newest time of receipt among the rows it was made of, in microseconds.
    pub(super) fn received(&self) -> Option<i64> {
        self.received
    }

    /// The version of a table that it reads up to which it has; `None` where it reads no such table.
    pub(crate) fn through(&self, table: &str) -> Option<i64> {
        self.inputs.iter().find(|feed| feed.input.table == table).map(|feed| feed.through)
    }

    async fn take_position(&mut self) -> Result<(), Error> {
        for feed in &mut self.inputs {
            feed.through = self.table.progress(&tables::progress_in(&feed.input.table)).await?.unwrap_or(-1);
        }
        self.definition = self.table.progress(DEFINITION).await?.unwrap_or_default();
        self.received = self.table.progress(RECEIVED).await?;
        Ok(())
    }

    /// Forgets where it believes to be, and asks the table.
    pub(crate) async fn take_position_anew(&mut self) -> Result<(), Error> {
        self.table.refresh().await?;
        self.take_position().await
    }

    /// Whether the table was made by another definition than the model has now, or never.
    pub(super) fn is_of_another_definition(&self) -> bool {
        self.definition & ((1 << DEFINITION_BITS) - 1) != definition(&self.model)
    }

    /// Brings the table up to what the model reads. `None`: there was nothing to do.
    ///
    /// # Errors
    /// `Query` and `Model` where the model's query fails or gives what it may not; else as the lake says.
    pub(crate) async fn refresh(&mut self, lake: &Lake) -> Result<Option<Made>, Error> {
        let Some(due) = self.due(lake).await? else { return Ok(None) };
        self.make(lake, due).await
    }

    /// Makes the whole table anew.
    ///
    /// # Errors
    /// As [`Fed::refresh`].
    pub(crate) async fn remake(&mut self, lake: &Lake) -> Result<Option<Made>, Error> {
        for feed in &mut self.inputs {
            feed.table.refresh().await?;
        }
        let due = self.everything(lake, "it is made anew as a whole".to_owned()).await?;
        self.make(lake, due).await
    }

    /// What is to be made anew; `None` where nothing it reads has changed.
    pub(crate) async fn due(&mut self, lake: &Lake) -> Result<Option<Due>, Error> {
        let mut newest = Vec::new();
        for feed in &mut self.inputs {
            newest.push(feed.table.refresh().await?);
        }
        if self.is_of_another_definition() {
            let why = if self.definition == 0 { "it was never made" } else { "the model was changed" };
            return self.everything(lake, why.to_owned()).await.map(Some);
        }
        if self.inputs.iter().zip(&newest).all(|(feed, newest)| *newest <= feed.through) {
            return Ok(None);
        }
        match self.changed(&newest).await {
            Ok(Some(due)) => Ok(Some(due)),
            Ok(None) => self.everything(lake, "rows that it reads were replaced".to_owned()).await.map(Some),
            Err(Error::Lake(error)) if error.kind() == lake::ErrorKind::Missing => {
                self.everything(lake, "the log no longer tells what changed".to_owned()).await.map(Some)
            }
            Err(error) => Err(error),
        }
    }

    /// What hangs on what changed up to these versions; `None`: all, because it cannot be told.
    async fn changed(&mut self, newest: &[i64]) -> Result<Option<Due>, Error> {
        let column = self.model.partition_by.clone();
        let mut known: BTreeSet<String> = self.table.files().await?.iter().filter_map(|file| value_of(file, &column)).collect();
        let mut changed = Vec::new();
        let mut received = self.received;
        for (feed, newest) in self.inputs.iter_mut().zip(newest) {
            let infos = feed.table.infos(feed.through, *newest).await?;
            if infos.iter().any(|(_, info)| info.contains_key(tables::REPLACED)) {
                return Ok(None);
            }
            let changes = feed.table.changes(feed.through, *newest).await?;
            let is_divided = is_divided(&feed.table, &column);
            let values: BTreeSet<String> = if is_divided {
                let removed = changes.removed.iter().map(|file| file.partition_values.as_ref()?.get(&column).cloned().flatten());
                let Some(removed) = removed.collect::<Option<BTreeSet<String>>>() else { return Ok(None) };
                known.extend(feed.table.files().await?.iter().filter_map(|file| value_of(file, &column)));
                changes.added.iter().filter_map(|file| value_of(file, &column)).chain(removed).collect()
            } else if feed.input.span == Span::Whole {
                // Which rows they are does not matter.
                let is_changed = !changes.added.is_empty() || !changes.removed.is_empty();
                is_changed.then(String::new).into_iter().collect()
            } else if changes.removed.is_empty() {
                let mut values = BTreeSet::new();
                for batch in feed.table.read(&changes.added, Some(&[&column])).await? {
                    values.extend(texts(&batch));
                }
                values
            } else {
                return Ok(None);
            };
            received = received.max(received_in(&mut feed.table, &changes.added).await?);
            changed.push(values);
        }
        let mut due = Due { partitions: BTreeSet::new(), why: Vec::new(), newest: newest.to_vec(), received };
        for (feed, values) in self.inputs.iter().zip(changed) {
            if !is_divided(&feed.table, &column) {
                known.extend(values.iter().filter(|value| !value.is_empty()).cloned());
            }
            let concerned = reach::concerned(&values, feed.input.span, &known);
            if !concerned.is_empty() {
                due.why.push(format!("{} changed in {}", feed.input.table, some_of(&values)));
            }
            due.partitions.extend(concerned);
        }
        if let Some(from) = self.makeable_from().await? {
            due.partitions.retain(|partition| *partition >= from);
        }
        Ok(Some(due))
    }

    async fn everything(&mut self, lake: &Lake, why: String) -> Result<Due, Error> {
        let partitions = self.partitions(lake).await?;
        let (mut newest, mut received) = (Vec::new(), None);
        for feed in &mut self.inputs {
            newest.push(feed.table.version());
            let files = feed.table.files().await?;
            received = received.max(received_in(&mut feed.table, &files).await?);
        }
        Ok(Due { partitions, why: vec![why], newest, received })
    }

    /// All partitions that what it reads has, and those that the table has and nothing it reads has any more.
    pub(super) async fn partitions(&mut self, lake: &Lake) -> Result<BTreeSet<String>, Error> {
        let column = self.model.partition_by.clone();
        let mut partitions: BTreeSet<String> = self.table.files().await?.iter().filter_map(|file| value_of(file, &column)).collect();
        for feed in &mut self.inputs {
            if is_divided(&feed.table, &column) {
                partitions.extend(feed.table.files().await?.iter().filter_map(|file| value_of(file, &column)));
            } else if feed.input.span != Span::Whole {
                let session = lake.bare_session()?;
                let rows = session.read_table(feed.table.provider().await?).map_err(Error::query(&self.model.name))?;
                let values = async {
                    let value = rows.parse_sql_expr(&format!("CAST({column} AS VARCHAR)"))?;
                    rows.select(vec![value])?.distinct()?.collect().await
                };
                partitions.extend(values.await.map_err(Error::query(&self.model.name))?.iter().flat_map(texts));
            }
        }
        if let Some(from) = self.makeable_from().await? {
            partitions.retain(|partition| *partition >= from);
        }
        Ok(partitions)
    }

    /// The first day that can be made anew: those before it are no longer kept, or need days of what it reads that are not. They stay as they were made. `None`: all can.
    async fn makeable_from(&mut self) -> Result<Option<String>, Error> {
        if !self.is_by_day {
            return Ok(None);
        }
        let mut from = retention::kept_from(&mut self.table).await?;
        for feed in &mut self.inputs {
            let Span::Days { before, .. } = feed.input.span else { continue };
            // What reads all days there are is made of those that are left.
            let needs = i64::from(before.unwrap_or_default());
            from = from.max(retention::kept_from(&mut feed.table).await?.map(|kept| kept.saturating_add(needs)));
        }
        Ok(from.map(retention::named))
    }

    async fn make(&mut self, lake: &Lake, due: Due) -> Result<Option<Made>, Error> {
        let began = Instant::now();
        let mut progress: Vec<(String, i64)> = Vec::new();
        for (feed, newest) in self.inputs.iter().zip(&due.newest).filter(|(feed, newest)| **newest > feed.through) {
            progress.push((tables::progress_in(&feed.input.table), *newest));
        }
        if let Some(received) = due.received.filter(|received| self.received.is_none_or(|before| *received > before)) {
            progress.push((RECEIVED.to_owned(), received));
        }
        if self.is_of_another_definition() {
            let changes = (self.definition >> DEFINITION_BITS) + 1;
            progress.push((DEFINITION.to_owned(), changes << DEFINITION_BITS | definition(&self.model)));
        }
        let partitions: Vec<String> = due.partitions.into_iter().collect();
        let mut made = Made { partitions: partitions.len() as u64, rows: 0 };
        let mut rest = partitions.as_slice();
        while !rest.is_empty() {
            let (lot, others) = rest.split_at(self.lot_max.min(rest.len()));
            let rows = match (self.compute(lake, lot, &due.newest).await, lot) {
                (Err(Error::Query { source, .. }), [partition]) if is_too_large(&source) => {
                    return Err(Error::Memory { model: self.model.name.clone(), partition: partition.clone(), source });
                }
                // How much a day holds is known only when it is made.
                (Err(Error::Query { source, .. }), lot) if is_too_large(&source) => {
                    self.lot_max = lot.len().div_ceil(2);
                    tracing::info!(
                        model = self.model.name,
                        partitions = self.lot_max,
                        "the query needs more memory than lake.query_memory_bytes_max: fewer partitions at a time"
                    );
                    continue;
                }
                (rows, _) => rows?,
            };
            // The last lot's commit tells that the versions are reached: a crash before it computes some partitions again, to the same rows.
            let progress = if others.is_empty() { std::mem::take(&mut progress) } else { Vec::new() };
            let versions: Map<String, Value> =
                self.inputs.iter().zip(&due.newest).map(|(feed, newest)| (feed.input.table.clone(), Value::from(*newest))).collect();
            let info = Map::from_iter([("stage".to_owned(), Value::from("gold")), ("input_versions".to_owned(), versions.into())]);
            made.rows +=
                self.table.replace(&self.model.partition_by, lot, rows, Commit { progress, info, ..Commit::default() }).await?.rows;
            rest = others;
        }
        if partitions.is_empty() && self.is_of_another_definition() {
            // There are no rows yet; that it was made of them is to be known all the same.
            let info = Map::from_iter([("stage".to_owned(), Value::from("gold"))]);
            self.table.append(Vec::new(), Commit { progress, info, ..Commit::default() }).await?;
        }
        if partitions.is_empty() {
            for (feed, newest) in self.inputs.iter_mut().zip(&due.newest) {
                feed.through = *newest;
            }
            self.definition = self.table.progress(DEFINITION).await?.unwrap_or_default();
            return Ok(None);
        }
        self.take_position().await?;
        metrics::gold(&self.model.name, began.elapsed());
        Ok(Some(made))
    }

    /// The rows of these partitions, made of what it reads at these versions.
    pub(super) async fn compute(&self, lake: &Lake, partitions: &[String], versions: &[i64]) -> Result<Vec<RecordBatch>, Error> {
        let failed = || Error::query(&self.model.name);
        let column = &self.model.partition_by;
        let session = lake.bare_session()?;
        equip(&session, &self.model, partitions, self.is_by_day).await?;
        for (feed, version) in self.inputs.iter().zip(versions) {
            let rows = session.read_table(feed.table.provider_at(*version).await?).map_err(failed())?;
            let is_day = feed.table.schema().field_with_name(column).is_ok_and(|field| *field.data_type() == DataType::Date32);
            let view = reach::view(feed.input.span, partitions, column, is_day);
            let filtered = rows.parse_sql_expr(&view).and_then(|view| rows.filter(view)).map_err(failed())?;
            session.register_table(feed.input.table.as_str(), filtered.into_view()).map_err(failed())?;
        }
        let sql = self.select(&reach::one_of(column, partitions, self.is_by_day));
        let batches = session.sql(&sql).await.map_err(failed())?.collect().await.map_err(failed())?;
        let batches = batches.iter().map(|batch| columns::fitted(batch, &self.schema)).collect::<Result<Vec<_>, _>>()?;
        columns::check_keys(&self.model, &batches)?;
        Ok(batches)
    }

    /// The query, for the partitions that the condition holds for.
    fn select(&self, condition: &str) -> String {
        let columns: Vec<String> = self.schema.fields().iter().map(|field| format!("\"{}\"", field.name())).collect();
        // The query may end in a comment.
        format!("SELECT {} FROM (\n{}\n) AS model WHERE {condition}", columns.join(", "), self.model.sql)
    }
}

/// Whether a query ended because it may not have more memory.
fn is_too_large(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

fn is_divided(table: &Table, column: &str) -> bool {
    table.partition_by().iter().any(|by| by == column)
}

fn is_unbounded(span: Span) -> bool {
    matches!(span, Span::Days { before: None, .. } | Span::Days { after: None, .. })
}

/// The definition of a model as its table keeps it in the progress `tidegate:definition`, below the number of times it was changed: 40 bits.
pub fn definition(model: &Model) -> i64 {
    // Never zero, which is no definition.
    i64::try_from(model.definition() >> (u64::BITS - DEFINITION_BITS)).unwrap_or_default().max(1)
}

fn value_of(file: &Added, column: &str) -> Option<String> {
    file.partition_values.get(column).cloned().flatten()
}

/// The newest time of receipt in these files of a table; of a table of Gold, of what that was made of.
async fn received_in(table: &mut Table, files: &[Added]) -> Result<Option<i64>, Error> {
    const COLUMN: &str = "received_at";
    if table.schema().field_with_name(COLUMN).is_err() {
        return Ok(table.progress(RECEIVED).await?);
    }
    use futures::TryStreamExt as _;
    let mut batches = table.stream(files, Some(&[COLUMN]))?;
    let mut newest = None;
    while let Some(batch) = batches.try_next().await? {
        let column = batch.column(0).as_primitive_opt::<TimestampMicrosecondType>();
        newest = newest.max(column.and_then(arrow::compute::max));
    }
    Ok(newest)
}

/// A model reaches over days only where it and what it reads are divided by them.
fn check_spans(model: &Model, inputs: &[Feed], is_by_day: bool) -> Result<(), Error> {
    let refuse = |input: &Input, what: &str| Err(Error::Setting(format!("{} reads {}: {what}", model.name, input.table)));
    for Feed { input, table, .. } in inputs.iter().filter(|feed| feed.input.span != Span::Whole) {
        if table.schema().field_with_name(&model.partition_by).is_err() {
            return refuse(input, &format!("that has no column {}, so say `whole`", model.partition_by));
        }
        if input.span != Span::SAME && !(is_by_day && is_divided(table, &model.partition_by)) {
            return refuse(
                input,
                &format!("days before and after need tables that are partitioned by a date, and {} is none", model.partition_by),
            );
        }
    }
    Ok(())
}

/// Makes known in a session what a model's query sees beside the tables that it reads: the functions, and the partitions to make.
pub(super) async fn equip(session: &SessionContext, model: &Model, partitions: &[String], is_by_day: bool) -> Result<(), Error> {
    for function in Function::ALL {
        session.register_udf(of_two_texts(function.name(), function.data_type(), move |objects, names| function.evaluate(objects, names)));
    }
    let partitions = session.sql(&reach::values(&model.partition_by, partitions, is_by_day)).await;
    let registered = partitions.and_then(|partitions| session.register_table(PARTITIONS, partitions.into_view()));
    registered.map_err(Error::query(&model.name))?;
    Ok(())
}

/// The columns that the query gives.
async fn schema_of(lake: &Lake, model: &Model, inputs: &[Feed]) -> Result<SchemaRef, Error> {
    let session = lake.bare_session()?;
    equip(&session, model, &[], true).await?;
    for feed in inputs {
        session.register_table(feed.input.table.as_str(), feed.table.provider().await?).map_err(Error::query(&model.name))?;
    }
    let options =
        datafusion::execution::context::SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let frame = session.sql_with_options(&model.sql, options).await;
    let frame = frame.map_err(|error| Error::Setting(format!("the query of {} cannot be run: {}", model.name, error.strip_backtrace())))?;
    columns::kept(model, frame.schema().as_arrow())
}

/// Removes the table of a model that has come to give other columns: it is derived, and made anew. One that no model made is left alone.
async fn remove_unlike(lake: &Lake, spec: &TableSpec) -> Result<(), Error> {
    let Some(mut table) = lake.reader(&spec.name).await? else { return Ok(()) };
    let columns =
        |schema: &SchemaRef| schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect::<BTreeSet<_>>();
    if columns(&table.schema()) == columns(&spec.schema) && table.partition_by() == spec.partition_by {
        return Ok(());
    }
    let is_made = table.progress(DEFINITION).await?.is_some() || table.progress(&tables::progress_in(tables::SILVER)).await?.is_some();
    if !is_made && !table.files().await?.is_empty() {
        let what = "there is a table of that name that no model made, with other columns; rename the model or the table";
        return Err(Error::Setting(format!("{}: {what}", spec.name)));
    }
    tracing::info!(table = spec.name, "the model gives other columns than its table has: it is made anew");
    Ok(lake.remove(&spec.name).await?)
}

/// The texts in the first column.
fn texts(batch: &RecordBatch) -> Vec<String> {
    let column = batch.column(0).as_string::<i32>();
    (0..column.len()).filter(|row| column.is_valid(*row)).map(|row| column.value(row).to_owned()).collect()
}

/// Some values, for people.
fn some_of(values: &BTreeSet<String>) -> String {
    const NAMED_MAX: usize = 5;
    let named: Vec<&str> = values.iter().take(NAMED_MAX).map(String::as_str).collect();
    let more = values.len().saturating_sub(NAMED_MAX);
    if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
}
