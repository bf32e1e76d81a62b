//! `tidegate query`: SQL over the tables.

use clap::Args;
use console::Reader;

use super::LakeArgs;
use crate::output::Format;
use crate::output::batches::{self, Failure};

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
    let reader = args.lake.reader().await?;
    answer(&reader, &args.sql, args.format).await?;
    Ok(true)
}

/// Asks and prints.
///
/// # Errors
///
/// What is wrong with the statement, in one line with what to do; standard output that takes no more.
pub(super) async fn answer(reader: &Reader, sql: &str, format: Format) -> anyhow::Result<()> {
    match batches::print(reader.ask(sql).await?, format).await {
        Ok(()) => Ok(()),
        Err(Failure::Query(error)) => Err(reader.explain(&error).into()),
        Err(Failure::Print(error)) => Err(error),
    }
}
