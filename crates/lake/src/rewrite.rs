//! Some rows of a table changed or taken out, file by file, in one commit.
//!
//! Only files with such rows are written anew, and only these rows change: the others are where they were, and nobody who reads version by version is told of them again.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use deltalake::kernel::{Action, Remove};
use deltalake::protocol::{DeltaOperation, SaveMode};
use futures::stream::StreamExt as _;
use parquet::errors::ParquetError;

use crate::commit::{Draft, NewFile};
use crate::error::Error;
use crate::log;
use crate::reader::Source;
use crate::table::{Commit, Committed, Table};
use crate::writer::{Encoded, Encoder};

/// Tells of each row of a batch whether something holds for it.
pub type RowFilter = Arc<dyn Fn(&RecordBatch) -> Result<BooleanArray, ArrowError> + Send + Sync>;

/// Makes other rows of a batch, which has all columns of the table. `None`: all stay as they are.
pub type RowEdit = Arc<dyn Fn(&RecordBatch) -> Result<Option<RecordBatch>, ArrowError> + Send + Sync>;

/// What is to be changed in the files of a table.
#[derive(Clone)]
pub struct Edit {
    /// The columns that `concerns` looks at, so that a file without such rows is read no further.
    pub columns: Vec<&'static str>,
    /// Whether something is to be changed about a row.
    pub concerns: RowFilter,
    /// The change, for files with rows that are concerned.
    pub change: RowEdit,
}

impl std::fmt::Debug for Edit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edit").field("columns", &self.columns).finish_non_exhaustive()
    }
}

/// Files that are ready to take the place of others. Not committed, it is of no consequence: the new files belong to nothing, and a vacuum deletes them.
#[derive(Debug, Default)]
pub struct Rewrite {
    files: Vec<NewFile>,
    removes: Vec<Remove>,
    looked_at: BTreeSet<String>,
}

impl Rewrite {
    /// How many files are to go.
    pub fn files(&self) -> usize {
        self.removes.len()
    }

    /// The files that need not be looked at again: those without rows that are concerned, and those written anew.
    pub fn looked_at(&self) -> impl Iterator<Item = String> {
        self.looked_at.iter().cloned().chain(self.files.iter().map(|file| file.add.path.clone()))
    }
}

impl Table {
    /// Writes those files anew that have rows which the edit concerns, at the version of this handle, and commits nothing. Files among `known` are left as they are.
    ///
    /// # Errors
    /// `Missing` when a file is gone, `Fatal` when one is damaged, `Retry` when the store fails.
    pub async fn rewrite(&mut self, edit: &Edit, known: &BTreeSet<String>) -> Result<Rewrite, Error> {
        let listed = self.bring_up().await?.log_data();
        let own = listed.iter().map(|file| {
            let source = Source {
                path: file.path().into_owned(),
                bytes: file.size().unsigned_abs(),
                values: file.partition_values_map().into_iter().collect(),
            };
            (source, file.stats().as_deref().and_then(log::rows), file.remove_action(true))
        });
        let own: Vec<_> = own.filter(|(source, ..)| !known.contains(&source.path)).collect();
        let mut rewrite = Rewrite::default();
        for (source, rows, remove) in own {
            let edited = if self.is_concerned(&source, edit).await? { self.edited(&source, rows, &edit.change).await? } else { None };
            let Some(edited) = edited else {
                rewrite.looked_at.insert(source.path);
                continue;
            };
            let values: Vec<Option<String>> = self.shape.partition_by.iter().map(|column| value_of(&source, column)).collect();
            // The rows were there: whoever reads version by version has them.
            rewrite.files.extend(self.upload(edited.into_iter().map(|file| (values.clone(), file)).collect(), false).await?);
            rewrite.removes.push(remove);
        }
        Ok(rewrite)
    }

