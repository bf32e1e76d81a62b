//! The rows of a partition in an order that queries profit from: files that a query need not read are told by the least and greatest values in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::prelude::SessionContext;
use deltalake::kernel::{Action, Remove};
use deltalake::protocol::DeltaOperation;
use futures::stream::StreamExt as _;
use serde_json::Map;

use crate::commit::{Draft, NewFile};
use crate::compact::{Compacted, encoded};
use crate::error::{Error, ErrorKind};
use crate::log;
use crate::table::{Commit, Table};
use crate::writer::Encoder;

/// The tag of a file whose partition was put in order, with the columns.
const TAG: &str = "tidegate.clustered";
/// The name of the table in the query that sorts.
const TABLE: &str = "to_be_clustered";

impl Table {
    /// The partitions with files that are not in this order, or are not in one with the others: each as the values of the partition columns.
    ///
    /// # Errors
    /// `Retry` when the store fails.
    pub async fn not_clustered(&mut self, order_by: &[&str]) -> Result<Vec<BTreeMap<String, Option<String>>>, Error> {
        self.refresh().await?;
        let order = order_by.join(",");
        let tagged = self.tagged().await?;
        let mut due = Vec::new();
        for file in self.files().await? {
            if tagged.get(&file.path).is_none_or(|tag| *tag != order) && !due.contains(&file.partition_values) {
                due.push(file.partition_values);
            }
        }
        due.sort();
        Ok(due)
    }

    /// Sorts the rows of one partition by these columns, over all its files, and puts them in their place in one commit. The rows stay the same. The session must be one of
    /// [`crate::Lake::bare_session`], whose bounds of memory and disk it keeps.
    ///
    /// # Errors
    /// As [`Table::compact`].
    pub async fn cluster(
        &mut self,
        session: &SessionContext,
        partition: &BTreeMap<String, Option<String>>,
        order_by: &[&str],
        target_file_bytes: u64,
    ) -> Result<Compacted, Error> {
        self.refresh().await?;
        self.ready(&[], &[]).await?;
        let version = self.version;
        let own: Vec<(u64, Option<u64>, Remove)> = self
            .bring_up()
            .await?
            .log_data()
            .iter()
            .filter(|file| file.partition_values_map().into_iter().collect::<BTreeMap<_, _>>() == *partition)
            .map(|file| (file.size().unsigned_abs(), file.stats().as_deref().and_then(log::rows), file.remove_action(false)))
            .collect();
        if own.is_empty() {
            return Ok(Compacted::default());
        }
        let mut files = match self.sorted(session, version, partition, order_by, target_file_bytes).await {
            Ok(files) => files,
            Err((error, files)) => {
                self.discard(&files.iter().map(|file| file.add.path.clone()).collect::<Vec<_>>()).await;
                return Err(error);
            }
        };
        let (written, expected) =
            (files.iter().map(|file| file.rows).sum::<u64>(), own.iter().map(|(_, rows, _)| *rows).sum::<Option<u64>>());
        if expected.is_some_and(|expected| expected != written) {
            self.discard(&files.iter().map(|file| file.add.path.clone()).collect::<Vec<_>>()).await;
            let what = format!("the log says that a partition has {} rows, {written} were sorted", expected.unwrap_or_default());
            return Err(Error::Damaged { place: self.name().to_owned(), what });
        }
        for file in &mut files {
            file.add.tags = Some([(TAG.to_owned(), Some(order_by.join(",")))].into());
        }
        let done = Compacted {
            files_before: own.len() as u64,
            files_after: files.len() as u64,
            bytes_before: own.iter().map(|(bytes, ..)| bytes).sum(),
            bytes_after: files.iter().map(|file| file.add.size.unsigned_abs()).sum(),
            given_up: false,
        };
        let info = Map::from_iter([("stage".to_owned(), "clustering".into())]);
        let target_size = i64::try_from(target_file_bytes).unwrap_or(i64::MAX);
        let mut draft = Draft::new(Commit { info, ..Commit::default() }, DeltaOperation::Optimize { predicate: None, target_size }, files);
        draft.intent.removes = own.iter().map(|(.., remove)| remove.path.clone()).collect();
        draft.actions.extend(own.into_iter().map(|(.., remove)| Action::Remove(remove)));
        match self.commit(draft).await {
            Ok(_) => Ok(done),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(Compacted { given_up: true, ..Compacted::default() }),
            Err(error) => Err(error),
        }
    }

    /// The rows of a partition in order, as files that are in place. With an error come those that are there already.
    async fn sorted(
        &self,
        session: &SessionContext,
        version: i64,
        partition: &BTreeMap<String, Option<String>>,
        order_by: &[&str],
        target_file_bytes: u64,
    ) -> Result<Vec<NewFile>, (Error, Vec<NewFile>)> {
        let mut files = Vec::new();
        match self.try_sort(session, version, partition, order_by, target_file_bytes, &mut files).await {
            Ok(()) => Ok(files),
            Err(error) => Err((error, files)),
        }
    }

    async fn try_sort(
        &self,
        session: &SessionContext,
        version: i64,
        partition: &BTreeMap<String, Option<String>>,
        order_by: &[&str],
        target_file_bytes: u64,
        files: &mut Vec<NewFile>,
    ) -> Result<(), Error> {
        let failed = |error| Error::store(format!("sort rows of {}", self.name()), error);
        session.deregister_table(TABLE).map_err(failed)?;
        session.register_table(TABLE, self.provider_at(version).await?).map_err(failed)?;
        let condition = |(column, value): (&String, &Option<String>)| match value {
            Some(value) => format!("CAST({column} AS VARCHAR) = '{}'", value.replace('\'', "''")),
            None => format!("{column} IS NULL"),
        };
        let conditions: Vec<String> = partition.iter().map(condition).collect();
        let conditions = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
        let columns: Vec<&str> = self.shape.data_schema.fields().iter().map(|field| field.name().as_str()).collect();
        let sql = format!("SELECT {} FROM {TABLE} WHERE {conditions} ORDER BY {}", columns.join(", "), order_by.join(", "));
        let mut rows = session.sql(&sql).await.map_err(failed)?.execute_stream().await.map_err(failed)?;

        let values: Vec<Option<String>> = self.shape.partition_by.iter().map(|column| partition.get(column).cloned().flatten()).collect();
        let schema = Arc::clone(&self.shape.data_schema);
        let encoder = Encoder::new(Arc::clone(&schema), Arc::clone(&self.shape.stats_columns), &self.home.options);
        let encoder = encoder.map_err(|error| Error::schema(self.name(), error.to_string()))?;
        let mut encoder = encoder.with_file_bytes_max(target_file_bytes.min(self.home.options.file_bytes_max));
        while let Some(batch) = rows.next().await {
            let batch = crate::schema::conform(self.name(), &schema, &batch.map_err(failed)?)?;
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
        Ok(())
    }

    /// The order of files that were put in one, by path.
    async fn tagged(&mut self) -> Result<BTreeMap<String, String>, Error> {
        let listed = self.bring_up().await?.log_data();
        // The tags are in no other form.
        #[expect(deprecated, reason = "the library's other view of a file has no tags")]
        let adds: Vec<_> = listed.iter().map(|file| file.add_action()).collect();
        let tag = |add: deltalake::kernel::Add| Some((add.path.clone(), add.tags?.remove(TAG)??));
        Ok(adds.into_iter().filter_map(tag).collect())
    }
}
