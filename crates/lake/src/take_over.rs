//! Rows of another table in place of one's own, in one commit.
//!
//! The files of the other table are copied as they are, within the store where it can do that, before the commit names them: so the commit is short however many
//! there are, and a reader sees all the old rows or all the new. The other table is left as it is.

use deltalake::kernel::{Action, Add, Remove};
use deltalake::logstore::object_store::ObjectStoreExt as _;
use deltalake::logstore::object_store::path::Path;
use deltalake::protocol::{DeltaOperation, SaveMode};
use futures::stream::{StreamExt as _, TryStreamExt as _};
use uuid::Uuid;

use crate::commit::{Draft, NewFile};
use crate::conflict::Replaces;
use crate::error::Error;
use crate::log;
use crate::partition;
use crate::reader::{Source, location};
use crate::rewrite::{RowFilter, value_of, without};
use crate::table::{Commit, Committed, Home, Table};

/// Which rows of its own a table keeps.
#[derive(Clone)]
pub enum Keep {
    /// None. Whoever adds rows meanwhile makes the commit fail.
    Nothing,
    /// Those for which it holds. Rows that others add meanwhile stay, so whoever may add one that is not to be kept must be fenced by the progress of the commit.
    Rows(RowFilter),
}

impl std::fmt::Debug for Keep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Rows(_) => "Rows",
        })
    }
}

/// A file of the table that takes over.
#[derive(Debug)]
struct Own {
    source: Source,
    rows: Option<u64>,
    remove: Remove,
}

impl Table {
    /// Puts the rows of another table, which has the same columns and lies in the same lake, in the place of those rows of this one that are not to be kept.
    ///
    /// # Errors
    /// As [`Table::replace`]; `Schema` also when the tables' columns differ.
    pub async fn take_over(&mut self, from: &mut Self, keep: &Keep, commit: Commit) -> Result<Committed, Error> {
        if let Some(made) = self.ready(&commit.progress, &commit.guards).await? {
            return Ok(made);
        }
        if self.schema() != from.schema() || self.partition_by() != from.partition_by() {
            return Err(Error::schema(self.name(), format!("its columns are not those of {}", from.name())));
        }
        let listed = self.bring_up().await?.log_data();
        let own = listed.iter().map(|file| Own {
            source: Source {
                path: file.path().into_owned(),
                bytes: file.size().unsigned_abs(),
                values: file.partition_values_map().into_iter().collect(),
            },
            rows: file.stats().as_deref().and_then(log::rows),
            remove: file.remove_action(true),
        });
        let own = own.collect();
        let listed = from.bring_up().await?.log_data();
        let others = listed.iter().map(|file| Add {
            path: file.path().into_owned(),
            size: file.size(),
            partition_values: file.partition_values_map(),
            stats: file.stats(),
            ..Add::default()
        });
        let others = others.collect();

        let mut files = Vec::new();
        let made = self.make(own, &from.home, others, keep, &mut files).await;
        let removes = match made {
            Ok(removes) => removes,
            Err(error) => {
                self.discard(&files.iter().map(|file| file.add.path.clone()).collect::<Vec<_>>()).await;
                return Err(error);
            }
        };
        let partition_by = Some(self.shape.partition_by.clone());
        let operation = DeltaOperation::Write { mode: SaveMode::Overwrite, partition_by, predicate: None };
        let mut draft = Draft::new(commit, operation, files);
        if matches!(keep, Keep::Nothing) {
            draft.intent.replaces = Replaces::Everything;
        }
        draft.intent.removes = removes.iter().map(|remove| remove.path.clone()).collect();
        draft.actions.extend(removes.into_iter().map(Action::Remove));
        self.commit(draft).await
    }

    /// Puts the new files in place and tells which of its own go.
    async fn make(
        &self,
        own: Vec<Own>,
        other: &Home,
        others: Vec<Add>,
        keep: &Keep,
        files: &mut Vec<NewFile>,
    ) -> Result<Vec<Remove>, Error> {
        let mut removes = Vec::new();
        for Own { source, rows, remove } in own {
            let Keep::Rows(holds) = keep else {
                removes.push(remove);
                continue;
            };
            let Some(kept) = self.edited(&source, rows, &without(holds)).await? else { continue };
            let values: Vec<Option<String>> = self.shape.partition_by.iter().map(|column| value_of(&source, column)).collect();
            files.extend(self.upload(kept.into_iter().map(|file| (values.clone(), file)).collect(), true).await?);
            removes.push(remove);
        }
        let mut copies = futures::stream::iter(others.into_iter().map(|add| self.copy(other, add))).buffered(self.home.options.uploads_max);
        while let Some(file) = copies.try_next().await? {
            files.push(file);
        }
        Ok(removes)
    }

    /// A file of another table, under a name of its own in this one's folder.
    async fn copy(&self, other: &Home, add: Add) -> Result<NewFile, Error> {
        let values: Vec<Option<String>> =
            self.shape.partition_by.iter().map(|column| add.partition_values.get(column).cloned().flatten()).collect();
        let id = Uuid::now_v7();
        let path = format!("{}part-{id}.zstd.parquet", partition::folder(&self.shape.partition_by, &values));
        let (from, to) = (full_path(other, &add.path)?, full_path(&self.home, &path)?);
        let store = self.home.log.root_object_store(None);
        store.copy(&from, &to).await.map_err(|error| Error::object("copy a data file", error))?;
        let rows = add.stats.as_deref().and_then(log::rows).unwrap_or_default();
        let add = Add { path, data_change: true, modification_time: crate::commit::millis(id), ..add };
        Ok(NewFile { add, rows })
    }
}

/// Where a file of a table lies, from the root of the store.
fn full_path(home: &Home, path: &str) -> Result<Path, Error> {
    let root = Path::from_url_path(home.log.root_url().path());
    let root = root.map_err(|error| Error::Setting(format!("{}: {error}", home.log.root_url())))?;
    Ok(location(path).parts().fold(root, Path::join))
}
