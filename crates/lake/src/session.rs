//! Tables for DataFusion.

use std::sync::Arc;

use datafusion::catalog::{MemorySchemaProvider, TableProvider};
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use deltalake::DeltaTableError;
use deltalake::delta_datafusion::{DeltaScanConfig, DeltaScanNext};
use deltalake::kernel::Snapshot;
use deltalake::logstore::ObjectStoreRef;
use url::Url;

use crate::error::Error;
use crate::functions;
use crate::options::Options;
use crate::shape::check_format;
use crate::table::Home;

/// The catalog of our tables; the schema `public` holds those without a dot in their name.
const CATALOG: &str = "tidegate";
const SCHEMA: &str = "public";
/// One part in so many of a query's memory is what each of its sorts sets aside, over all cores, for merging what it spilled. A query of
/// window functions over several orders has a sort for each, all at once: of an eighth each, five of them took the whole memory.
const SPILL_SHARE: usize = 64;
/// The schemas there always are, also before their first table.
const SCHEMAS: [&str; 3] = ["bronze", "silver", "gold"];

/// A table at its newest version, or at the one named, as a DataFusion table; `None` when there is none.
pub(crate) async fn provider(home: &Home, version: Option<i64>) -> Result<Option<Arc<dyn TableProvider>>, Error> {
    if !home.exists().await? {
        return Ok(None);
    }
    let snapshot = Snapshot::try_new(home.log.as_ref(), version.map(i64::unsigned_abs)).await;
    let snapshot = snapshot.map_err(|error| not_loaded(&home.name, version, error))?;
    check_format(&home.name, snapshot.metadata())?;
    // Plain types for all columns: dictionaries and views are a gain within an engine and a burden on whoever takes the results.
    let config = DeltaScanConfig { schema_force_view_types: false, wrap_partition_values: false, ..DeltaScanConfig::new() };
    let scan = DeltaScanNext::new(snapshot, config).map_err(|error| Error::store(format!("query {}", home.name), error))?;
    Ok(Some(Arc::new(scan)))
}

/// What is wrong where a table cannot be loaded at its newest version, or at the one named.
pub(crate) fn not_loaded(name: &str, version: Option<i64>, error: DeltaTableError) -> Error {
    match (error, version) {
        // So the library says that its log no longer goes back that far.
        (DeltaTableError::NotATable(_), Some(version)) => Error::Missing(format!("{name} has no version {version} any more")),
        (error, _) => Error::delta(format!("load {name}"), error),
    }
}

/// A session without tables: bounded memory and disk, all cores, UTC.
pub(crate) fn empty(options: &Options, root: &Url, store: ObjectStoreRef) -> Result<SessionContext, Error> {
    let failed = |error| Error::store("prepare a query", error);
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_information_schema(true)
        .set_str("datafusion.execution.time_zone", "+00:00");
    let settings = config.options_mut();
    settings.execution.parquet.schema_force_view_types = false;
    settings.sql_parser.map_string_types_to_utf8view = false;
    let memory = usize::try_from(options.query_memory_bytes_max).unwrap_or(usize::MAX);
    // Each sort sets this aside on each core; the default asks for more than a small bound has.
    let reservation = memory / SPILL_SHARE / settings.execution.target_partitions.max(1);
    settings.execution.sort_spill_reservation_bytes = settings.execution.sort_spill_reservation_bytes.min(reservation);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(memory)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_max_temp_directory_size(options.query_spill_bytes_max))
        .build_arc()
        .map_err(failed)?;
    runtime.register_object_store(root, store);
    let session = SessionContext::new_with_config_rt(config, runtime);
    session.register_udf(functions::unix_micros());
    for schema in SCHEMAS {
        schema_of(&session, schema)?;
    }
    Ok(session)
}

/// Registers a table under its name: `bronze.events` in the schema `bronze`, `ledger` in the default one.
pub(crate) fn register(session: &SessionContext, name: &str, table: Arc<dyn TableProvider>) -> Result<(), Error> {
    if let Some((schema, _)) = name.split_once('.') {
        schema_of(session, schema)?;
    }
    session.register_table(name, table).map_err(|error| Error::store(format!("register {name}"), error))?;
    Ok(())
}

fn schema_of(session: &SessionContext, name: &str) -> Result<(), Error> {
    let Some(catalog) = session.catalog(CATALOG) else { return Ok(()) };
    if catalog.schema(name).is_none() {
        let schema = Arc::new(MemorySchemaProvider::new());
        catalog.register_schema(name, schema).map_err(|error| Error::store(format!("register the schema {name}"), error))?;
    }
    Ok(())
}
