//! Reading a table: by version, by file, by query.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use deltalake::table::state::DeltaTableState;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use serde_json::{Map, Value};

use super::Table;
use crate::error::Error;
use crate::log::{self, Added, Changes, Entry};
use crate::reader::{self, Reader, Source};
use crate::session;

/// Versions of the log that are fetched at a time.
const FETCHES_MAX: usize = 8;

impl Table {
    /// The files that versions after `after`, up to and including `through`, added with new rows, oldest version first.
    ///
    /// # Errors
    /// `Missing` when the log no longer has one of these versions: whoever reads version by version has been away while
    /// [`Table::trim_log`] was called without knowing of it, and has to begin anew from the table as a whole.
    pub async fn added(&self, after: i64, through: i64) -> Result<Vec<Added>, Error> {
        let added = self.entries(after, through).await?.into_iter().flat_map(Entry::into_added);
        Ok(added.filter(|file| !self.left_out.contains(&file.path)).collect())
    }

    /// What versions after `after`, up to and including `through`, did to the rows of the table.
    ///
    /// # Errors
    /// As [`Table::added`].
    pub async fn changes(&self, after: i64, through: i64) -> Result<Changes, Error> {
        let mut all = Changes::default();
        for changes in self.entries(after, through).await?.into_iter().map(Entry::into_changes) {
            all.added.extend(changes.added);
            all.removed.extend(changes.removed);
        }
        Ok(all)
    }

    /// What the commits of these versions say under `tidegate` in their user metadata, oldest first; empty for commits that say nothing.
    ///
    /// # Errors
    /// As [`Table::added`].
    pub async fn infos(&self, after: i64, through: i64) -> Result<Vec<(i64, Map<String, Value>)>, Error> {
        Ok(self.entries(after, through).await?.into_iter().map(|entry| (entry.version, entry.info)).collect())
    }

    /// The files that the table consists of at the version this handle stands at. Their [`Added::version`] is that version, and they say nothing of the commits
    /// that added them.
    ///
    /// # Errors
    /// `Retry` when the store fails.
    pub async fn files(&mut self) -> Result<Vec<Added>, Error> {
        let version = self.version;
        let mut files = listed(self.bring_up().await?, version);
        files.retain(|file| !self.left_out.contains(&file.path));
        Ok(files)
    }

    /// The files that the table consisted of at an older version, which must still be in the log; said of them is what [`Table::files`] says.
    ///
    /// # Errors
    /// `Missing` when the log no longer goes back that far; `Retry` when the store fails.
    pub async fn files_at(&self, version: i64) -> Result<Vec<Added>, Error> {
        let state = DeltaTableState::try_new(self.home.log.as_ref(), Some(version.unsigned_abs())).await;
        let state = state.map_err(|error| session::not_loaded(&self.home.name, Some(version), error))?;
        let mut files = listed(&state, version);
        files.retain(|file| !self.left_out.contains(&file.path));
        Ok(files)
    }

    /// The latest instant of a column, in microseconds since 1970, as the statistics of the files tell it: to the millisecond. `None` where no file has statistics of
    /// it.
    ///
    /// # Errors
    /// `Retry` when the store fails.
    pub async fn newest(&mut self, column: &str) -> Result<Option<i64>, Error> {
        let files = self.bring_up().await?.log_data();
        Ok(files.iter().filter_map(|file| log::newest(file.stats().as_deref()?, column)).max())
    }

    /// Those of [`Table::files`] that are not in the store: deleted behind the table's back, or lost. It takes a listing of the table's folder.
    ///
    /// # Errors
    /// `Retry` when the store fails.
    pub async fn missing_files(&mut self) -> Result<Vec<Added>, Error> {
        let listed = self.home.store().list(None).map_ok(|file| file.location).try_collect::<HashSet<_>>().await;
        let there = listed.map_err(|error| Error::object(format!("list the files of {}", self.name()), error))?;
        let files = self.files().await?;
        Ok(files.into_iter().filter(|file| !there.contains(&reader::location(&file.path))).collect())
    }

    /// Reads from now on as if these files were no part of the table: what is left of a table that has lost some can still be looked at. Nothing is changed in the table.
    pub fn leave_out(&mut self, files: &[Added]) {
        self.left_out.extend(files.iter().map(|file| file.path.clone()));
    }

    pub(crate) async fn entries(&self, after: i64, through: i64) -> Result<Vec<Entry>, Error> {
        let fetch = |version| async move {
            self.home.entry(version).await?.ok_or_else(|| {
                Error::Missing(format!(
                    "version {version} of {} is not in its log: it has not been made, or it has been trimmed and only the table as a whole can \
                     still be read",
                    self.home.name
                ))
            })
        };
        futures::stream::iter((after + 1).max(0)..=through).map(fetch).buffered(FETCHES_MAX).try_collect().await
    }

    /// The rows of the files, in their order, with the table's columns or the columns named, in the order named. All of them are held in memory:
    /// [`Table::stream`] does not.
    ///
    /// # Errors
    /// `Missing` when a file is gone (replaced, and vacuumed since), `Fatal` when it is damaged, `Retry` when the store fails.
    pub async fn read(&self, files: &[Added], columns: Option<&[&str]>) -> Result<Vec<RecordBatch>, Error> {
        self.stream(files, columns)?.try_collect().await
    }

    /// The same, batch by batch.
    ///
    /// # Errors
    /// `Schema` when the table has no such column; the stream's own are those of [`Table::read`].
    pub fn stream(&self, files: &[Added], columns: Option<&[&str]>) -> Result<BoxStream<'static, Result<RecordBatch, Error>>, Error> {
        let files = files
            .iter()
            .map(|file| Source { path: file.path.clone(), bytes: file.bytes, values: file.partition_values.clone().into_iter().collect() })
            .collect();
        Ok(self.reader(columns)?.stream(files))
    }

    /// What a DataFusion session needs to query the newest version of this table. The session must be one of [`crate::Lake::session`].
    ///
    /// # Errors
    /// `Retry` when the store fails.
    pub async fn provider(&self) -> Result<Arc<dyn TableProvider>, Error> {
        self.provider_of(None).await
    }

    /// The same for an older version, which must still be in the log.
    ///
    /// # Errors
    /// As [`Table::provider`]; `Missing` when the log no longer goes back that far.
    pub async fn provider_at(&self, version: i64) -> Result<Arc<dyn TableProvider>, Error> {
        self.provider_of(Some(version)).await
    }

    async fn provider_of(&self, version: Option<i64>) -> Result<Arc<dyn TableProvider>, Error> {
        let provider = session::provider(&self.home, version).await?;
        provider.ok_or_else(|| Error::Missing(format!("the table {} has been removed", self.home.name)))
    }

    pub(crate) fn reader(&self, columns: Option<&[&str]>) -> Result<Reader, Error> {
        let schema = reader::select(&self.home.name, &self.shape.schema, columns)?;
        Ok(Reader { store: self.home.store(), schema, batch_rows: self.home.options.read_batch_rows })
    }
}

fn listed(state: &DeltaTableState, version: i64) -> Vec<Added> {
    let files = state.log_data();
    let added = files.iter().map(|file| Added {
        version,
        path: file.path().into_owned(),
        rows: file.stats().as_deref().and_then(log::rows),
        bytes: file.size().unsigned_abs(),
        partition_values: file.partition_values_map().into_iter().collect(),
        info: Map::new(),
    });
    added.collect()
}
