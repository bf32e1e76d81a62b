//! Silver → Gold: aggregates by SQL, made again where their input changed.
//!
//! Each model is a query over one table of Silver, divided like its result by one column. What changed since the model's last commit is read off the log
//! of that table; the partitions concerned are computed anew as a whole and replaced in one commit, together with the version they have come to. So a late event
//! corrects every aggregate it touches, and doing it twice changes nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use lake::{Added, Commit, Lake, Table};
use medallion::gold::{self, Model};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::Error;
use crate::stage::{Stage, Step, Surroundings};
use crate::status::Status;
use crate::tables::Names;
use crate::work::Work;
use crate::{metrics, tables};

/// Partitions that one query computes; more are done one lot after the other.
const PARTITIONS_MAX: usize = 31;

/// Silver is looked at no more often than this by itself: each look is a request to the store.
const LOOK_MIN: Duration = Duration::from_secs(1);

/// The stage.
#[derive(Debug)]
pub(crate) struct Gold {
    lake: Lake,
    models: Vec<Fed>,
    work: Work,
    /// Whether it led when it last looked: another process may have moved the tables since.
    led: bool,
    /// How often Silver is looked at, where other processes write it too.
    look_every: Duration,
    status: Status,
    committed: watch::Receiver<i64>,
}

/// A model with its table and its input.
#[derive(Debug)]
pub(crate) struct Fed {
    names: Names,
    model: &'static Model,
    table: Table,
    input: Table,
    through: i64,
}

impl Gold {
    pub(crate) async fn open(surroundings: &Surroundings<'_>, committed: watch::Receiver<i64>) -> Result<Self, Error> {
        let Surroundings { lake, config, status, work } = surroundings.clone();
        let mut models = Vec::new();
        for model in gold::models() {
            models.push(Fed::open(lake, &Names::live(), model).await?);
        }
        let (look_every, status) = (config.gold_interval, status.clone());
        let mut stage = Self { lake: lake.clone(), models, work: work.clone(), led: true, look_every, status, committed };
        stage.take_position().await?;
        Ok(stage)
    }

    async fn take_position(&mut self) -> Result<(), Error> {
        for fed in &mut self.models {
            fed.take_position().await?;
        }
        Ok(())
    }
}

impl Stage for Gold {
    const NAME: &'static str = "gold";

    async fn step(&mut self) -> Result<Step, Error> {
        let leads = self.work.leads();
        if leads && !self.led {
            self.recover().await?;
        }
        self.led = leads;
        if !leads {
            return Ok(Step::Idle);
        }
        let mut outcome = Step::Idle;
        for fed in &mut self.models {
            if fed.refresh(&self.lake).await? {
                outcome = Step::Moved;
            }
        }
        let through = self.models.iter().filter(|fed| fed.model.reads == tables::SILVER).map(|fed| fed.through).min();
        self.status.update(|progress| progress.gold_version = through);
        Ok(outcome)
    }

    async fn recover(&mut self) -> Result<(), Error> {
        for fed in &mut self.models {
            fed.table.refresh().await?;
        }
        self.take_position().await
    }

    async fn wait(&mut self) -> bool {
        tokio::select! {
            changed = self.committed.changed() => changed.is_ok(),
            () = self.work.changes() => true,
            // Also where this process has all the work: a rebuild that takes the place of Silver is another process's.
            () = tokio::time::sleep(self.look_every.max(LOOK_MIN)) => true,
        }
    }
}

impl Fed {
    pub(crate) async fn open(lake: &Lake, names: &Names, model: &'static Model) -> Result<Self, Error> {
        let input = if model.reads == tables::EXPOSURES { names.exposures() } else { names.events() };
        let (table, input) = (lake.table(&names.gold(model)).await?, lake.table(&input).await?);
        let mut fed = Self { names: names.clone(), model, table, input, through: -1 };
        fed.take_position().await?;
        Ok(fed)
    }

    async fn take_position(&mut self) -> Result<(), Error> {
        self.through = self.table.progress(&tables::progress_in(self.model.reads)).await?.unwrap_or(-1);
        Ok(())
    }

