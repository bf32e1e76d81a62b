//! What a connection asks its statements of.

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionContext;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::setup_pg_catalog;

use crate::catalog::CATALOG;
use crate::{Error, ErrorKind, Reader};

/// What the session of each connection begins as.
pub(super) struct Template(SessionContext);

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Template")
    }
}

impl Template {
    /// The reader's tables, with Postgres's dialect and the system tables that its clients look at. Those are made once, so that their object ids are the same for all
    /// connections of a pool.
    pub(super) fn new(reader: &Reader) -> Result<Self, Error> {
        let mut state = SessionStateBuilder::new_from_existing(reader.template().state());
        if let Some(config) = state.config() {
            config.options_mut().sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
        }
        let session = SessionContext::new_with_state(state.build());
        let failed =
            |error: Box<datafusion::error::DataFusionError>| Error::new(ErrorKind::Fault, format!("pg_catalog cannot be made: {error}"));
        setup_pg_catalog(&session, CATALOG, EmptyContextProvider).map_err(failed)?;
        Ok(Self(session))
    }

    /// A session whose settings are its own.
    pub(super) fn session(&self) -> Arc<SessionContext> {
        Arc::new(SessionContext::new_with_state(self.0.state()))
    }
}
