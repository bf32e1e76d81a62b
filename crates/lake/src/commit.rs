//! Making a commit: data files first, then one entry of the log that names them.
//!
//! The Delta library has a commit loop of its own. This one differs where the laws need it. It looks into the version that was there first before it goes
//! on, so that a commit whose answer was lost is recognised by its id and never made twice. It says which progress another writer moved. And it keeps no
//! list of all files: a commit costs the same on a table of a million files as on an empty one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use bytes::Bytes;
use deltalake::kernel::transaction::{CommitData, TransactionError};
use deltalake::kernel::{Action, Add, Transaction};
use deltalake::logstore::CommitOrBytes;
use deltalake::logstore::object_store::{ObjectStoreExt as _, PutPayload};
use deltalake::protocol::DeltaOperation;
use futures::stream::{StreamExt as _, TryStreamExt as _};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::conflict::{self, Clash, Intent};
use crate::error::Error;
use crate::log::{self, COMMIT_ID_KEY};
use crate::partition::{self, Part};
use crate::reader::location;
use crate::table::{Commit, Committed, Table};
use crate::writer::{self, Encoded, Placed};
use crate::{maintain, metrics};

/// The pause after an error of the store never grows beyond this.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A commit of more rows is encoded on so many more threads: one after the other the files of a rebuild would keep one core busy and the rest waiting. The commits of a stage that
/// keeps up are smaller, and leave the other cores to what answers clients.
const ROWS_OF_AN_ENCODER: usize = 1 << 16;

/// A commit that is ready to be made. Its new files are already there.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) intent: Intent,
    pub(crate) actions: Vec<Action>,
    operation: DeltaOperation,
    info: Map<String, Value>,
    /// Paths of its new files, removed again if it cannot be made.
    files: Vec<String>,
    rows: u64,
    bytes: u64,
}

/// A commit whose outcome is not known.
#[derive(Debug, Clone)]
pub(crate) struct Unsettled {
    id: String,
    progress: Vec<(String, i64)>,
    outcome: Committed,
}

/// A data file that is in place and in no version yet.
#[derive(Debug)]
pub(crate) struct NewFile {
    pub(crate) add: Add,
    pub(crate) rows: u64,
}

impl Draft {
    pub(crate) fn new(commit: Commit, operation: DeltaOperation, files: Vec<NewFile>) -> Self {
        let rows = files.iter().map(|file| file.rows).sum();
        let bytes = files.iter().map(|file| file.add.size.unsigned_abs()).sum();
        let paths = files.iter().map(|file| file.add.path.clone()).collect();
        let actions = files.into_iter().map(|file| Action::Add(file.add)).collect();
        let intent = Intent { progress: commit.progress, guards: commit.guards, ..Intent::default() };
        Self { intent, actions, operation, info: commit.info, files: paths, rows, bytes }
    }

    fn to_bytes(&self, id: Uuid, read_version: i64) -> Result<Bytes, TransactionError> {
        let mut info = self.info.clone();
        info.insert(COMMIT_ID_KEY.to_owned(), id.to_string().into());
        let blind = self.intent.removes.is_empty();
        let metadata: HashMap<String, Value> =
            [log::telling(info), ("readVersion".to_owned(), read_version.into()), ("isBlindAppend".to_owned(), blind.into())].into();
        let now = Some(millis(id));
        let progress =
            self.intent.progress.iter().map(|(app_id, version)| Transaction::new_with_last_update(app_id, *version, now)).collect();
        CommitData::new(self.actions.clone(), self.operation.clone(), metadata, progress).get_bytes()
    }
}