    /// Brings the model up to its input; tells whether anything changed.
    pub(crate) async fn refresh(&mut self, lake: &Lake) -> Result<bool, Error> {
        let newest = self.input.refresh().await?;
        if newest <= self.through {
            return Ok(false);
        }
        let began = Instant::now();
        let changed = match self.changed(newest).await {
            Ok(Some(changed)) => changed,
            Ok(None) => self.all_partitions(lake).await?,
            // The log no longer tells: everything may have changed.
            Err(Error::Lake(error)) if error.kind() == lake::ErrorKind::Missing => self.all_partitions(lake).await?,
            Err(error) => return Err(error),
        };
        let lots: Vec<Vec<String>> = changed.into_iter().collect::<Vec<_>>().chunks(PARTITIONS_MAX).map(<[String]>::to_vec).collect();
        let last = lots.len().saturating_sub(1);
        for (number, lot) in lots.iter().enumerate() {
            let rows = self.compute(lake, lot).await?;
            // The last lot's commit tells that the version is reached: a crash before it computes some partitions again, to the same rows.
            let progress = if number == last { vec![(tables::progress_in(self.model.reads), newest)] } else { Vec::new() };
            let info = Map::from_iter([("stage".to_owned(), Value::from("gold")), ("input_version".to_owned(), newest.into())]);
            self.table.replace(self.model.partition_by, lot, rows, Commit { progress, info, ..Commit::default() }).await?;
        }
        self.through = newest;
        metrics::gold(self.model.name, began.elapsed());
        Ok(!lots.is_empty())
    }

    /// The partitions that changed up to that version; `None`: all, because all rows were replaced.
    async fn changed(&self, newest: i64) -> Result<Option<BTreeSet<String>>, Error> {
        let infos = self.input.infos(self.through, newest).await?;
        if infos.iter().any(|(_, info)| info.contains_key(tables::REPLACED)) {
            return Ok(None);
        }
        let files = self.input.added(self.through, newest).await?;
        self.partitions_of(&files).await.map(Some)
    }

    /// The values of the partition column that the rows of these files have.
    async fn partitions_of(&self, files: &[Added]) -> Result<BTreeSet<String>, Error> {
        let column = self.model.partition_by;
        if self.input.partition_by().iter().any(|by| by == column) {
            let value = |file: &Added| file.partition_values.get(column).cloned().flatten();
            return Ok(files.iter().filter_map(value).collect());
        }
        let mut values = BTreeSet::new();
        for batch in self.input.read(files, Some(&[column])).await? {
            values.extend(texts(&batch));
        }
        Ok(values)
    }

    /// Those that the input has, and those that Gold has and the input may have no more.
    async fn all_partitions(&mut self, lake: &Lake) -> Result<BTreeSet<String>, Error> {
        let column = self.model.partition_by;
        let sql = format!("SELECT DISTINCT CAST({column} AS VARCHAR) AS value FROM {} WHERE {column} IS NOT NULL", self.model.reads);
        let mut all: BTreeSet<String> = self.query(lake, &sql).await?.iter().flat_map(texts).collect();
        let value = |file: Added| file.partition_values.get(column).cloned().flatten();
        all.extend(self.table.files().await?.into_iter().filter_map(value));
        Ok(all)
    }

    async fn compute(&self, lake: &Lake, partitions: &[String]) -> Result<Vec<RecordBatch>, Error> {
        let is_date =
            self.table.schema().field_with_name(self.model.partition_by).is_ok_and(|field| *field.data_type() == DataType::Date32);
        self.query(lake, &self.model.sql_where(&condition(self.model.partition_by, partitions, is_date))).await
    }

