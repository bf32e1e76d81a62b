//! The lake: tables below one folder or bucket.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use deltalake::kernel::transaction::{CommitData, TransactionError};
use deltalake::kernel::{Action, Metadata, MetadataExt as _, Protocol, new_metadata};
use deltalake::logstore::object_store::path::Path;
use deltalake::logstore::{CommitOrBytes, LogStoreRef, ObjectStoreRef, StorageConfig, default_logstore};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::{DeltaTableError, ensure_table_uri};
use serde_json::{Map, Value, json};
use url::Url;
use uuid::Uuid;

use crate::commit::{Draft, now_millis};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind};
use crate::local::Durable;
use crate::log;
use crate::options::Options;
use crate::s3::{self, Opened};
use crate::shape::STATS_COLUMNS;
use crate::spec::{TableSpec, folder};
use crate::table::{Commit, Home, Table};
use crate::{schema, session};

/// Tables that are opened at a time for a session.
const OPENS_MAX: usize = 8;
/// Other writers that may change a table while it is being opened.
const OPEN_ATTEMPTS_MAX: u32 = 8;
const LOG_FOLDER: &str = "_delta_log";

/// The lake: tables below one folder or bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lake {
    root: Arc<Url>,
    /// Rooted where the URL's path begins.
    store: ObjectStoreRef,
    /// Set where that is a bucket.
    s3: Option<Opened>,
    options: Arc<Options>,
}

impl Lake {
    /// Opens the lake at a folder, which is made if need be, or at `s3://bucket/prefix`, with the AWS variables of this process.
    ///
    /// # Errors
    /// `Fatal` when the location or an option cannot be used, there are no keys or they are refused, or there is no such bucket; `Retry` when S3 does
    /// not answer.
    pub async fn open(location: &str, options: Options) -> Result<Self, Error> {
        Self::open_in(location, options, &Environment::of_process()).await
    }

    /// The same with variables put together for this lake. They replace those of the process for endpoint, region and keys; profiles and roles, where it
    /// comes to them, are looked for in the process's own.
    ///
    /// # Errors
    /// As [`Lake::open`].
    pub async fn open_in(location: &str, options: Options, environment: &Environment) -> Result<Self, Error> {
        options.validate()?;
        if s3::is_here(location)? {
            let opened = s3::open(location, &options.s3, environment).await?;
            let lake = Self::with_store(opened.root.clone(), opened.store(), options)?;
            return Ok(Self { s3: Some(opened), ..lake });
        }
        let unusable = |error: DeltaTableError| Error::Setting(format!("`{location}` cannot hold the lake: {error}"));
        let root = ensure_table_uri(location).map_err(unusable)?;
        if root.scheme() == "file" {
            return Self::with_store(root, Arc::new(Durable::new()), options);
        }
        Err(Error::Setting(format!("{}:// cannot hold the lake: use a folder or s3://bucket/prefix", root.scheme())))
    }

    /// Opens the lake at a URL of any object store. The store is rooted where the URL's path begins, and must create an object only if there is
    /// none of that name when it is asked to.
    ///
    /// # Errors
    /// `Fatal` when an option cannot be used.
    pub fn with_store(root: Url, store: ObjectStoreRef, options: Options) -> Result<Self, Error> {
        options.validate()?;
        let mut root = root;
        if !root.path().ends_with('/') {
            root.set_path(&format!("{}/", root.path()));
        }
        Ok(Self { root: Arc::new(root), store, s3: None, options: Arc::new(options) })
    }

    /// Where the lake lies.
    pub fn location(&self) -> &Url {
        &self.root
    }

    /// How Hadoop's S3A is told to come to the bucket that the lake is in, but for keys; `None` where it is in no bucket.
    pub fn hadoop_properties(&self) -> Option<&[(String, String)]> {
        self.s3.as_ref().map(|opened| &*opened.hadoop)
    }

    /// The settings it was opened with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The time by which the age of rows, versions and files is told, in microseconds since 1970-01-01T00:00:00Z.
    pub fn now(&self) -> i64 {
        now_millis().saturating_mul(1_000)
    }

