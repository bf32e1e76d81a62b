//! What other programs changed in a table, taken back.
//!
//! The stages' own commits stay, for their rows and their progress belong together: what is undone is what anyone else did since a version, such as rows deleted or overwritten by
//! hand. The files come back as long as no vacuum has deleted them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use deltalake::kernel::{Action, Add, Remove};
use deltalake::logstore::object_store::ObjectStoreExt as _;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, ObjectStoreError};
use serde_json::Value;

use crate::commit::Draft;
use crate::error::Error;
use crate::log::{self, Entry};
use crate::reader::location;
use crate::table::{Commit, Committed, Table, number};

/// Under which name a commit says since which version it took back what others had done.
const SINCE: &str = "restored_since";

/// A version of a table, as its log tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its number.
    pub number: i64,
    /// When it was made; `None` where it does not say.
    pub made_at: Option<DateTime<Utc>>,
    /// What was done: the stage that did it, else the operation in the words of Delta.
    pub what: String,
    /// Who did it, where it was another program.
    pub by: Option<String>,
    /// The program that wrote it, as it says itself.
    pub engine: Option<String>,
    /// Rows of the files it added.
    pub rows_added: u64,
    /// Files it added.
    pub files_added: u64,
    /// Files it removed.
    pub files_removed: u64,
}

/// What taking back comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restoration {
    /// Versions that other programs made, oldest first.
    pub versions: Vec<i64>,
    /// Files that come back.
    pub files_back: u64,
    /// Their rows, as far as the log says.
    pub rows_back: u64,
    /// Files that go.
    pub files_out: u64,
    /// Their rows, as far as the log says.
    pub rows_out: u64,
}

/// What is to be done, and the actions that do it.
#[derive(Debug, Default)]
struct Plan {
    told: Restoration,
    adds: Vec<Add>,
    removes: Vec<Remove>,
}

impl Table {
    /// The newest version that was made at or before a time.
    ///
    /// # Errors
    /// `Missing` when the log does not go back so far; `Retry` when the store fails.
    pub async fn version_at(&self, time: DateTime<Utc>) -> Result<i64, Error> {
        let mut table = DeltaTable::new(std::sync::Arc::clone(&self.home.log));
        let failed = |error| Error::delta(format!("look for the version of {} at {time}", self.name()), error);
        table.load_with_datetime(time).await.map_err(failed)?;
        let version = table.version().ok_or_else(|| Error::Missing(format!("{} has no version at {time}", self.name())))?;
        Ok(number(version))
    }

    /// The newest versions, newest first, as far as the log has them.
    ///
    /// # Errors
    /// `Retry` when the store fails.
    pub async fn history(&mut self, limit: usize) -> Result<Vec<Version>, Error> {
        self.refresh().await?;
        let mut versions = Vec::new();
        for number in (0..=self.version).rev().take(limit) {
            let Some(entry) = self.home.entry(number).await? else { break };
            versions.push(Version {
                number,
                made_at: entry.timestamp.and_then(DateTime::from_timestamp_millis),
                what: entry.info.get("stage").and_then(Value::as_str).map(str::to_owned).or(entry.operation.clone()).unwrap_or_default(),
                engine: entry.engine.clone(),
                by: if entry.info.is_empty() { Some(entry.engine.clone().unwrap_or_else(|| "unknown".to_owned())) } else { None },
                rows_added: entry.adds.iter().map(rows).sum(),
                files_added: entry.adds.len() as u64,
                files_removed: entry.removes.len() as u64,
            });
        }
        Ok(versions)
    }

    /// What [`Table::restore`] would do.
    ///
    /// # Errors
    /// As [`Table::restore`].
    pub async fn restoration(&mut self, since: i64) -> Result<Restoration, Error> {
        Ok(self.plan_of_restoring(since).await?.told)
    }

    /// Takes back what others than this library's users committed after a version, in one commit; what these committed since stays.
    ///
    /// # Errors
    /// `Missing` when the log no longer goes back to that version, or a file is deleted that has to come back; `Conflict` when a later commit rests on what is to be taken back, or
    /// others change the table meanwhile. Nothing is changed then.
    pub async fn restore(&mut self, since: i64, commit: Commit) -> Result<(Restoration, Option<Committed>), Error> {
        if let Some(made) = self.ready(&commit.progress, &commit.guards).await? {
            return Ok((Restoration::default(), Some(made)));
        }
        let Plan { told, adds, removes } = self.plan_of_restoring(since).await?;
        if adds.is_empty() && removes.is_empty() {
            return Ok((told, None));
        }
        for add in &adds {
            match self.home.store().head(&location(&add.path)).await {
                Ok(_) => {}
                Err(ObjectStoreError::NotFound { .. }) => {
                    let what =
                        format!("{} of {} is deleted for good: a vacuum came before; rebuild the table instead", add.path, self.name());
                    return Err(Error::Missing(what));
                }
                Err(error) => return Err(Error::object(format!("look for a file of {}", self.name()), error)),
            }
        }
        let partition_by = Some(self.shape.partition_by.clone());
        let operation = DeltaOperation::Write { mode: SaveMode::Overwrite, partition_by, predicate: None };
        let mut commit = commit;
        commit.info.insert(SINCE.to_owned(), Value::from(since));
        let mut draft = Draft::new(commit, operation, Vec::new());
        draft.intent.removes = removes.iter().map(|remove| remove.path.clone()).collect();
        draft.actions.extend(removes.into_iter().map(Action::Remove));
        draft.actions.extend(adds.into_iter().map(Action::Add));
        let made = self.commit(draft).await?;
        Ok((told, Some(made)))
    }