impl Table {
    /// Makes the commit, or says why not. [`Table::ready`] must have been asked, on the same state of the handle that the draft was decided on.
    pub(crate) async fn commit(&mut self, draft: Draft) -> Result<Committed, Error> {
        let started = Instant::now();
        let id = Uuid::now_v7();
        let bytes = draft.to_bytes(id, self.version).map_err(|error| Error::store(format!("write a commit to {}", self.name()), error))?;
        let files = draft.files.len() as u64;
        let outcome = Committed { version: self.version + 1, rows: draft.rows, files, bytes: draft.bytes };
        let progress = draft.intent.progress.clone();
        // Noted before anything is sent: this call may be dropped while it waits for the answer.
        self.unsettled = Some(Unsettled { id: id.to_string(), progress, outcome: outcome.clone() });
        match self.put(&draft.intent, &id.to_string(), bytes).await {
            Ok(version) => {
                self.unsettled = None;
                self.made(version, &draft.intent.progress);
                metrics::committed(self.name(), &outcome, started.elapsed());
                maintain::after_commit(self).await;
                Ok(Committed { version, ..outcome })
            }
            Err(error @ Error::Unsettled { .. }) => Err(error),
            Err(error) => {
                self.unsettled = None;
                metrics::refused(self.name(), error.kind());
                self.discard(&draft.files).await;
                Err(error)
            }
        }
    }

    /// Puts the entry after the last one, again and again, while what is there first leaves the decision standing.
    async fn put(&mut self, intent: &Intent, id: &str, bytes: Bytes) -> Result<i64, Error> {
        let options = Arc::clone(&self.home.options);
        let (mut lost, mut failed) = (0, 0);
        loop {
            let version = self.version + 1;
            if let Some(unsettled) = &mut self.unsettled {
                unsettled.outcome.version = version;
            }
            let entry = CommitOrBytes::LogBytes(bytes.clone());
            let answer = self.home.log.write_commit_entry(version.unsigned_abs(), entry, Uuid::nil()).await;
            let error: Box<dyn std::error::Error + Send + Sync> = match answer {
                Ok(()) => return Ok(version),
                Err(TransactionError::VersionAlreadyExists(_)) => match self.home.entry(version).await {
                    Ok(Some(winner)) if winner.commit_id() == Some(id) => return Ok(version),
                    Ok(Some(winner)) => {
                        let verdict = conflict::check(intent, &winner);
                        self.absorb(&winner);
                        verdict.map_err(|clash| self.clash(clash))?;
                        lost += 1;
                        if lost >= options.commit_attempts_max {
                            return Err(self.clash(Clash::Change(format!("others were faster {lost} times"))));
                        }
                        continue;
                    }
                    Ok(None) => match self.is_in_log().await {
                        // S3 may refuse a commit because of another one that it is still busy with, and which may come to nothing.
                        Ok(true) => format!("the store says that version {version} is there, and it is not").into(),
                        Ok(false) => return Err(self.clash(Clash::Change(format!("version {version} was made and cleaned away")))),
                        Err(error) => error.into(),
                    },
                    Err(error) => error.into(),
                },
                Err(error) => error.into(),
            };
            // Nobody knows whether it was taken. The same version again tells: if it was, ours is there.
            failed += 1;
            if failed > options.commit_errors_max {
                return Err(Error::Unsettled { table: self.name().to_owned(), source: error });
            }
            tracing::warn!(table = self.name(), version, failed, %error, "the answer to a commit is an error, asking again");
            tokio::time::sleep(options.commit_error_pause.saturating_mul(1 << (failed - 1).min(10)).min(PAUSE_MAX)).await;
        }
    }

    /// Finds out what became of a commit whose answer was lost, and gives its progress and itself if it was taken.
    pub(crate) async fn settle(&mut self) -> Result<Option<(Vec<(String, i64)>, Committed)>, Error> {
        let Some(Unsettled { id, progress, outcome }) = self.unsettled.clone() else { return Ok(None) };
        while self.version < outcome.version {
            let Some(entry) = self.home.entry(self.version + 1).await? else { return Ok(None) };
            self.absorb(&entry);
            if entry.commit_id() == Some(&id) {
                self.unsettled = None;
                return Ok(Some((progress, outcome)));
            }
        }
        // Its place in the log is another's: it can no longer be taken.
        self.unsettled = None;
        Ok(None)
    }

    fn clash(&self, clash: Clash) -> Error {
        let table = self.name().to_owned();
        match clash {
            Clash::Progress { app_id, found, asked } => {
                Error::Fenced { table, expected: self.told(&app_id), found: Some(found), app_id, asked }
            }
            Clash::Change(what) => Error::Conflict { table, what },
        }
    }

