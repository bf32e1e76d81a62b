//! What a connection asks its statements of.

use std::sync::Arc;

use arrow::array::{AsArray as _, StringArray};
use arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, create_udf};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::setup_pg_catalog;

use crate::catalog::CATALOG;
use crate::{Error, ErrorKind, Reader};

/// The version of Postgres that clients are told: what they may expect of the system tables.
pub(super) const SERVER_VERSION: &str = "16.6";
/// What `current_setting` tells. Grafana asks for the version by its number, and tools for the path by which tables are found.
const SETTINGS: [(&str, &str); 8] = [
    ("server_version", SERVER_VERSION),
    ("server_version_num", "160006"),
    ("search_path", "public"),
    ("timezone", "UTC"),
    ("server_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("default_transaction_read_only", "on"),
    ("is_superuser", "off"),
];

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
        let failed = |error: Box<DataFusionError>| Error::new(ErrorKind::Fault, format!("pg_catalog cannot be made: {error}"));
        setup_pg_catalog(&session, CATALOG, EmptyContextProvider).map_err(failed)?;
        session.register_udf(current_setting());
        session.register_udf(ScalarUDF::from(Version { signature: Signature::nullary(Volatility::Stable) }));
        Ok(Self(session))
    }

    /// A session whose settings are its own.
    pub(super) fn session(&self) -> Arc<SessionContext> {
        Arc::new(SessionContext::new_with_state(self.0.state()))
    }
}

fn current_setting() -> ScalarUDF {
    let tell = |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let names = arrays.first().and_then(|array| array.as_string_opt::<i32>()).into_iter().flatten();
        let told = names.map(|name| {
            let Some(name) = name else { return Ok(None) };
            let known = SETTINGS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            known.map(|(_, value)| Some(*value)).ok_or_else(|| DataFusionError::Execution(format!("there is no setting {name}")))
        });
        Ok(ColumnarValue::Array(Arc::new(told.collect::<Result<StringArray, DataFusionError>>()?)))
    };
    create_udf("current_setting", vec![DataType::Utf8], DataType::Utf8, Volatility::Stable, Arc::new(tell))
}

/// `version()`: tools such as SQLAlchemy read the number in it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Version {
    signature: Signature,
}

impl ScalarUDFImpl for Version {
    fn name(&self) -> &str {
        "version"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(format!("PostgreSQL {SERVER_VERSION} (Tidegate)")))))
    }
}