    /// Computes the whole table anew from the version of its input that it says it was made of, and tells where the two differ. `None`: it was never made, or that
    /// version cannot be read any more.
    pub(crate) async fn unlike(&self, lake: &Lake) -> Result<Option<Unlike>, Error> {
        let failed = || Error::query(self.model.name);
        let session = lake.session().await?;
        let input = match self.input.provider_at(self.through).await {
            Ok(input) if self.through >= 0 => input,
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == lake::ErrorKind::Missing || self.through < 0 => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        session.deregister_table(self.model.reads).map_err(failed())?;
        session.register_table(self.model.reads, input).map_err(failed())?;
        session.deregister_table(self.model.name).map_err(failed())?;
        session.register_table(self.model.name, self.table.provider_at(self.table.version()).await?).map_err(failed())?;
        let schema = self.model.schema();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let (columns, by) = (columns.join(", "), self.model.partition_by);
        let made = format!("(SELECT {columns} FROM ({}))", self.model.sql_where("TRUE"));
        let there = format!("(SELECT {columns} FROM {})", self.model.name);
        // Equal rows are counted first: EXCEPT ALL is an anti join in DataFusion, which a row that is there twice passes.
        let counted = |rows: &str| format!("(SELECT {columns}, count(*) AS copies FROM {rows} GROUP BY {columns})");
        let (one, other) = (counted(&made), counted(&there));
        let sql = format!(
            "SELECT DISTINCT CAST({by} AS VARCHAR) AS value FROM ((SELECT * FROM {one} EXCEPT SELECT * FROM {other}) UNION ALL (SELECT * FROM {other} EXCEPT SELECT * FROM \
             {one}))"
        );
        let run = async |sql: &str| session.sql(sql).await.map_err(failed())?.collect().await.map_err(failed());
        let partitions: BTreeSet<String> = run(&sql).await?.iter().flat_map(texts).collect();
        let count = async |rows: &str| {
            let counted = run(&format!("SELECT count(*) FROM {rows}")).await?;
            let number = counted.first().and_then(|batch| batch.column(0).as_primitive_opt::<Int64Type>().map(|column| column.value(0)));
            Ok::<_, Error>(number.unwrap_or_default().unsigned_abs())
        };
        Ok(Some(Unlike { partitions, expected: count(&made).await?, found: count(&there).await? }))
    }

    async fn query(&self, lake: &Lake, sql: &str) -> Result<Vec<RecordBatch>, Error> {
        let failed = || Error::query(self.model.name);
        let session = lake.session().await?;
        if !self.names.is_live() {
            // A model reads Silver by its name, whichever it is.
            let input = self.input.provider().await?;
            session.deregister_table(self.model.reads).map_err(failed())?;
            session.register_table(self.model.reads, input).map_err(failed())?;
        }
        session.sql(sql).await.map_err(failed())?.collect().await.map_err(failed())
    }
}

/// Where a table of Gold is not what its model makes of its input.
#[derive(Debug)]
pub(crate) struct Unlike {
    /// The partitions concerned.
    pub(crate) partitions: BTreeSet<String>,
    /// Rows of the table as the model makes it.
    pub(crate) expected: u64,
    /// Rows that it has.
    pub(crate) found: u64,
}

/// The texts in the first column.
fn texts(batch: &RecordBatch) -> Vec<String> {
    let column = batch.column(0).as_string::<i32>();
    (0..column.len()).filter(|row| column.is_valid(*row)).map(|row| column.value(row).to_owned()).collect()
}

fn condition(column: &str, partitions: &[String], is_date: bool) -> String {
    let literal = |value: &String| {
        let quoted = format!("'{}'", value.replace('\'', "''"));
        if is_date { format!("DATE {quoted}") } else { quoted }
    };
    format!("{column} IN ({})", partitions.iter().map(literal).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::condition;

    #[test]
    fn partitions_are_named_safely() {
        let check = |values: &[&str], is_date: bool, expect: &str| {
            let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            assert_eq!(condition("c", &values, is_date), expect);
        };
        check(&["2026-11-23", "2026-11-24"], true, "c IN (DATE '2026-11-23', DATE '2026-11-24')");
        check(&["it's", "') OR (1=1"], false, "c IN ('it''s', ''') OR (1=1')");
    }
}
