//! Small files into larger ones. The rows stay, and so does what any reader sees.
//!
//! The Delta library has an optimizer. This one is smaller and fits the stream of small commits better: files are joined by size class, so that a row is
//! rewritten a few times in its life and not every minute until its file is full; it goes through one file after the other in bounded memory; and it does
//! not stop commits, nor is it stopped by them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use deltalake::kernel::{Action, Remove};
use deltalake::protocol::DeltaOperation;
use futures::stream::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Map;

use crate::commit::{Draft, NewFile};
use crate::error::{Error, ErrorKind};
use crate::log;
use crate::metrics;
use crate::reader::Source;
use crate::table::{Commit, Table};
use crate::writer::Encoder;

/// Files below this are of the smallest size class.
const SMALLEST: u64 = 64 << 10;

/// When files are joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compaction {
    /// A file of half this size or more is left alone; no file becomes larger than about this. Bytes.
    pub target_file_bytes: u64,
    /// So many files of one size class in one partition are joined; fewer are left alone. A class spans a factor of eight.
    pub min_files: usize,
    /// Bytes read by one call at most; the rest is left to the next.
    pub input_bytes_max: u64,
}

impl Default for Compaction {
    fn default() -> Self {
        Self { target_file_bytes: 128 << 20, min_files: 8, input_bytes_max: 512 << 20 }
    }
}

/// What a compaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Files joined.
    pub files_before: u64,
    /// Files they became.
    pub files_after: u64,
    /// Bytes of the files joined.
    pub bytes_before: u64,
    /// Bytes of the files they became.
    pub bytes_after: u64,
    /// Another writer took one of the files away meanwhile, so all was left as it was.
    pub given_up: bool,
}

/// Partition columns and their values.
type Values = BTreeMap<String, Option<String>>;

/// A file that may be joined with others.
#[derive(Debug, Clone, PartialEq)]
struct Candidate {
    path: String,
    bytes: u64,
    rows: Option<u64>,
    modified: i64,
    values: Values,
    remove: Remove,
}

impl Table {
    /// Joins small files of the same partition into larger ones, rows in the order of the files, in one commit. Appends of others go on meanwhile.
    ///
    /// # Errors
    /// `Retry` when the store fails, `Fatal` when a file is damaged. The table is as before.
    pub async fn compact(&mut self, policy: &Compaction) -> Result<Compacted, Error> {
        let started = Instant::now();
        self.refresh().await?;
        self.ready(&[], &[]).await?;
        let candidates = self.candidates().await?;
        let groups = plan(candidates, policy);
        if groups.is_empty() {
            return Ok(Compacted::default());
        }
        let mut done = Compacted::default();
        let mut files = Vec::new();
        let mut removes = Vec::new();
        for group in groups {
            done.files_before += group.len() as u64;
            done.bytes_before += group.iter().map(|file| file.bytes).sum::<u64>();
            match self.join(&group, policy).await {
                Ok(joined) => files.extend(joined),
                Err(error) => {
                    self.discard(&files.iter().map(|file: &NewFile| file.add.path.clone()).collect::<Vec<_>>()).await;
                    return Err(error);
                }
            }
            removes.extend(group.into_iter().map(|file| file.remove));
        }
        done.files_after = files.len() as u64;
        done.bytes_after = files.iter().map(|file| file.add.size.unsigned_abs()).sum();

        let target_size = i64::try_from(policy.target_file_bytes).unwrap_or(i64::MAX);
        let info = Map::from_iter([("stage".to_owned(), "compaction".into())]);
        let mut draft = Draft::new(Commit { info, ..Commit::default() }, DeltaOperation::Optimize { predicate: None, target_size }, files);
        draft.intent.removes = removes.iter().map(|remove| remove.path.clone()).collect();
        draft.actions.extend(removes.into_iter().map(Action::Remove));
        match self.commit(draft).await {
            Ok(_) => {
                metrics::compacted(self.name(), &done, started.elapsed());
                Ok(done)
            }
            Err(error) if error.kind() == ErrorKind::Conflict => {
                tracing::debug!(table = self.name(), %error, "a compaction is given up");
                Ok(Compacted { given_up: true, ..Compacted::default() })
            }
            Err(error) => Err(error),
        }
    }