    async fn plan_of_restoring(&mut self, since: i64) -> Result<Plan, Error> {
        self.refresh().await?;
        if since < 0 || since > self.version {
            return Err(Error::Missing(format!("{} has no version {since}, its newest is {}", self.name(), self.version)));
        }
        let entries = self.entries(since, self.version).await?;
        let state = DeltaTableState::try_new(self.home.log.as_ref(), Some(since.unsigned_abs())).await;
        let before = state.map_err(|error| Error::delta(format!("load {} at version {since}", self.name()), error))?;
        let (mut live, versions) = replayed(self.name(), files_of(&before), &entries)?;
        let current = self.bring_up().await?;
        let removals: BTreeMap<String, Remove> =
            current.log_data().iter().map(|file| (file.path().into_owned(), file.remove_action(true))).collect();
        let current = files_of(current);
        let mut plan = Plan { told: Restoration { versions, ..Restoration::default() }, ..Plan::default() };
        for (path, remove) in removals {
            if live.remove(&path).is_none() {
                plan.told.files_out += 1;
                plan.told.rows_out += current.get(&path).map_or(0, rows);
                plan.removes.push(remove);
            }
        }
        for add in live.into_values() {
            plan.told.files_back += 1;
            plan.told.rows_back += rows(&add);
            // Whoever reads version by version has had these rows.
            plan.adds.push(Add { data_change: false, ..add });
        }
        Ok(plan)
    }
}

type Files = BTreeMap<String, Add>;

fn files_of(state: &DeltaTableState) -> Files {
    let listed = state.log_data();
    let files = listed.iter().map(|file| {
        let add = Add {
            path: file.path().into_owned(),
            size: file.size(),
            partition_values: file.partition_values_map(),
            modification_time: file.modification_time(),
            stats: file.stats(),
            ..Add::default()
        };
        (add.path.clone(), add)
    });
    files.collect()
}

fn rows(add: &Add) -> u64 {
    add.stats.as_deref().and_then(log::rows).unwrap_or_default()
}

/// The files there would be if only commits of ours had been made, and the versions that are left out. Pure.
fn replayed(name: &str, mut live: Files, entries: &[Entry]) -> Result<(Files, Vec<i64>), Error> {
    let (mut foreign, mut versions) = (BTreeSet::new(), Vec::new());
    for entry in entries {
        if entry.commit_id().is_none() {
            // A vacuum and the like say nothing about files.
            if !entry.adds.is_empty() || !entry.removes.is_empty() {
                versions.push(entry.version);
                foreign.extend(entry.adds.iter().map(|add| add.path.clone()));
            }
            continue;
        }
        let takes_back = entry.info.contains_key(SINCE);
        for path in &entry.removes {
            if live.remove(path).is_none() && foreign.contains(path) && !takes_back {
                let what = format!(
                    "version {} went on with what is to be taken back ({path}): take back what came after it, or rebuild the table",
                    entry.version
                );
                return Err(Error::Conflict { table: name.to_owned(), what });
            }
        }
        live.extend(entry.adds.iter().map(|add| (add.path.clone(), add.clone())));
    }
    Ok((live, versions))
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::log::COMMIT_ID_KEY;

    fn entry(version: i64, is_ours: bool, adds: &[&str], removes: &[&str]) -> Entry {
        let info = if is_ours { Map::from_iter([(COMMIT_ID_KEY.to_owned(), Value::from("x"))]) } else { Map::new() };
        let add = |path: &&str| Add { path: (*path).to_owned(), ..Add::default() };
        Entry {
            version,
            info,
            adds: adds.iter().map(add).collect(),
            removes: removes.iter().map(|path| (*path).to_owned()).collect(),
            emptied: Vec::new(),
            progress: Vec::new(),
            reshapes: false,
            timestamp: None,
            operation: None,
            engine: None,
        }
    }

    /// One of ours that took back what others had done.
    fn taking_back(version: i64, adds: &[&str], removes: &[&str]) -> Entry {
        let mut entry = entry(version, true, adds, removes);
        entry.info.insert(SINCE.to_owned(), Value::from(4));
        entry
    }

    fn check(entries: &[Entry], expect: Result<(&[&str], &[i64]), ()>) {
        let before = ["a", "b"].map(|path| (path.to_owned(), Add { path: path.to_owned(), ..Add::default() })).into();
        let found = replayed("t", before, entries).map(|(live, versions)| (live.into_keys().collect::<Vec<_>>(), versions)).map_err(drop);
        let expect = expect.map(|(paths, versions)| (paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>(), versions.to_vec()));
        assert_eq!(found, expect);
    }

    #[test]
    fn only_what_others_did_is_left_out() {
        check(&[], Ok((&["a", "b"], &[])));
        check(
            &[entry(5, true, &["c"], &[]), entry(6, false, &["d"], &["a"]), entry(7, true, &["e"], &[])],
            Ok((&["a", "b", "c", "e"], &[6])),
        );
        check(&[entry(5, true, &["ab"], &["a", "b"])], Ok((&["ab"], &[])));
        // What they removed, ours would have joined: it is still there for that.
        check(&[entry(5, false, &[], &["a"]), entry(6, true, &["bc"], &["b"])], Ok((&["a", "bc"], &[5])));
        check(&[entry(5, false, &["x"], &["a"]), entry(6, true, &["xb"], &["x", "b"])], Err(()));
        check(&[entry(5, false, &[], &[])], Ok((&["a", "b"], &[])));
        // Taken back before: asked for again from the same version, there is nothing more to do, or only what was done since.
        check(&[entry(5, false, &["x"], &["a"]), taking_back(6, &["a"], &["x"])], Ok((&["a", "b"], &[5])));
        check(&[entry(5, false, &["x"], &["a"]), taking_back(6, &["a"], &["x"]), entry(7, false, &[], &["b"])], Ok((&["a", "b"], &[5, 7])));
    }
}