    /// Opens a table to write to it; makes it if there is none. Columns that it lacks are added if they take nulls.
    ///
    /// # Errors
    /// `Schema` when the table there and the specification contradict each other, or Delta has no such types; `Retry` when the store fails.
    pub async fn table(&self, spec: &TableSpec) -> Result<Table, Error> {
        spec.validate()?;
        if let Some(s3) = &self.s3 {
            s3.prove().await?;
        }
        let home = self.home(&spec.name)?;
        for _ in 0..OPEN_ATTEMPTS_MAX {
            let Some(mut table) = Table::load(home.clone()).await? else {
                self.create(&home, spec).await?;
                continue;
            };
            match self.fit(&mut table, spec).await {
                Ok(()) => return Ok(table),
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Conflict { table: spec.name.clone(), what: "it was changed again and again while it was being opened".to_owned() })
    }

    /// Opens a table that is there; `None` when it is not.
    ///
    /// # Errors
    /// `Retry` when the store fails; `Schema` when another engine gave it features that this program does not know.
    pub async fn reader(&self, name: &str) -> Result<Option<Table>, Error> {
        Table::load(self.home(name)?).await
    }

    /// The names of all tables there are.
    ///
    /// # Errors
    /// `Retry` when the store fails.
    pub async fn tables(&self) -> Result<Vec<String>, Error> {
        let store = self.root_store()?;
        let mut tables = Vec::new();
        for folder in folders(&store, None).await? {
            let Some(name) = folder.filename().filter(|name| *name != LOG_FOLDER) else { continue };
            let inner = folders(&store, Some(&folder)).await?;
            if has_log(&inner) {
                tables.push(name.to_owned());
                continue;
            }
            for table in inner {
                if let Some(inner_name) = table.filename()
                    && has_log(&folders(&store, Some(&table)).await?)
                {
                    tables.push(format!("{name}.{inner_name}"));
                }
            }
        }
        tables.retain(|name| crate::spec::folder(name).is_ok());
        tables.sort();
        Ok(tables)
    }

    /// The store, rooted where the lake is.
    pub(crate) fn root_store(&self) -> Result<ObjectStoreRef, Error> {
        Ok(self.log_store(&self.root)?.object_store(None))
    }

    /// Removes a table with all its files, its log last: broken off, it can be called again.
    ///
    /// # Errors
    /// `Retry` when the store fails.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        use futures::stream::{StreamExt as _, TryStreamExt as _};
        let home = self.home(name)?;
        if let Some(folder) = home.log.root_url().to_file_path().ok().filter(|_| self.root.scheme() == "file") {
            // Objects have no folders, files have: those would be left, and be listed as tables.
            let removed = tokio::fs::remove_dir_all(&folder).await;
            return removed.map_err(|error| Error::store(format!("remove the table {name}"), error));
        }
        let failed = |error| Error::object(format!("remove the table {name}"), error);
        let store = home.store();
        let is_log = |path: &Path| path.prefix_matches(&Path::from(LOG_FOLDER));
        let files: Vec<Path> = store.list(None).map_ok(|file| file.location).try_collect().await.map_err(failed)?;
        let (log, data): (Vec<Path>, Vec<Path>) = files.into_iter().partition(is_log);
        for files in [data, log] {
            let deleted = store.delete_stream(futures::stream::iter(files).map(Ok).boxed());
            deleted.try_for_each(|_| std::future::ready(Ok(()))).await.map_err(failed)?;
        }
        Ok(())
    }

    /// A DataFusion session without tables, for [`crate::Table::provider`]s that its owner registers.
    ///
    /// # Errors
    /// `Fatal` when an option cannot be used.
    pub fn bare_session(&self) -> Result<SessionContext, Error> {
        session::empty(&self.options, &self.root, Arc::clone(&self.store))
    }

    /// A DataFusion session in which every table there is now stands at its newest version: what is committed later is not seen, and nobody waits.
    /// `bronze.events` is the table `events` in the schema `bronze`; tables without a dot are in the default schema.
    ///
    /// # Errors
    /// `Retry` when the store fails, `Fatal` when a table is damaged.
    pub async fn session(&self) -> Result<SessionContext, Error> {
        use futures::stream::{StreamExt as _, TryStreamExt as _};
        let session = self.bare_session()?;
        let homes = self.tables().await?.into_iter().map(|name| self.home(&name)).collect::<Result<Vec<_>, _>>()?;
        let open = |home: Home| async move { Ok::<_, Error>(session::provider(&home, None).await?.map(|table| (home.name, table))) };
        let tables: Vec<_> = futures::stream::iter(homes).map(open).buffered(OPENS_MAX).try_collect().await?;
        for (name, table) in tables.into_iter().flatten() {
            session::register(&session, &name, table)?;
        }
        Ok(session)
    }

