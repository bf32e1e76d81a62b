//! The tables of the lake, each as it is when a statement asks for it.
//!
//! DataFusion asks for a table by name while it plans, and for the names there are without waiting: those are listed anew before each statement.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

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
    /// By schema; as of the last listing.
    names: RwLock<Names>,
}

impl Catalog {
    pub(crate) fn new(lake: Lake, plan: Arc<Plan>) -> Self {
        let tables = Tables { lake, plan, names: RwLock::new(by_schema(Vec::new())) };
        Self { tables: Arc::new(tables), added: RwLock::default() }
    }

    /// Lists the tables anew.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub(crate) async fn refresh(&self) -> Result<(), Error> {
        let names = by_schema(self.tables.lake.tables().await?);
        *self.tables.names.write().unwrap_or_else(PoisonError::into_inner) = names;
        Ok(())
    }

    /// The names of all tables as statements write them, as of the last listing; without the views.
    pub(crate) fn tables(&self) -> Vec<String> {
        let names = self.tables.names.read().unwrap_or_else(PoisonError::into_inner);
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
        self.tables.event_types().iter().map(|event_type| format!("{}.{event_type}", events::SCHEMA)).collect()
    }
}

impl CatalogProvider for Catalog {
    fn schema_names(&self) -> Vec<String> {
        let mut schemas: Vec<String> = self.tables.names.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
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
        let is_there = self.tables.names.read().unwrap_or_else(PoisonError::into_inner).contains_key(name);
        is_there.then(|| Arc::new(Schema { name: name.to_owned(), tables: Arc::clone(&self.tables) }) as Arc<dyn SchemaProvider>)
    }

    fn register_schema(&self, name: &str, schema: Arc<dyn SchemaProvider>) -> Result<Option<Arc<dyn SchemaProvider>>> {
        Ok(self.added.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), schema))
    }
}

impl Tables {
    fn has(&self, schema: &str, table: &str) -> bool {
        self.names.read().unwrap_or_else(PoisonError::into_inner).get(schema).is_some_and(|tables| tables.contains(table))
    }

    async fn open(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.lake.provider(name).await.map_err(Error::from)?)
    }

    fn event_types(&self) -> Vec<&str> {
        if self.has("silver", "events") { self.plan.types().collect() } else { Vec::new() }
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
        let names = self.tables.names.read().unwrap_or_else(PoisonError::into_inner);
        names.get(&self.name).into_iter().flatten().cloned().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if !self.table_exist(name) {
            return Ok(None);
        }
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
        self.tables.event_types().into_iter().map(str::to_owned).collect()
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
        self.tables.event_types().contains(&name)
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