    /// Puts the new files in the place of the old ones, in one commit with progress; also where there are none.
    ///
    /// # Errors
    /// As [`Table::append`]; `Conflict` when another writer took one of the files away meanwhile: nothing is changed.
    pub async fn commit_rewrite(&mut self, rewrite: Rewrite, commit: Commit) -> Result<Committed, Error> {
        if let Some(made) = self.ready(&commit.progress, &commit.guards).await? {
            return Ok(made);
        }
        let partition_by = Some(self.shape.partition_by.clone());
        let operation = DeltaOperation::Write { mode: SaveMode::Overwrite, partition_by, predicate: None };
        let mut draft = Draft::new(commit, operation, rewrite.files);
        draft.intent.removes = rewrite.removes.iter().map(|remove| remove.path.clone()).collect();
        draft.actions.extend(rewrite.removes.into_iter().map(Action::Remove));
        self.commit(draft).await
    }

    async fn is_concerned(&self, source: &Source, edit: &Edit) -> Result<bool, Error> {
        let mut batches = self.reader(Some(&edit.columns))?.stream(vec![source.clone()]);
        while let Some(batch) = batches.next().await {
            let (batch, concerns) = (batch?, Arc::clone(&edit.concerns));
            let mask = tokio::task::spawn_blocking(move || concerns(&batch)).await.map_err(|error| Error::store("look at rows", error))?;
            if mask.map_err(|error| Error::store("look at rows", error))?.true_count() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A file with its rows edited, as new files; `None` when all are as they were. Holds one file's rows in memory, encoded.
    pub(crate) async fn edited(&self, source: &Source, rows: Option<u64>, edit: &RowEdit) -> Result<Option<Vec<Encoded>>, Error> {
        let encoder = Encoder::new(Arc::clone(&self.shape.data_schema), Arc::clone(&self.shape.stats_columns), &self.home.options);
        let mut encoder = encoder.map_err(|error| Error::schema(self.name(), error.to_string()))?;
        let (mut done, mut read, mut is_edited) = (Vec::new(), 0, false);
        let mut batches = self.reader(None)?.stream(vec![source.clone()]);
        let data: Vec<usize> = self.data_columns();
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            read += batch.num_rows() as u64;
            let (edit, data) = (Arc::clone(edit), data.clone());
            let changed;
            (encoder, done, changed) = on_a_thread(encoder, done, move |encoder, done| {
                let edited = edit(&batch)?;
                let is_edited = edited.is_some();
                encoder.write(&edited.unwrap_or(batch).project(&data)?, done)?;
                Ok(is_edited)
            })
            .await?;
            is_edited |= changed;
        }
        if rows.is_some_and(|rows| rows != read) {
            let what = format!("it holds {read} rows, the log says {}", rows.unwrap_or_default());
            return Err(Error::Damaged { place: format!("{} of {}", source.path, self.name()), what });
        }
        if !is_edited {
            return Ok(None);
        }
        (_, done, _) = on_a_thread(encoder, done, |encoder, done| {
            done.extend(encoder.finish()?);
            Ok(true)
        })
        .await?;
        Ok(Some(done))
    }

    /// The columns that lie in the files, by number.
    fn data_columns(&self) -> Vec<usize> {
        let schema = &self.shape.schema;
        let in_file = |index: &usize| !self.shape.partition_by.contains(schema.field(*index).name());
        (0..schema.fields().len()).filter(in_file).collect()
    }
}

/// Leaves out the rows for which it does not hold.
pub(crate) fn without(holds: &RowFilter) -> RowEdit {
    let holds = Arc::clone(holds);
    Arc::new(move |batch| {
        let kept = filter_record_batch(batch, &holds(batch)?)?;
        Ok((kept.num_rows() < batch.num_rows()).then_some(kept))
    })
}

pub(crate) fn value_of(source: &Source, column: &str) -> Option<String> {
    source.values.iter().find(|(name, _)| name == column).and_then(|(_, value)| value.clone())
}

/// Encoding works the processor for long: not among the tasks that answer clients.
async fn on_a_thread(
    mut encoder: Encoder,
    mut done: Vec<Encoded>,
    work: impl FnOnce(&mut Encoder, &mut Vec<Encoded>) -> Result<bool, ParquetError> + Send + 'static,
) -> Result<(Encoder, Vec<Encoded>, bool), Error> {
    let worked = tokio::task::spawn_blocking(move || work(&mut encoder, &mut done).map(|outcome| (encoder, done, outcome))).await;
    let worked = worked.map_err(|error| Error::store("rewrite rows", error))?;
    worked.map_err(|error| Error::store("rewrite rows", error))
}
