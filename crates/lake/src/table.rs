//! One writer's or reader's handle on a table.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use deltalake::ObjectStoreError;
use deltalake::kernel::{Action, Remove};
use deltalake::logstore::object_store::ObjectStoreExt as _;
use deltalake::logstore::{LogStoreRef, ObjectStoreRef, commit_uri_from_version};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::state::DeltaTableState;
use serde_json::{Map, Value};

use crate::commit::{Draft, Unsettled};
use crate::conflict::Replaces;
use crate::error::Error;
use crate::log::{self, Entry};
use crate::options::Options;
use crate::partition;
use crate::shape::Shape;

mod reading;

/// Versions that a refresh reads one by one; one that is further behind loads the table anew.
const WALK_VERSIONS_MAX: u32 = 256;

/// Where a table lives.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) name: Arc<str>,
    pub(crate) log: LogStoreRef,
    pub(crate) options: Arc<Options>,
}

impl Home {
    /// Rooted at the table's folder.
    pub(crate) fn store(&self) -> ObjectStoreRef {
        self.log.object_store(None)
    }

    /// Whether there is a table. Asked before it is loaded: what the library says of a folder that is not there differs from store to store.
    pub(crate) async fn exists(&self) -> Result<bool, Error> {
        let found = self.log.is_delta_table_location().await;
        found.map_err(|error| Error::delta(format!("look for {}", self.name), error))
    }

    pub(crate) async fn entry(&self, version: i64) -> Result<Option<Entry>, Error> {
        log::entry(self.log.as_ref(), &self.name, version).await
    }
}

/// What a commit says besides its rows.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// Progress that becomes true together with the rows: who, and how far. Name only what moves: progress that stands still, or goes back, is
    /// refused as [`crate::ErrorKind::Fenced`].
    pub progress: Vec<(String, i64)>,
    /// Progress that must still be as this owner was told (see [`Table::progress`]) and that this commit does not move; else it is refused as
    /// [`crate::ErrorKind::Fenced`].
    pub guards: Vec<String>,
    /// Goes into the commit's user metadata, a JSON object, under `tidegate`.
    pub info: Map<String, Value>,
}

/// A commit that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The version it made.
    pub version: i64,
    /// The rows it added.
    pub rows: u64,
    /// The files they are in.
    pub files: u64,
    /// The size of these, in bytes.
    pub bytes: u64,
}

/// A handle on a table. It stands at the version it last read, and knows what it told its owner, so that a commit decided on something older than
/// the table is noticed. Not for sharing: every writer has its own.
#[derive(Debug)]
pub struct Table {
    pub(crate) home: Home,
    /// The table at some version not after `version`; brought up to it where it is needed.
    state: DeltaTableState,
    pub(crate) version: i64,
    pub(crate) shape: Shape,
    /// A version since `state` changed the schema, the properties or the protocol.
    reshaped: bool,
    /// Progress at `version`, as far as it was looked up.
    known: HashMap<String, Option<i64>>,
    /// Progress as the owner of the handle knows it.
    told: HashMap<String, Option<i64>>,
    pub(crate) unsettled: Option<Unsettled>,
    /// Files that are not read, see [`Table::leave_out`].
    left_out: HashSet<String>,
}

impl Table {
    /// Loads the newest version; `None` when there is no table.
    pub(crate) async fn load(home: Home) -> Result<Option<Self>, Error> {
        let Some(state) = load_state(&home).await? else { return Ok(None) };
        let shape = Shape::of(&home.name, &state)?;
        let version = number(state.version());
        let (known, told) = (HashMap::new(), HashMap::new());
        Ok(Some(Self { home, state, version, shape, reshaped: false, known, told, unsettled: None, left_out: HashSet::new() }))
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.home.name
    }