    async fn candidates(&mut self) -> Result<Vec<Candidate>, Error> {
        let state = self.bring_up().await?;
        let log_data = state.log_data();
        let files = log_data.iter().map(|file| Candidate {
            path: file.path().into_owned(),
            bytes: file.size().unsigned_abs(),
            rows: file.stats().as_deref().and_then(log::rows),
            modified: file.modification_time(),
            values: file.partition_values_map().into_iter().collect(),
            remove: file.remove_action(false),
        });
        Ok(files.collect())
    }

    /// Reads the files one after the other and writes their rows into as few as the target size allows.
    async fn join(&self, group: &[Candidate], policy: &Compaction) -> Result<Vec<NewFile>, Error> {
        let Some(first) = group.first() else { return Ok(Vec::new()) };
        let values: Vec<Option<String>> =
            self.shape.partition_by.iter().map(|column| first.values.get(column).cloned().flatten()).collect();
        let sources = group.iter().map(|file| Source { path: file.path.clone(), bytes: file.bytes, values: Vec::new() }).collect();
        let mut reader = self.reader(None)?;
        reader.schema = Arc::clone(&self.shape.data_schema);
        let encoder = Encoder::new(Arc::clone(&self.shape.data_schema), Arc::clone(&self.shape.stats_columns), &self.home.options);
        let encoder = encoder.map_err(|error| Error::schema(self.name(), error.to_string()))?;
        let mut encoder = encoder.with_file_bytes_max(policy.target_file_bytes.min(self.home.options.file_bytes_max));

        let mut rows = reader.stream(sources);
        let mut files = Vec::new();
        let mut read = 0;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            read += batch.num_rows() as u64;
            let written = tokio::task::spawn_blocking(move || {
                let mut done = Vec::new();
                encoder.write(&batch, &mut done).map(|()| (encoder, done))
            });
            let (back, done) = encoded(written.await)?;
            encoder = back;
            files.extend(self.upload(done.into_iter().map(|file| (values.clone(), file)).collect(), false).await?);
        }
        let last = encoded(tokio::task::spawn_blocking(move || encoder.finish()).await)?;
        files.extend(self.upload(last.into_iter().map(|file| (values.clone(), file)).collect(), false).await?);

        let written: u64 = files.iter().map(|file| file.rows).sum();
        let expected = group.iter().map(|file| file.rows).sum::<Option<u64>>().unwrap_or(read);
        if written != read || written != expected {
            let what = format!("its files hold {read} rows, the log says {expected}, {written} were rewritten");
            return Err(Error::Damaged { place: self.name().to_owned(), what });
        }
        Ok(files)
    }
}

pub(crate) fn encoded<T>(result: Result<Result<T, parquet::errors::ParquetError>, tokio::task::JoinError>) -> Result<T, Error> {
    let result = result.map_err(|error| Error::store("rewrite rows", error))?;
    result.map_err(|error| Error::store("rewrite rows", error))
}

/// Which files to join: per partition and size class, in the order they were written, groups of at least `min_files` that give about one file of the
/// target size. Smaller classes go first: they are most of the files and least of the work.
fn plan(files: Vec<Candidate>, policy: &Compaction) -> Vec<Vec<Candidate>> {
    let mut classes: BTreeMap<(u32, Values), Vec<Candidate>> = BTreeMap::new();
    for file in files.into_iter().filter(|file| file.bytes < policy.target_file_bytes / 2) {
        classes.entry((class(file.bytes), file.values.clone())).or_default().push(file);
    }
    let mut left = policy.input_bytes_max;
    let mut groups = Vec::new();
    for mut files in classes.into_values() {
        // Names sort by time too, and settle the order within a millisecond.
        files.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
        let mut group: Vec<Candidate> = Vec::new();
        let mut bytes = 0;
        let mut close = |group: &mut Vec<Candidate>, bytes: &mut u64| {
            if group.len() >= policy.min_files.max(2) {
                groups.push(std::mem::take(group));
            }
            group.clear();
            *bytes = 0;
        };
        for file in files {
            if bytes + file.bytes > policy.target_file_bytes {
                close(&mut group, &mut bytes);
            }
            if file.bytes > left {
                break;
            }
            left -= file.bytes;
            bytes += file.bytes;
            group.push(file);
        }
        close(&mut group, &mut bytes);
    }
    groups
}

