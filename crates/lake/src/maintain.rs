//! Keeping a table's log and folder short: checkpoints, versions nobody needs, files that are no part of it.
//!
//! Versions are not deleted by commits, as the Delta library would do it: how old a version is says nothing about whether a stage has still to read it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deltalake::checkpoints::create_checkpoint;
use deltalake::kernel::transaction::CommitProperties;
use deltalake::logstore::commit_uri_from_version;
use deltalake::logstore::object_store::path::Path;
use deltalake::logstore::object_store::{ObjectMeta, ObjectStoreExt as _};
use deltalake::operations::vacuum::VacuumMode;
use deltalake::{DeltaTable, ObjectStoreError};
use futures::stream::{StreamExt as _, TryStreamExt as _};
use serde_json::Map;

use crate::commit::now_millis;
use crate::error::Error;
use crate::log;
use crate::metrics;
use crate::table::{Table, number};

/// Digits of a version in the name of a log file.
const VERSION_DIGITS: usize = 20;
/// The age from which a file that no version names is taken for one that a crash left behind.
const UNNAMED_AGE: Duration = Duration::from_secs(60 * 60);
/// How much the clocks of machines that share a lake may differ.
const CLOCK_MARGIN_MILLIS: i64 = 10 * 60 * 1000;

impl Table {
    /// Writes a checkpoint of the version this handle stands at, so that it can be loaded without the versions before it. Commits do this by
    /// themselves at the table's interval.
    ///
    /// # Errors
    /// `Retry` when the store fails. The table is as good as before.
    pub async fn checkpoint(&self) -> Result<(), Error> {
        let failed = |error| Error::delta(format!("write a checkpoint of {}", self.name()), error);
        let started = Instant::now();
        let mut table = DeltaTable::new(Arc::clone(&self.home.log));
        table.load_version(self.version.unsigned_abs()).await.map_err(failed)?;
        create_checkpoint(&table, None).await.map_err(failed)?;
        metrics::checkpointed(self.name(), started.elapsed());
        Ok(())
    }

    /// Deletes the versions of the log that are older than `retention` and that no reader needs, and tells how many files that were. Versions
    /// from `needed_from` on are kept whatever their age: a stage that reads this table version by version ([`Table::added`]) and was stopped for
    /// a month finds its place. Versions that no checkpoint covers are kept too.
    ///
    /// # Errors
    /// `Retry` when the store fails; some may have been deleted, oldest or not, and none that is needed.
    pub async fn trim_log(&self, retention: Duration, needed_from: Option<i64>) -> Result<u64, Error> {
        let failed = |error| Error::object(format!("trim the log of {}", self.name()), error);
        let listed: Vec<ObjectMeta> = self.home.store().list(Some(self.home.log.log_path())).try_collect().await.map_err(failed)?;
        let files = listed.into_iter().filter_map(|file| LogFile::of(&file));
        let before = now_millis().saturating_sub(millis(retention));
        let keep_from = needed_from.unwrap_or(i64::MAX).min(self.version);
        self.delete(expired(files.collect(), keep_from, before)).await
    }

    /// Deletes files in the table's folder that have not been part of it for `retention`, and tells how many: replaced or compacted ones, and those a
    /// crash left behind before their commit. Readers of versions older than that lose their files, so it must be longer than the longest query;
    /// writers lose theirs if a commit takes longer. Files that versions from `needed_from` on added are kept whatever their age.
    ///
    /// # Errors
    /// `Retry` when the store fails; some files may have been deleted.
    pub async fn vacuum(&mut self, retention: Duration, needed_from: Option<i64>) -> Result<u64, Error> {
        let retention = millis(retention).max(self.age_of(needed_from).await?);
        let deleted = self.delete_replaced(VacuumMode::Full, retention).await?;
        let unnamed = self.unnamed_log_files(now_millis().saturating_sub(retention)).await?;
        let files = deleted + self.delete(unnamed).await?;
        metrics::vacuumed(self.name(), files);
        self.refresh().await?;
        Ok(files)
    }

