//! `tidegate query`: SQL over the tables.

use anyhow::anyhow;
use clap::Args;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::SessionContext;
use lake::Lake;

use super::LakeArgs;
use crate::output::Format;
use crate::output::batches::{self, Failure};
use crate::platform;

mod typed;

/// Ask the tables with SQL, also while a server writes them
///
/// The tables are bronze.*, silver.*, gold.*, dead_letters and ledger; `SHOW TABLES` lists those there are, `DESCRIBE silver.events` their columns. For each event type of the tracking plan there
/// is a view such as events.page_view, with its properties as columns of their types; json_text, json_integer, json_number, json_boolean, json_time and json_value take any property, as in
/// json_number(properties, 'price'). A query sees the tables as they were when it began. Nothing can be changed by one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate query 'SELECT event_type, count(*) AS events FROM silver.events GROUP BY 1 ORDER BY 2 DESC'
  tidegate query 'SELECT page_path, title, count(*) FROM events.page_view GROUP BY 1, 2'
  tidegate query 'SELECT source, code, count(*) FROM dead_letters GROUP BY 1, 2' --format csv
  tidegate query 'SHOW TABLES' --lake /mnt/lake")]
pub(crate) struct QueryArgs {
    /// The query
    sql: String,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    lake: LakeArgs,
}

pub(crate) async fn run(args: QueryArgs) -> anyhow::Result<bool> {
    let (lake, settings) = args.lake.open_with_settings().await?;
    let session = lake.session().await?;
    let plan = platform::plan(&settings)?;
    typed::register(&session, &plan).await?;
    match answer(&session, &args.sql, args.format).await {
        Ok(()) => Ok(true),
        Err(Failure::Query(error)) => Err(explained(error, &lake).await),
        Err(Failure::Print(error)) => Err(error),
    }
}

async fn answer(session: &SessionContext, sql: &str, format: Format) -> Result<(), Failure> {
    let only_read = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let frame = session.sql_with_options(sql, only_read).await?;
    batches::print(frame.execute_stream().await?, format).await
}

/// The error in one line, with the tables there are where one was not found.
async fn explained(error: DataFusionError, lake: &Lake) -> anyhow::Error {
    let message = error.find_root().strip_backtrace();
    let message = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    if message.contains("DDL not supported") || message.contains("DML not supported") || message.contains("Statement not supported") {
        return anyhow!("{message}; a query only reads");
    }
    let is_about_tables = message.contains("table '") && message.contains("not found");
    if !is_about_tables {
        return anyhow!(message);
    }
    match lake.tables().await {
        Ok(tables) if tables.is_empty() => anyhow!(
            "{message}; the lake at {} has no tables yet: `tidegate serve` makes them when it starts, is this the right --data or --lake?",
            lake.location()
        ),
        Ok(tables) => anyhow!("{message}; there are {}", tables.join(", ")),
        Err(_) => anyhow!(message),
    }
}
