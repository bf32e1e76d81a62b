//! Statements, answered within bounds.

use std::fmt;
use std::sync::Arc;

use contract::Plan;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProviderList};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionContext;
use lake::Lake;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::bounded::{Bounded, Limit};
use crate::catalog::{CATALOG, Catalog, DEFAULT_SCHEMA};
use crate::{Config, Error, ErrorKind, events};

/// Answers statements over one lake. Cheap to clone; all clones share memory, disk and turns.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

struct Shared {
    catalog: Arc<Catalog>,
    /// What each session begins as.
    template: SessionContext,
    turns: Arc<Semaphore>,
    config: Config,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl Reader {
    /// A reader of the tables, and of a view for each event type of the plan. Touches nothing yet.
    ///
    /// # Errors
    ///
    /// Settings that cannot be used.
    pub fn new(lake: Lake, plan: Arc<Plan>, config: Config) -> Result<Self, Error> {
        let bare = lake.bare_session()?;
        let catalog = Arc::new(Catalog::new(lake, plan));
        let catalogs = MemoryCatalogProviderList::new();
        datafusion::catalog::CatalogProviderList::register_catalog(
            &catalogs,
            CATALOG.to_owned(),
            Arc::clone(&catalog) as Arc<dyn CatalogProvider>,
        );
        let state = SessionStateBuilder::new_from_existing(bare.state()).with_catalog_list(Arc::new(catalogs)).build();
        let template = SessionContext::new_with_state(state);
        events::register_functions(&template);
        let turns = Arc::new(Semaphore::new(config.concurrency_max));
        Ok(Self { shared: Arc::new(Shared { catalog, template, turns, config }) })
    }

    /// Answers one statement. Tables are as they are now.
    ///
    /// The answer's errors are [`Error`]s in DataFusion's: see [`Reader::explain`].
    ///
    /// # Errors
    ///
    /// What is wrong with the statement, or that the store does not answer.
    pub async fn ask(&self, statement: &str) -> Result<SendableRecordBatchStream, Error> {
        let limit = self.limit();
        let planned = async {
            self.shared.catalog.refresh().await?;
            let only_read = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
            let frame = self.shared.template.sql_with_options(statement, only_read).await.map_err(|error| self.explain(&error))?;
            frame.execute_stream().await.map_err(|error| self.explain(&error))
        };
        let rows = limit.keep(planned).await.inspect_err(|error| crate::metrics::answered(error.label()))?;
        Ok(Box::pin(RecordBatchStreamAdapter::new(rows.schema(), self.bound(rows, limit))))
    }

    /// The names of the tables and views there are now, as statements write them.
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    pub async fn tables(&self) -> Result<Vec<String>, Error> {
        self.shared.catalog.list().await?;
        Ok(self.shared.catalog.tables().into_iter().chain(self.shared.catalog.views()).collect())
    }

    /// The names of all columns of the tables and views.
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    pub async fn columns(&self) -> Result<Vec<String>, Error> {
        use datafusion::catalog::CatalogProvider as _;
        let mut names = std::collections::BTreeSet::new();
        for written in self.tables().await? {
            let (schema, table) = written.split_once('.').unwrap_or((DEFAULT_SCHEMA, &written));
            let Some(schema) = self.shared.catalog.schema(schema) else { continue };
            let table = schema.table(table).await.map_err(|error| self.explain(&error))?;
            names.extend(
                table.iter().flat_map(|table| table.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>()),
            );
        }
        Ok(names.into_iter().collect())
    }

    /// The names of the functions that a statement can call.
    pub fn functions(&self) -> Vec<String> {
        let state = self.shared.template.state();
        let mut names: Vec<String> = state
            .scalar_functions()
            .keys()
            .chain(state.aggregate_functions().keys())
            .chain(state.window_functions().keys())
            .cloned()
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// What DataFusion says, as an error of ours.
    pub fn explain(&self, error: &DataFusionError) -> Error {
        Error::of(error, &self.shared.catalog.tables())
    }

    /// A session that sees the same tables and shares memory and disk with all others.
    pub(crate) fn template(&self) -> &SessionContext {
        &self.shared.template
    }

    pub(crate) fn catalog(&self) -> &Arc<Catalog> {
        &self.shared.catalog
    }

    /// The time that a statement has from now on.
    pub(crate) fn limit(&self) -> Limit {
        let timeout = self.shared.config.timeout;
        let too_slow = Error::new(ErrorKind::Timeout, format!("the statement took longer than {}", shown(timeout)))
            .with_hint("ask for fewer days (tables are stored by event_date or ingest_date), or give query.timeout more");
        Limit::new(Instant::now() + timeout, too_slow)
    }

    /// Puts time and turn around the rows of an answer.
    pub(crate) fn bound<S>(&self, rows: S, limit: Limit) -> Bounded<S> {
        Bounded::new(rows, limit, Arc::clone(&self.shared.turns))
    }
}

/// Whole seconds, or less.
fn shown(duration: std::time::Duration) -> String {
    if duration.subsec_nanos() == 0 { format!("{} s", duration.as_secs()) } else { format!("{} ms", duration.as_millis()) }
}
