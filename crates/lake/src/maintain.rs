//! Keeping a table's log and folder short: checkpoints, expired versions, files that are no part of it.

use std::time::{Duration, Instant};

use deltalake::DeltaTable;
use deltalake::checkpoints::{cleanup_metadata, create_checkpoint};
use deltalake::operations::vacuum::VacuumMode;

use crate::error::Error;
use crate::metrics;
use crate::table::Table;

/// What a vacuum did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// Files deleted.
    pub files: u64,
}

/// What a checkpoint did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpointed {
    /// The version that can now be loaded without the ones before it.
    pub version: i64,
    /// Files of the log that had expired and were deleted.
    pub expired: u64,
}

impl Table {
    /// Writes a checkpoint of the version this handle stands at, and deletes the versions before it that are older than
    /// [`crate::Options::log_retention`]. Commits do this by themselves at the table's interval.
    ///
    /// # Errors
    /// `Retry` when the store fails. The table is as good as before.
    pub async fn checkpoint(&self) -> Result<Checkpointed, Error> {
        let failed = |error| Error::delta(format!("write a checkpoint of {}", self.name()), error);
        let started = Instant::now();
        let mut table = DeltaTable::new(self.home.log.clone());
        table.load_version(self.version.unsigned_abs()).await.map_err(failed)?;
        create_checkpoint(&table, None).await.map_err(failed)?;
        let expired = cleanup_metadata(&table, None).await.map_err(failed)? as u64;
        metrics::checkpointed(self.name(), started.elapsed());
        tracing::debug!(table = self.name(), version = self.version, expired, "checkpoint written");
        Ok(Checkpointed { version: self.version, expired })
    }

    /// Deletes files in the table's folder that have not been part of it for `retention`: replaced or compacted ones, and those a crash left
    /// behind before their commit. Readers of versions older than that lose their files, so it must be longer than the longest query; writers
    /// lose theirs if a commit takes longer.
    ///
    /// # Errors
    /// `Retry` when the store fails; some files may have been deleted.
    pub async fn vacuum(&mut self, retention: Duration) -> Result<Vacuumed, Error> {
        let retention = chrono::Duration::from_std(retention).map_err(|error| Error::Setting(format!("lake.file_retention: {error}")))?;
        let (_, done) = DeltaTable::new(self.home.log.clone())
            .vacuum()
            .with_mode(VacuumMode::Full)
            .with_retention_period(retention)
            .with_enforce_retention_duration(false)
            .await
            .map_err(|error| Error::delta(format!("vacuum {}", self.name()), error))?;
        let files = done.files_deleted.len() as u64;
        metrics::vacuumed(self.name(), files);
        self.refresh().await?;
        Ok(Vacuumed { files })
    }
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