    /// Deletes now what this table has replaced or removed, whatever its age, and what no version has named for an hour. Whoever reads an older version loses its files.
    ///
    /// # Errors
    /// As [`Table::vacuum`].
    pub async fn purge(&mut self) -> Result<u64, Error> {
        let deleted = self.delete_replaced(VacuumMode::Lite, 0).await?;
        // A commit that is being made has files that no version names yet.
        Ok(deleted + self.vacuum(UNNAMED_AGE, None).await?)
    }

    /// Deletes files that were replaced so many milliseconds ago, and with [`VacuumMode::Full`] those that no version names.
    async fn delete_replaced(&self, mode: VacuumMode, age: i64) -> Result<u64, Error> {
        let (_, done) = DeltaTable::new(Arc::clone(&self.home.log))
            .vacuum()
            .with_mode(mode)
            .with_retention_period(chrono::Duration::milliseconds(age))
            .with_enforce_retention_duration(false)
            // So that the history tells whose vacuum it was.
            .with_commit_properties(
                CommitProperties::default().with_metadata([log::telling(Map::from_iter([("stage".to_owned(), "vacuum".into())]))]),
            )
            .await
            .map_err(|error| Error::delta(format!("vacuum {}", self.name()), error))?;
        Ok(done.files_deleted.len() as u64)
    }

    /// How long ago a version was made, in milliseconds and with a margin for clocks that differ; 0 if it has not been made yet.
    async fn age_of(&self, version: Option<i64>) -> Result<i64, Error> {
        let Some(version) = version.and_then(|version| u64::try_from(version).ok()) else { return Ok(0) };
        match self.home.store().head(&commit_uri_from_version(Some(version))).await {
            Ok(file) => Ok(now_millis().saturating_sub(file.last_modified.timestamp_millis()).saturating_add(CLOCK_MARGIN_MILLIS)),
            Err(ObjectStoreError::NotFound { .. }) if number(version) > self.version => Ok(0),
            Err(error) => Err(Error::object(format!("look for version {version} of {}", self.name()), error)),
        }
    }

    /// What a crash left in the folder of the log before it got its name. The library's vacuum looks only at data.
    async fn unnamed_log_files(&self, before: i64) -> Result<Vec<Path>, Error> {
        let left = self.home.store().list(Some(self.home.log.log_path())).try_filter_map(|file| {
            let expired = file.location.as_ref().ends_with(".tmp") && file.last_modified.timestamp_millis() < before;
            std::future::ready(Ok(expired.then(|| file.location.clone())))
        });
        left.try_collect().await.map_err(|error| Error::object(format!("list the log of {}", self.name()), error))
    }

    async fn delete(&self, files: Vec<Path>) -> Result<u64, Error> {
        let deleted = self.home.store().delete_stream(futures::stream::iter(files).map(Ok).boxed());
        let gone = |deleted: &Result<Path, ObjectStoreError>| !matches!(deleted, Err(ObjectStoreError::NotFound { .. }));
        let deleted = deleted.filter(|deleted| std::future::ready(gone(deleted))).try_fold(0, |count, _| async move { Ok(count + 1) });
        deleted.await.map_err(|error| Error::object(format!("delete files of {}", self.name()), error))
    }
}

/// A file in the folder of the log.
#[derive(Debug, Clone, PartialEq)]
struct LogFile {
    path: Path,
    version: i64,
    /// Whether it is a whole checkpoint, from which a table can be loaded.
    checkpoint: bool,
    /// Milliseconds since 1970.
    modified: i64,
}