    /// The version this handle stands at.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// All columns, those the table is partitioned by among them.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.shape.schema)
    }

    /// The columns that choose the folder of a row.
    pub fn partition_by(&self) -> &[String] {
        &self.shape.partition_by
    }

    /// Reads what others committed since, and tells the newest version.
    ///
    /// It does not change what [`Table::append`] takes for this owner's progress: only [`Table::progress`] does.
    ///
    /// # Errors
    /// `Retry` when the store fails.
    pub async fn refresh(&mut self) -> Result<i64, Error> {
        self.settle().await?;
        let mut walked = 0;
        while walked < WALK_VERSIONS_MAX {
            let Some(entry) = self.home.entry(self.version + 1).await? else { break };
            self.absorb(&entry);
            walked += 1;
        }
        if self.reshaped || walked == WALK_VERSIONS_MAX || (walked == 0 && !self.is_in_log().await?) {
            self.reload().await?;
        }
        Ok(self.version)
    }

    /// How far `app_id` has come, at the version this handle stands at. The next commit of this handle that moves this progress expects to find
    /// it as it was told here, and is [`crate::ErrorKind::Fenced`] otherwise; for an `app_id` never asked for, as it is when the commit names it first.
    ///
    /// # Errors
    /// `Retry` when the store fails.
    pub async fn progress(&mut self, app_id: &str) -> Result<Option<i64>, Error> {
        self.settle().await?;
        let known = self.known(app_id).await?;
        self.told.insert(app_id.to_owned(), known);
        Ok(known)
    }

    /// Adds rows and moves progress, both or neither, in one commit. Without rows it commits the progress alone; with neither it does nothing.
    ///
    /// Rows may lack columns that take nulls; columns may stand in any order. They are divided by the partition columns.
    ///
    /// # Errors
    /// `Fenced` when the progress is not as this owner was told, or is already there: nothing is written. `Conflict` when another writer changed the
    /// table's schema, or kept being faster. `Schema` when the rows do not fit. `Retry` when the store fails, or it is not known whether the
    /// commit was taken: call it again with the same rows and progress, or refresh and ask for the progress.
    pub async fn append(&mut self, batches: Vec<RecordBatch>, commit: Commit) -> Result<Committed, Error> {
        if let Some(made) = self.ready(&commit.progress, &commit.guards).await? {
            return Ok(made);
        }
        let parts = self.divide(&batches)?;
        if parts.is_empty() && commit.progress.is_empty() {
            return Ok(Committed { version: self.version, rows: 0, files: 0, bytes: 0 });
        }
        let partition_by = Some(self.shape.partition_by.clone());
        let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by, predicate: None };
        let files = self.write(parts, true).await?;
        self.commit(Draft::new(commit, operation, files)).await
    }

    /// Replaces all rows of the partitions in which `partition_column` has one of `values` (written as Delta does: `2026-11-23`, `7`), in one
    /// commit: a reader sees all the old rows or all the new. The new rows must lie in these partitions.
    ///
    /// # Errors
    /// As [`Table::append`]; also `Conflict` when another writer added or removed files in these partitions since the version of this handle.
    pub async fn replace(
        &mut self,
        partition_column: &str,
        values: &[String],
        batches: Vec<RecordBatch>,
        commit: Commit,
    ) -> Result<Committed, Error> {
        let field = self.shape.schema.field_with_name(partition_column).ok();
        let field = field.filter(|_| self.shape.partition_by.iter().any(|column| column == partition_column));
        let Some(field) = field else {
            return Err(Error::schema(self.name(), format!("it is not partitioned by {partition_column}")));
        };
        let canonical = |value: &String| partition::canonical(value, field.data_type());
        let values: BTreeSet<String> =
            values.iter().map(canonical).collect::<Result<_, _>>().map_err(|error| Error::schema(self.name(), error.to_string()))?;
        self.replace_where(Replaces::Partitions { column: partition_column.to_owned(), values }, batches, commit).await
    }

    /// Replaces all rows of the table, in one commit.
    ///
    /// # Errors
    /// As [`Table::replace`].
    pub async fn replace_all(&mut self, batches: Vec<RecordBatch>, commit: Commit) -> Result<Committed, Error> {
        self.replace_where(Replaces::Everything, batches, commit).await
    }

    async fn replace_where(&mut self, replaces: Replaces, batches: Vec<RecordBatch>, commit: Commit) -> Result<Committed, Error> {
        if let Some(made) = self.ready(&commit.progress, &commit.guards).await? {
            return Ok(made);
        }
        let parts = self.divide(&batches)?;
        for part in &parts {
            let values = self.shape.partition_by.iter().cloned().zip(part.values.iter().cloned()).collect();
            if !replaces.covers(&values) {
                return Err(Error::schema(self.name(), format!("the rows for {values:?} lie outside of the partitions to replace")));
            }
        }
        self.bring_up().await?;
        let removes: Vec<Remove> = self
            .state
            .log_data()
            .iter()
            .filter(|file| replaces.covers(&file.partition_values_map()))
            .map(|file| file.remove_action(true))
            .collect();
        let partition_by = Some(self.shape.partition_by.clone());
        let operation = DeltaOperation::Write { mode: SaveMode::Overwrite, partition_by, predicate: replaces.predicate() };
        let files = self.write(parts, true).await?;
        let mut draft = Draft::new(commit, operation, files);
        draft.intent.replaces = replaces;
        draft.intent.removes = removes.iter().map(|remove| remove.path.clone()).collect();
        draft.actions.extend(removes.into_iter().map(Action::Remove));
        self.commit(draft).await
    }

    fn divide(&self, batches: &[RecordBatch]) -> Result<Vec<partition::Part>, Error> {
        partition::divide(self.name(), &self.shape.schema, &self.shape.partition_by, batches)
    }

    /// Makes sure that this handle may decide: its last commit is settled, its version is still in the log, and the progress is as its owner knows it.
    /// Returns the commit when it turns out to have been made by an earlier call whose answer was lost.
    pub(crate) async fn ready(&mut self, progress: &[(String, i64)], guards: &[String]) -> Result<Option<Committed>, Error> {
        if let Some((moved, made)) = self.settle().await?
            && !moved.is_empty()
            && moved == progress
        {
            self.tell(progress);
            return Ok(Some(made));
        }
        if self.reshaped || !self.is_in_log().await? {
            self.reload().await?;
        }
        for (app_id, asked) in progress {
            let found = self.known(app_id).await?;
            let expected = *self.told.entry(app_id.clone()).or_insert(found);
            if found != expected || found.is_some_and(|found| found >= *asked) {
                return Err(Error::Fenced { table: self.name().to_owned(), app_id: app_id.clone(), expected, found, asked: Some(*asked) });
            }
        }
        for app_id in guards {
            let found = self.known(app_id).await?;
            let expected = *self.told.entry(app_id.clone()).or_insert(found);
            if found != expected {
                return Err(Error::Fenced { table: self.name().to_owned(), app_id: app_id.clone(), expected, found, asked: None });
            }
        }
        Ok(None)
    }

    /// The owner knows of this progress.
    pub(crate) fn tell(&mut self, progress: &[(String, i64)]) {
        for (app_id, version) in progress {
            self.told.insert(app_id.clone(), Some(*version));
        }
    }

    pub(crate) fn told(&self, app_id: &str) -> Option<i64> {
        self.told.get(app_id).copied().flatten()
    }

    async fn known(&mut self, app_id: &str) -> Result<Option<i64>, Error> {
        if let Some(known) = self.known.get(app_id) {
            return Ok(*known);
        }
        self.bring_up().await?;
        let found = self.state.transaction_version(self.home.log.as_ref(), app_id).await;
        let found = found.map_err(|error| Error::delta(format!("read the progress of {app_id} in {}", self.home.name), error))?;
        self.known.insert(app_id.to_owned(), found);
        Ok(found)
    }

    /// Moves on by one version.
    pub(crate) fn absorb(&mut self, entry: &Entry) {
        self.version = entry.version;
        self.reshaped |= entry.reshapes;
        self.known.extend(entry.progress.iter().map(|(app_id, version)| (app_id.clone(), Some(*version))));
    }

    /// Moves on by a version that this handle made.
    pub(crate) fn made(&mut self, version: i64, progress: &[(String, i64)]) {
        self.version = version;
        self.known.extend(progress.iter().map(|(app_id, version)| (app_id.clone(), Some(*version))));
        self.tell(progress);
    }

    /// Brings the list of files up to the version of this handle.
    pub(crate) async fn bring_up(&mut self) -> Result<&DeltaTableState, Error> {
        let version = self.version.unsigned_abs();
        if self.state.version() < version {
            let updated = self.state.update(self.home.log.as_ref(), Some(version)).await;
            updated.map_err(|error| Error::delta(format!("read {} at version {version}", self.home.name), error))?;
        }
        Ok(&self.state)
    }

    /// Whether the log still has the version of this handle. If not, others have moved on so far that the versions after it were cleaned away: to
    /// "create" the next one would succeed, far behind what readers read.
    pub(crate) async fn is_in_log(&self) -> Result<bool, Error> {
        match self.home.store().head(&commit_uri_from_version(Some(self.version.unsigned_abs()))).await {
            Ok(_) => Ok(true),
            Err(ObjectStoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(Error::object(format!("look into the log of {}", self.home.name), error)),
        }
    }

    pub(crate) async fn reload(&mut self) -> Result<(), Error> {
        let state = load_state(&self.home).await?;
        let state = state.ok_or_else(|| Error::Missing(format!("the table {} has been removed", self.home.name)))?;
        self.shape = Shape::of(&self.home.name, &state)?;
        self.version = number(state.version());
        self.state = state;
        self.reshaped = false;
        self.known.clear();
        Ok(())
    }
}

async fn load_state(home: &Home) -> Result<Option<DeltaTableState>, Error> {
    if !home.exists().await? {
        return Ok(None);
    }
    let state = DeltaTableState::try_new(home.log.as_ref(), None).await;
    state.map(Some).map_err(|error| Error::delta(format!("load {}", home.name), error))
}

pub(crate) fn number(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}