    /// Writes the rows into files of their partitions. They are no part of the table before a commit names them.
    pub(crate) async fn write(&self, parts: Vec<Part>, data_change: bool) -> Result<Vec<NewFile>, Error> {
        let rows = |part: &Part| part.batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        let encoders = (parts.iter().map(rows).sum::<usize>() / ROWS_OF_AN_ENCODER).clamp(1, cores());
        let mut numbered: Vec<(usize, Part)> = parts.into_iter().enumerate().collect();
        // The largest first: it would be waited for at the end.
        numbered.sort_by_key(|(_, part)| std::cmp::Reverse(rows(part)));
        let encode = |(number, part): (usize, Part)| {
            let (schema, stats_columns) = (Arc::clone(&self.shape.data_schema), Arc::clone(&self.shape.stats_columns));
            let (table, options) = (Arc::clone(&self.home.name), Arc::clone(&self.home.options));
            async move {
                let encode = move || writer::encode(&table, vec![part], &schema, &stats_columns, &options);
                // Encoding works the processor for long: not among the tasks that answer clients.
                let encoded = tokio::task::spawn_blocking(encode).await.map_err(|error| Error::store("encode rows", error))??;
                Ok::<_, Error>((number, encoded))
            }
        };
        let mut encoded: Vec<(usize, Vec<Placed>)> =
            futures::stream::iter(numbered).map(encode).buffer_unordered(encoders).try_collect().await?;
        encoded.sort_by_key(|(number, _)| *number);
        let encoded = encoded.into_iter().flat_map(|(_, files)| files).collect();
        self.upload(encoded, data_change).await
    }

    /// Puts encoded files into their folders.
    pub(crate) async fn upload(&self, files: Vec<Placed>, data_change: bool) -> Result<Vec<NewFile>, Error> {
        let named: Vec<(NewFile, Vec<u8>)> = files.into_iter().map(|(values, file)| self.name_file(values, file, data_change)).collect();
        let paths: Vec<String> = named.iter().map(|(file, _)| file.add.path.clone()).collect();
        let store = self.home.store();
        let put = |(file, bytes): (NewFile, Vec<u8>)| {
            let store = Arc::clone(&store);
            async move {
                let put = store.put(&location(&file.add.path), PutPayload::from(bytes)).await;
                put.map(|_| file).map_err(|error| Error::object("write a data file", error))
            }
        };
        let uploaded = futures::stream::iter(named).map(put).buffered(self.home.options.uploads_max).try_collect().await;
        if uploaded.is_err() {
            self.discard(&paths).await;
        }
        uploaded
    }

    fn name_file(&self, values: Vec<Option<String>>, file: Encoded, data_change: bool) -> (NewFile, Vec<u8>) {
        let id = Uuid::now_v7();
        let add = Add {
            path: format!("{}part-{id}.zstd.parquet", partition::folder(&self.shape.partition_by, &values)),
            size: i64::try_from(file.bytes.len()).unwrap_or(i64::MAX),
            modification_time: millis(id),
            data_change,
            stats: Some(file.stats),
            partition_values: self.shape.partition_by.iter().cloned().zip(values).collect(),
            ..Add::default()
        };
        (NewFile { add, rows: file.rows }, file.bytes)
    }

    /// Removes files that became no part of the table. What cannot be removed now, vacuum removes later.
    pub(crate) async fn discard(&self, paths: &[String]) {
        let locations = futures::stream::iter(paths.iter().map(|path| Ok(location(path))).collect::<Vec<_>>());
        let mut removed = self.home.store().delete_stream(locations.boxed());
        while let Some(result) = removed.next().await {
            if let Err(error) = result {
                tracing::debug!(table = self.name(), %error, "a file of a lost commit stays until vacuum");
            }
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Now, as ids tell it: for comparing with the times of files, and for nothing else.
pub(crate) fn now_millis() -> i64 {
    millis(Uuid::now_v7())
}

/// The time in an id, in milliseconds since 1970. Times in the log are for people and for retention; no row depends on them.
pub(crate) fn millis(id: Uuid) -> i64 {
    let time = id.get_timestamp().map(|time| time.to_unix()).unwrap_or_default();
    i64::try_from(time.0).unwrap_or_default().saturating_mul(1000) + i64::from(time.1 / 1_000_000)
}