impl LogFile {
    /// `None` for what belongs to no version.
    fn of(file: &ObjectMeta) -> Option<Self> {
        let (version, rest) = file.location.filename()?.split_once('.')?;
        let version = Some(version).filter(|version| version.len() == VERSION_DIGITS)?.parse().ok()?;
        let kind = rest == "json" || rest == "crc" || rest.starts_with("checkpoint.");
        let modified = file.last_modified.timestamp_millis();
        kind.then(|| Self { path: file.location.clone(), version, checkpoint: rest == "checkpoint.parquet", modified })
    }
}

/// The files of the log that may go: those before the newest checkpoint that lies before every version that is needed or young.
fn expired(files: Vec<LogFile>, keep_from: i64, before: i64) -> Vec<Path> {
    let young = files.iter().filter(|file| file.modified >= before).map(|file| file.version).min();
    let keep_from = young.map_or(keep_from, |young| young.min(keep_from));
    let Some(safe) = files.iter().filter(|file| file.checkpoint && file.version <= keep_from).map(|file| file.version).max() else {
        return Vec::new();
    };
    files.into_iter().filter(|file| file.version < safe).map(|file| file.path).collect()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}

/// What is due after a commit. The commit stands, whatever comes of this.
pub(crate) async fn after_commit(table: &Table) {
    if !(table.version.unsigned_abs() + 1).is_multiple_of(table.shape.checkpoint_interval.max(1)) {
        return;
    }
    if let Err(error) = Box::pin(table.checkpoint()).await {
        tracing::warn!(table = table.name(), version = table.version, %error, "no checkpoint was written, the next one will be due as usual");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(versions: std::ops::Range<i64>, checkpoints: &[i64]) -> Vec<LogFile> {
        let file = |version: i64, name: &str, checkpoint| LogFile {
            path: Path::from(format!("_delta_log/{version:020}.{name}")),
            version,
            checkpoint,
            modified: version * 10,
        };
        let commits = versions.map(|version| file(version, "json", false));
        commits.chain(checkpoints.iter().map(|version| file(*version, "checkpoint.parquet", true))).collect()
    }

    #[test]
    fn only_what_nobody_needs_expires() {
        let check = |checkpoints: &[i64], keep_from: i64, before: i64, expect_through: Option<i64>| {
            let gone = expired(log(0..30, checkpoints), keep_from, before);
            let newest = gone.iter().filter_map(|path| path.filename()?.split('.').next()?.parse::<i64>().ok()).max();
            assert_eq!(newest, expect_through, "{checkpoints:?} {keep_from} {before}");
            let commits = gone.iter().filter(|path| path.as_ref().ends_with("json")).count() as i64;
            assert_eq!(commits, expect_through.map_or(0, |through| through + 1));
        };
        check(&[9, 19, 29], 29, i64::MAX, Some(28));
        check(&[9, 19, 29], 25, i64::MAX, Some(18));
        check(&[9, 19, 29], 19, i64::MAX, Some(18));
        check(&[9, 19, 29], 18, i64::MAX, Some(8));
        check(&[9, 19, 29], 3, i64::MAX, None);
        check(&[9, 19, 29], 29, 150, Some(8));
        check(&[9, 19, 29], 29, 0, None);
        check(&[], 29, i64::MAX, None);
    }

    #[test]
    fn log_files_are_told_by_their_names() {
        let check = |name: &str, expect: Option<(i64, bool)>| {
            let location = Path::from(format!("_delta_log/{name}"));
            let file = ObjectMeta { location, last_modified: Default::default(), size: 1, e_tag: None, version: None };
            assert_eq!(LogFile::of(&file).map(|file| (file.version, file.checkpoint)), expect, "{name}");
        };
        check("00000000000000000007.json", Some((7, false)));
        check("00000000000000000007.checkpoint.parquet", Some((7, true)));
        check("00000000000000000007.checkpoint.0000000001.0000000002.parquet", Some((7, false)));
        check("00000000000000000007.crc", Some((7, false)));
        check("00000000000000000007.json.0f.tmp", None);
        check("_last_checkpoint", None);
        check("7.json", None);
    }
}
