//! Which identities Silver has: the index, kept up with Silver's commits.
//!
//! The index is derived from Silver and may lag behind it, be lost or be damaged. Before it is asked, what Silver has more is read from Silver's new files; where
//! that cannot be told, it is made anew from three columns of the whole table.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use contract::{Identity, WireFormat};
use dedup::{Entry, Index, Options, shard_of};
use futures::StreamExt as _;
use lake::{Lake, Table};
use medallion::silver::{Candidates, ERASED_CONTENT, Winner};

use crate::error::Error;
use crate::stage::compute;
use crate::tables;

const STAGE: &str = "silver";
const COLUMNS: [&str; 3] = ["source", "event_id", "content_hash"];
/// Versions of Silver that are read to catch up at a time.
const VERSIONS_MAX: i64 = 64;

/// The index of Silver's identities.
#[derive(Debug)]
pub(crate) struct Identities {
    lake: Lake,
    /// The name of Silver's table.
    table: String,
    folder: PathBuf,
    options: Options,
    /// `None` while it is being made anew.
    index: Option<Arc<Mutex<Index>>>,
}

impl Identities {
    /// Opens the index of the identities in the table of this name.
    pub(crate) async fn open(lake: Lake, table: String, folder: PathBuf, limits: dedup::Limits) -> Result<Self, Error> {
        let options = Options { lake_id: lake.location().to_string(), limits };
        let (at, with) = (folder.clone(), options.clone());
        let opened = compute(STAGE, move || Ok(Index::open(&at, with))).await?;
        let index = match opened {
            Ok(index) => Some(Arc::new(Mutex::new(index))),
            Err(error) if error.kind() == dedup::ErrorKind::Corrupt => {
                tracing::warn!(%error, "the index of identities will be made anew from Silver");
                None
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { lake, table, folder, options, index })
    }

    /// For each candidate, the content of the row that Silver has of the same event. `silver` stands at the version to be decided on.
    pub(crate) async fn probe(&mut self, silver: &Table, candidates: Arc<Vec<Candidates>>) -> Result<Vec<Option<u64>>, Error> {
        self.catch_up(silver).await?;
        let keys = |candidates: &[Candidates]| -> Vec<_> {
            let identities = candidates.iter().flat_map(Candidates::identities);
            identities.map(|(event_id, digest)| (shard_of(event_id, &digest), digest)).collect()
        };
        let asked = Arc::clone(&candidates);
        match self.with(move |index| index.probe(&keys(&asked))).await {
            // A block that no question had read before: what it holds, Silver has too.
            Err(Error::Index(error)) if error.kind() == dedup::ErrorKind::Corrupt => {
                tracing::warn!(%error, "the index of identities is damaged");
                self.rebuild(silver).await?;
                self.with(move |index| index.probe(&keys(&candidates))).await
            }
            outcome => outcome,
        }
    }

    /// Takes in what a version of Silver added, after what others added since the index was last asked.
    pub(crate) async fn insert(&mut self, silver: &Table, version: i64, winners: Vec<Winner>) -> Result<(), Error> {
        let applied = self.applied();
        if applied < version - 1
            && let Err(error) = self.read_new(silver, applied, version - 1).await
        {
            // It lags behind now, and catches up, this version included, before it is asked again.
            tracing::debug!(%error, "the index of identities could not take in what others added to Silver");
            return Ok(());
        }
        let entry =
            |winner: &Winner| Entry { digest: winner.digest, shard: shard_of(&winner.event_id, &winner.digest), content: winner.content };
        match self.with(move |index| index.insert(version, &winners.iter().map(entry).collect::<Vec<_>>())).await {
            // Found where runs are merged. The rows are committed, and the next question makes it anew from them.
            Err(Error::Index(error)) if error.kind() == dedup::ErrorKind::Corrupt => {
                tracing::warn!(%error, "the index of identities is damaged");
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Writes what is in memory to disk, so that the next start need not read it from Silver again.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        self.with(Index::flush).await
    }

    /// What the index holds; `None` while it is being made anew.
    pub(crate) fn stats(&self) -> Option<dedup::Stats> {
        self.index.as_ref().map(|index| index.lock().unwrap_or_else(PoisonError::into_inner).stats())
    }

    async fn catch_up(&mut self, silver: &Table) -> Result<(), Error> {
        let applied = self.applied();
        if self.index.is_some() && applied <= silver.version() {
            match self.read_new(silver, applied, silver.version()).await {
                Ok(()) => return Ok(()),
                Err(Error::Lake(error)) if error.kind() == lake::ErrorKind::Missing => {
                    tracing::warn!(%error, "Silver no longer says version by version what the index lacks");
                }
                Err(Error::Index(error)) if error.kind() == dedup::ErrorKind::Corrupt => {
                    tracing::warn!(%error, "the index of identities is damaged");
                }
                Err(error) => return Err(error),
            }
        }
        self.rebuild(silver).await
    }

    /// The version of Silver that the index has come to; -1 where there is none.
    fn applied(&self) -> i64 {
        self.index.as_ref().and_then(|index| index.lock().unwrap_or_else(PoisonError::into_inner).applied()).unwrap_or(-1)
    }

    /// Takes in what Silver's versions after `applied`, up to `newest`, added.
    async fn read_new(&mut self, silver: &Table, applied: i64, newest: i64) -> Result<(), Error> {
        let mut from = applied;
        while from < newest {
            let through = newest.min(from + VERSIONS_MAX);
            let files = silver.added(from, through).await?;
            if let Some(file) = files.iter().find(|file| file.info.contains_key(tables::REPLACED)) {
                // What it took away is not among what it added.
                return Err(lake::Error::Missing(format!("version {} of {} replaced all rows", file.version, self.table)).into());
            }
            let mut entries = Vec::new();
            for batch in silver.read(&files, Some(&COLUMNS)).await? {
                entries.extend(entries_of(&batch));
            }
            self.with(move |index| index.insert(through, &entries)).await?;
            from = through;
        }
        Ok(())
    }

    /// Makes the index anew from the whole of Silver.
    async fn rebuild(&mut self, silver: &Table) -> Result<(), Error> {
        let version = silver.version();
        tracing::info!(version, "making the index of identities anew from Silver");
        // The lock on the folder goes with the old index.
        self.index = None;
        let (folder, options) = (self.folder.clone(), self.options.clone());
        let mut rebuild = compute(STAGE, move || Ok(Index::rebuild(&folder, options)?)).await?;
        let failed = || Error::query("making the index of identities anew");
        let session = self.lake.session().await?;
        let mut sql = format!("SELECT {} FROM {}", COLUMNS.join(", "), self.table);
        let has_erased = match self.lake.reader(tables::BRONZE).await? {
            Some(mut bronze) => bronze.progress(tables::ERASURES).await?.is_some(),
            None => false,
        };
        if has_erased {
            // An event that was erased keeps its identity, and only Bronze has it.
            let (bronze, silver, format) = (tables::BRONZE, &self.table, WireFormat::Erased.as_str());
            sql = format!(
                "{sql} UNION ALL SELECT DISTINCT erased.source, erased.event_id, CAST({ERASED_CONTENT} AS BIGINT) FROM {bronze} AS erased LEFT JOIN {silver} AS events ON \
                 erased.source = events.source AND erased.event_id = events.event_id WHERE erased.wire_format = '{format}' AND events.event_id IS NULL"
            );
        }
        let mut rows = session.sql(&sql).await.map_err(failed())?.execute_stream().await.map_err(failed())?;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(failed())?;
            rebuild = compute(STAGE, move || {
                rebuild.push(&entries_of(&batch))?;
                Ok(rebuild)
            })
            .await?;
        }
        let index = compute(STAGE, move || Ok(rebuild.finish(version)?)).await?;
        self.index = Some(Arc::new(Mutex::new(index)));
        Ok(())
    }

    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Index) -> Result<T, dedup::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let Some(index) = self.index.clone() else {
            return Err(dedup::Error::Corrupt { file: self.folder.clone(), what: "it is not there".to_owned() }.into());
        };
        let outcome = compute(STAGE, move || Ok(work(&mut index.lock().unwrap_or_else(PoisonError::into_inner))?)).await;
        if let Err(Error::Index(error)) = &outcome
            && error.kind() == dedup::ErrorKind::Corrupt
        {
            // The next question finds none, and makes it anew.
            self.index = None;
        }
        outcome
    }
}

/// The entries of rows with the columns [`COLUMNS`].
fn entries_of(batch: &RecordBatch) -> Vec<Entry> {
    let (sources, ids) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
    let contents = batch.column(2).as_primitive::<Int64Type>();
    let entry = |row: usize| {
        let event_id = ids.value(row);
        let digest = Identity { source: sources.value(row), event_id }.digest();
        Entry { digest, shard: shard_of(event_id, &digest), content: contents.value(row).cast_unsigned() }
    };
    (0..contents.len()).map(entry).collect()
}