/// The size class of a file: each spans a factor of eight.
fn class(bytes: u64) -> u32 {
    (bytes / SMALLEST).checked_ilog2().map_or(0, |log| 1 + log / 3)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(name: &str, bytes: u64, day: &str) -> Candidate {
        Candidate {
            path: name.to_owned(),
            bytes,
            rows: Some(1),
            modified: 0,
            values: [("day".to_owned(), Some(day.to_owned()))].into(),
            remove: Remove::default(),
        }
    }

    fn policy(min_files: usize) -> Compaction {
        Compaction { target_file_bytes: 1 << 20, min_files, input_bytes_max: u64::MAX }
    }

    fn names(groups: &[Vec<Candidate>]) -> Vec<Vec<&str>> {
        groups.iter().map(|group| group.iter().map(|file| file.path.as_str()).collect()).collect()
    }

    #[test]
    fn files_of_a_partition_and_a_class_are_joined_in_order() {
        let files = vec![
            file("3", 10, "mon"),
            file("1", 20, "mon"),
            file("2", 30, "tue"),
            file("4", 10, "mon"),
            file("large", 600 << 10, "mon"),
            file("middle", 100 << 10, "mon"),
        ];
        assert_eq!(names(&plan(files.clone(), &policy(3))), [["1", "3", "4"]]);
        assert!(plan(files.clone(), &policy(4)).is_empty());
        assert_eq!(names(&plan(files, &policy(0))), [["1", "3", "4"]], "one file is never joined with itself");
    }

    #[test]
    fn older_files_come_first_whatever_their_names() {
        let mut files = vec![file("a", 1, "mon"), file("b", 1, "mon")];
        files[0].modified = 2;
        files[1].modified = 1;
        assert_eq!(names(&plan(files, &policy(2))), [["b", "a"]]);
    }

    #[test]
    fn classes_span_a_factor_of_eight() {
        let check = |bytes: u64, expect: u32| assert_eq!(class(bytes), expect, "{bytes}");
        check(0, 0);
        check(SMALLEST - 1, 0);
        check(SMALLEST, 1);
        check(8 * SMALLEST - 1, 1);
        check(8 * SMALLEST, 2);
        check(64 * SMALLEST, 3);
    }

    proptest! {
        #[test]
        fn plans_keep_their_bounds(sizes in prop::collection::vec((1u64..700 << 10, 0..3u8), 0..200), min_files in 2usize..9, input in 0u64..20 << 20) {
            let files: Vec<Candidate> = (0..).zip(&sizes).map(|(n, (bytes, day))| file(&format!("{n:04}"), *bytes, &day.to_string())).collect();
            let policy = Compaction { input_bytes_max: input, ..policy(min_files) };
            let groups = plan(files, &policy);
            let mut seen = std::collections::BTreeSet::new();
            let mut total = 0;
            for group in &groups {
                prop_assert!(group.len() >= min_files);
                prop_assert!(group.iter().map(|file| file.bytes).sum::<u64>() <= policy.target_file_bytes);
                prop_assert!(group.windows(2).all(|pair| pair[0].path < pair[1].path && pair[0].values == pair[1].values));
                total += group.iter().map(|file| file.bytes).sum::<u64>();
                prop_assert!(group.iter().all(|file| seen.insert(file.path.clone()) && file.bytes < policy.target_file_bytes / 2));
            }
            prop_assert!(total <= input);
        }
    }
}