    /// What a DataFusion session needs to query the newest version of a table; `None` where there is no such table. The session must have the object store of
    /// [`Lake::bare_session`]'s.
    ///
    /// # Errors
    /// `Retry` when the store fails, `Fatal` when the table is damaged.
    pub async fn provider(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, Error> {
        session::provider(&self.home(name)?, None).await
    }

    fn home(&self, name: &str) -> Result<Home, Error> {
        let folder = format!("{}/", folder(name)?);
        let location = self.root.join(&folder).map_err(|error| Error::Setting(format!("{folder}: {error}")))?;
        Ok(Home { name: name.into(), log: self.log_store(&location)?, options: Arc::clone(&self.options) })
    }

    fn log_store(&self, location: &Url) -> Result<LogStoreRef, Error> {
        let config = StorageConfig::default();
        let table = config.decorate_store(Arc::clone(&self.store), location);
        let table = table.map_err(|error| Error::Setting(format!("`{location}` cannot hold tables: {error}")))?;
        Ok(default_logstore(Arc::from(table), Arc::clone(&self.store), location, &config))
    }

    /// Makes the table, unless another one is faster.
    async fn create(&self, home: &Home, spec: &TableSpec) -> Result<(), Error> {
        let failed = |error: TransactionError| Error::store(format!("make the table {}", spec.name), error);
        let schema = schema::to_delta(&spec.name, &spec.schema)?;
        let metadata = new_metadata(&schema, &spec.partition_by, self.properties(spec))
            .map_err(|error| Error::schema(&spec.name, error.to_string()))?;
        let protocol = plain_protocol().map_err(|error| Error::store("describe a table", error))?;
        let operation = DeltaOperation::Create {
            mode: SaveMode::ErrorIfExists,
            location: home.log.root_url().clone(),
            protocol: protocol.clone(),
            metadata: metadata.clone(),
        };
        let actions = vec![Action::Protocol(protocol), Action::Metadata(metadata)];
        let info = HashMap::from([log::telling(Map::from_iter([("stage".to_owned(), "create".into())]))]);
        let bytes = CommitData::new(actions, operation, info, Vec::new()).get_bytes().map_err(failed)?;
        match home.log.write_commit_entry(0, CommitOrBytes::LogBytes(bytes), Uuid::nil()).await {
            Ok(()) | Err(TransactionError::VersionAlreadyExists(_)) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Adds the columns that a table lacks, and sets its properties as the options say.
    async fn fit(&self, table: &mut Table, spec: &TableSpec) -> Result<(), Error> {
        if table.partition_by() != spec.partition_by {
            let what = format!("it is partitioned by {:?}, not by {:?}", table.partition_by(), spec.partition_by);
            return Err(Error::schema(&spec.name, what));
        }
        schema::to_delta(&spec.name, &spec.schema)?;
        let grown = schema::grow(&spec.name, &table.schema(), &spec.schema)?;
        let failed = |error: String| Error::schema(&spec.name, error);
        let mut metadata: Metadata = table.bring_up().await?.metadata().clone();
        let properties = self.properties(spec);
        let changed = properties.iter().filter(|(key, value)| metadata.configuration().get(*key) != Some(value)).collect::<Vec<_>>();
        if grown.is_none() && changed.is_empty() {
            return Ok(());
        }
        for (key, value) in changed {
            metadata = metadata.add_config_key(key.clone(), value.clone()).map_err(|error| failed(error.to_string()))?;
        }
        if let Some(grown) = grown {
            metadata = metadata.with_schema(&schema::to_delta(&spec.name, &grown)?).map_err(|error| failed(error.to_string()))?;
        }
        tracing::info!(table = spec.name, "changing columns or properties of a table");
        table.ready(&[], &[]).await?;
        let commit = Commit { info: Map::from_iter([("stage".to_owned(), Value::from("schema"))]), ..Commit::default() };
        let mut draft = Draft::new(commit, DeltaOperation::SetTableProperties { properties }, Vec::new());
        draft.actions.push(Action::Metadata(metadata));
        table.commit(draft).await?;
        table.reload().await
    }

    fn properties(&self, spec: &TableSpec) -> HashMap<String, String> {
        let hours = |duration: std::time::Duration| format!("interval {} seconds", duration.as_secs());
        let interval = spec.checkpoint_interval.unwrap_or(self.options.checkpoint_interval).max(1);
        let mut properties = HashMap::from([
            // `Table::trim_log` does that, and asks who has still to read a version.
            ("delta.enableExpiredLogCleanup".to_owned(), "false".to_owned()),
            ("delta.checkpointInterval".to_owned(), interval.to_string()),
            ("delta.logRetentionDuration".to_owned(), hours(self.options.log_retention)),
            ("delta.deletedFileRetentionDuration".to_owned(), hours(self.options.file_retention)),
        ]);
        if !spec.stats_columns.is_empty() {
            properties.insert(STATS_COLUMNS.to_owned(), spec.stats_columns.join(","));
        }
        properties
    }
}

/// What every engine reads and writes.
fn plain_protocol() -> Result<Protocol, serde_json::Error> {
    serde_json::from_value(json!({ "minReaderVersion": 1, "minWriterVersion": 2 }))
}

async fn folders(store: &ObjectStoreRef, below: Option<&Path>) -> Result<Vec<Path>, Error> {
    let listed = store.list_with_delimiter(below).await.map_err(|error| Error::object("list the tables", error))?;
    Ok(listed.common_prefixes)
}

fn has_log(folders: &[Path]) -> bool {
    folders.iter().any(|folder| folder.filename() == Some(LOG_FOLDER))
}
