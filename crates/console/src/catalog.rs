//! The tables of the lake, each as it is when a statement asks for it.
//!
//! DataFusion asks for a table by name while it plans: it is opened then. For the names there are it asks without waiting; they are listed beforehand, and not before each statement, for
//! on S3 that is a request for each table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use contract::Plan;
use datafusion::catalog::{CatalogProvider, MemorySchemaProvider, SchemaProvider, TableProvider};
use datafusion::datasource::ViewTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::SessionContext;
use lake::Lake;

use crate::Error;
use crate::events;

/// The name of the one catalog.
pub(crate) const CATALOG: &str = "tidegate";
/// The schema of tables without a dot in their name.
pub(crate) const DEFAULT_SCHEMA: &str = "public";
/// The schemas there always are, also before their first table.
const SCHEMAS: [&str; 4] = ["bronze", "silver", "gold", DEFAULT_SCHEMA];
const SILVER: &str = "silver.events";
/// How long a listing is good enough.
const LISTED_FOR: Duration = Duration::from_secs(5);

type Names = BTreeMap<String, BTreeSet<String>>;

/// The lake's tables, and the views over them.
#[derive(Debug)]
pub(crate) struct Catalog {
    tables: Arc<Tables>,
    /// What others add, such as `pg_catalog`.
    added: RwLock<BTreeMap<String, Arc<dyn SchemaProvider>>>,
}

#[derive(Debug)]
struct Tables {
    lake: Lake,
    plan: Arc<Plan>,
    /// As of the last listing.
    listed: RwLock<Listed>,
}

#[derive(Debug)]
struct Listed {
    /// By schema.
    names: Names,
    at: Option<Instant>,
}

impl Catalog {
    pub(crate) fn new(lake: Lake, plan: Arc<Plan>) -> Self {
        let tables = Tables { lake, plan, listed: RwLock::new(Listed { names: by_schema(Vec::new()), at: None }) };
        Self { tables: Arc::new(tables), added: RwLock::default() }
    }

    /// Lists the tables anew.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub(crate) async fn list(&self) -> Result<(), Error> {
        let names = by_schema(self.tables.lake.tables().await?);
        *self.tables.listed.write().unwrap_or_else(PoisonError::into_inner) = Listed { names, at: Some(Instant::now()) };
        Ok(())
    }

    /// Lists them anew where that was some time ago.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub(crate) async fn refresh(&self) -> Result<(), Error> {
        let at = self.tables.listed.read().unwrap_or_else(PoisonError::into_inner).at;
        if at.is_some_and(|at| at.elapsed() < LISTED_FOR) { Ok(()) } else { self.list().await }
    }

    /// The names of all tables as statements write them, as of the last listing; without the views.
    pub(crate) fn tables(&self) -> Vec<String> {
        let names = self.tables.names();
        let written = |(schema, tables): (&String, &BTreeSet<String>)| {
            let prefix = if schema == DEFAULT_SCHEMA { String::new() } else { format!("{schema}.") };
            tables.iter().map(|table| format!("{prefix}{table}")).collect::<Vec<_>>()
        };
        let mut tables: Vec<String> = names.iter().flat_map(written).collect();
        tables.sort();
        tables
    }

    /// The names of the views.
    pub(crate) fn views(&self) -> Vec<String> {
        self.tables.event_types().map(|event_type| format!("{}.{event_type}", events::SCHEMA)).collect()
    }
}

impl CatalogProvider for Catalog {
    fn schema_names(&self) -> Vec<String> {
        let mut schemas: Vec<String> = self.tables.names().into_keys().collect();
        schemas.push(events::SCHEMA.to_owned());
        schemas.extend(self.added.read().unwrap_or_else(PoisonError::into_inner).keys().cloned());
        schemas
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        if let Some(added) = self.added.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Some(Arc::clone(added));
        }
        if name == events::SCHEMA {
            return Some(Arc::new(Views { tables: Arc::clone(&self.tables) }));
        }
        // Whether there is one is seen when one of its tables is asked for.
        Some(Arc::new(Schema { name: name.to_owned(), tables: Arc::clone(&self.tables) }))
    }

    fn register_schema(&self, name: &str, schema: Arc<dyn SchemaProvider>) -> Result<Option<Arc<dyn SchemaProvider>>> {
        Ok(self.added.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), schema))
    }
}

impl Tables {
    fn names(&self) -> Names {
        self.listed.read().unwrap_or_else(PoisonError::into_inner).names.clone()
    }

    fn has(&self, schema: &str, table: &str) -> bool {
        self.listed.read().unwrap_or_else(PoisonError::into_inner).names.get(schema).is_some_and(|tables| tables.contains(table))
    }

    /// The table of that name; none where the name is not one that a table can have.
    async fn open(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.lake.provider(name).await {
            Err(error) if error.kind() == lake::ErrorKind::Fatal && !self.is_listed(name) => Ok(None),
            opened => Ok(opened.map_err(Error::from)?),
        }
    }

    /// The types of events that there are views of: none as long as there is no Silver.
    fn event_types(&self) -> impl Iterator<Item = &str> {
        let is_there = self.is_listed(SILVER);
        self.plan.types().filter(move |_| is_there)
    }

    fn is_listed(&self, name: &str) -> bool {
        let (schema, table) = name.split_once('.').unwrap_or((DEFAULT_SCHEMA, name));
        self.has(schema, table)
    }
}

/// A folder of tables.
#[derive(Debug)]
struct Schema {
    name: String,
    tables: Arc<Tables>,
}

#[async_trait]
impl SchemaProvider for Schema {
    fn table_names(&self) -> Vec<String> {
        self.tables.names().remove(&self.name).into_iter().flatten().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        self.tables.open(&if self.name == DEFAULT_SCHEMA { name.to_owned() } else { format!("{}.{name}", self.name) }).await
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.has(&self.name, name)
    }
}

/// A view of Silver for each event type of the plan.
#[derive(Debug)]
struct Views {
    tables: Arc<Tables>,
}

#[async_trait]
impl SchemaProvider for Views {
    fn table_names(&self) -> Vec<String> {
        self.tables.event_types().map(str::to_owned).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if !self.table_exist(name) {
            return Ok(None);
        }
        let Some(silver) = self.tables.open(SILVER).await? else { return Ok(None) };
        // A session of its own, in which the statement of the view means Silver as it is now.
        let session = SessionContext::new();
        events::register_functions(&session);
        if let Some(catalog) = session.catalog(&session.state().config_options().catalog.default_catalog) {
            catalog.register_schema("silver", Arc::new(MemorySchemaProvider::new()))?;
        }
        session.register_table(SILVER, silver)?;
        let definition = events::view(name, self.tables.plan.columns(name));
        let view = session.sql(&definition).await?.into_unoptimized_plan();
        Ok(Some(Arc::new(ViewTable::new(view, Some(definition)))))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.plan.types().any(|event_type| event_type == name)
    }
}

fn by_schema(tables: Vec<String>) -> Names {
    let mut names: Names = SCHEMAS.iter().map(|schema| ((*schema).to_owned(), BTreeSet::new())).collect();
    for name in tables {
        let (schema, table) = name.split_once('.').unwrap_or((DEFAULT_SCHEMA, &name));
        names.entry(schema.to_owned()).or_default().insert(table.to_owned());
    }
    names
}
