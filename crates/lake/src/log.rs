//! One version of a table's log, read into what the lake needs to know of it. Pure, but for fetching the bytes.

use std::collections::BTreeMap;

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use bytes::Bytes;
use deltalake::kernel::{Action, Add, Transaction};
use deltalake::logstore::{LogStore, get_actions};
use serde_json::{Map, Value, json};

use crate::error::Error;

/// Where a commit says what its writer wants to say: a text that every engine can write, and shows in the table's history.
const USER_METADATA: &str = "userMetadata";
/// The member of the JSON object in that text which is ours.
const INFO_KEY: &str = "tidegate";
/// Tells a commit of ours from any other, also when its answer was lost.
pub(crate) const COMMIT_ID_KEY: &str = "commit_id";

/// A data file that a version of a table added.
#[derive(Debug, Clone, PartialEq)]
pub struct Added {
    /// The version that added it.
    pub version: i64,
    /// Where it lies, below the table's folder.
    pub path: String,
    /// Its rows; `None` when another engine wrote it and did not say.
    pub rows: Option<u64>,
    /// Its size in bytes.
    pub bytes: u64,
    /// The values of the partition columns, as Delta writes them.
    pub partition_values: BTreeMap<String, Option<String>>,
    /// What its commit says under `tidegate` in its user metadata; empty when another program made it.
    pub info: Map<String, Value>,
}

/// A data file whose rows a version of a table took out of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Removed {
    /// Where it lies, below the table's folder.
    pub path: String,
    /// The values of the partition columns; `None` when another engine removed it and did not say.
    pub partition_values: Option<BTreeMap<String, Option<String>>>,
}

/// What versions of a table did to its rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// The files added with rows that were not there before, oldest version first.
    pub added: Vec<Added>,
    /// The files removed with their rows.
    pub removed: Vec<Removed>,
}

/// One version of the log.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) version: i64,
    pub(crate) info: Map<String, Value>,
    pub(crate) adds: Vec<Add>,
    /// Paths of the files it removes.
    pub(crate) removes: Vec<String>,
    /// Of these, those whose rows are gone with them. Compaction removes files too, and leaves the rows.
    pub(crate) emptied: Vec<Removed>,
    /// What it sets progress to.
    pub(crate) progress: Vec<(String, i64)>,
    /// Whether it changes the schema, the properties or the protocol.
    pub(crate) reshapes: bool,
    /// When it was made, in milliseconds since 1970, as far as it says.
    pub(crate) timestamp: Option<i64>,
    /// What was done, in the words of Delta.
    pub(crate) operation: Option<String>,
    /// Who did it.
    pub(crate) engine: Option<String>,
}

impl Entry {
    pub(crate) fn commit_id(&self) -> Option<&str> {
        self.info.get(COMMIT_ID_KEY).and_then(Value::as_str)
    }

    /// What it did to the rows.
    pub(crate) fn into_changes(mut self) -> Changes {
        let removed = std::mem::take(&mut self.emptied);
        Changes { added: self.into_added(), removed }
    }

    /// The files it added that hold rows not in the table before. Compaction adds files too, with rows that were there.
    pub(crate) fn into_added(self) -> Vec<Added> {
        let (version, info) = (self.version, self.info);
        self.adds.into_iter().filter(|add| add.data_change).map(|add| added(version, add, info.clone())).collect()
    }
}

fn added(version: i64, add: Add, info: Map<String, Value>) -> Added {
    Added {
        version,
        rows: add.stats.as_deref().and_then(rows),
        path: add.path,
        bytes: add.size.try_into().unwrap_or_default(),
        partition_values: add.partition_values.into_iter().collect(),
        info,
    }
}

/// What a commit is to say besides Delta's own: the entry for its information.
pub(crate) fn telling(info: Map<String, Value>) -> (String, Value) {
    (USER_METADATA.to_owned(), Value::String(json!({ INFO_KEY: info }).to_string()))
}

/// What a commit's user metadata tells; `None` where it is not ours.
fn told(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str::<Map<String, Value>>(text).ok()?.remove(INFO_KEY) {
        Some(Value::Object(info)) => Some(info),
        _ => None,
    }
}

/// The rows of a file, from its statistics.
pub(crate) fn rows(stats: &str) -> Option<u64> {
    serde_json::from_str::<Value>(stats).ok()?.get("numRecords")?.as_u64()
}

/// The latest instant of a column in a file, from its statistics, in microseconds.
pub(crate) fn newest(stats: &str, column: &str) -> Option<i64> {
    let stats = serde_json::from_str::<Value>(stats).ok()?;
    let nanos = string_to_timestamp_nanos(stats.get("maxValues")?.get(column)?.as_str()?).ok()?;
    Some(nanos.div_euclid(1_000))
}

/// Reads one version of the log; `None` when it is not there.
pub(crate) async fn entry(log: &dyn LogStore, table: &str, version: i64) -> Result<Option<Entry>, Error> {
    let Ok(number) = u64::try_from(version) else { return Ok(None) };
    let bytes = log.read_commit_entry(number).await.map_err(|error| Error::delta(format!("read version {version} of {table}"), error))?;
    bytes.map(|bytes| parse(table, version, &bytes)).transpose()
}

fn parse(table: &str, version: i64, bytes: &Bytes) -> Result<Entry, Error> {
    let damaged = |what: String| Error::Damaged { place: format!("version {version} of {table}"), what };
    if bytes.is_empty() {
        return Err(damaged("the log file is empty".to_owned()));
    }
    let actions = get_actions(version.unsigned_abs(), bytes).map_err(|error| damaged(error.to_string()))?;
    let mut entry = Entry {
        version,
        info: Map::new(),
        adds: Vec::new(),
        removes: Vec::new(),
        emptied: Vec::new(),
        progress: Vec::new(),
        reshapes: false,
        timestamp: None,
        operation: None,
        engine: None,
    };
    for action in actions {
        match action {
            Action::CommitInfo(mut commit) => {
                entry.timestamp = commit.timestamp;
                entry.operation = commit.operation.take();
                entry.engine = commit.engine_info.take();
                entry.info = commit.user_metadata.as_deref().and_then(told).unwrap_or_default();
            }
            Action::Add(add) => entry.adds.push(add),
            Action::Remove(remove) => {
                if remove.data_change {
                    let partition_values = remove.partition_values.map(|values| values.into_iter().collect());
                    entry.emptied.push(Removed { path: remove.path.clone(), partition_values });
                }
                entry.removes.push(remove.path);
            }
            Action::Txn(Transaction { app_id, version, .. }) => entry.progress.push((app_id, version)),
            Action::Metadata(_) | Action::Protocol(_) => entry.reshapes = true,
            Action::Cdc(_) | Action::DomainMetadata(_) => {}
        }
    }
    Ok(entry)
}

#[cfg(test)]
mod tests;
