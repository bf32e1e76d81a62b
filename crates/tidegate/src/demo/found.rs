//! What is in the lake at the end, asked for in SQL as anyone could ask.

use std::collections::BTreeMap;

use anyhow::Context as _;
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use lake::Lake;
use pipeline::Books;

use super::expected::Trial;
use super::experiment::Variation;

/// The lake's side of the books.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) bronze: u64,
    pub(crate) silver: u64,
    pub(crate) late: u64,
    pub(crate) corrected: u64,
    pub(crate) robots: u64,
    pub(crate) exposures: u64,
    /// Dead letters by stage and reason.
    pub(crate) dead: BTreeMap<(String, String), u64>,
    /// Events of people by hour of the day in UTC.
    pub(crate) hours: [u64; 24],
    pub(crate) trial: Trial,
    /// The platform's own audit.
    pub(crate) books: Books,
}

const SILVER: &str = "
    SELECT count(*) AS silver,
        count(CASE WHEN is_late THEN 1 END) AS late,
        count(CASE WHEN clock_corrected THEN 1 END) AS corrected,
        count(CASE WHEN is_bot THEN 1 END) AS robots
    FROM silver.events";

const DEAD: &str = "SELECT stage, code, count(*) AS events FROM dead_letters GROUP BY stage, code";

const HOURS: &str = "
    SELECT CAST(date_part('hour', event_time) AS BIGINT) AS hour, count(*) AS events
    FROM silver.events WHERE NOT is_bot GROUP BY 1";

const CONTAMINATED: &str =
    "SELECT CAST(sum(count) AS BIGINT) AS subjects FROM gold.experiment_counts_checkout_button WHERE measure = 'subjects_contaminated'";

/// Subjects and those who bought within a day of their first exposure, by variation.
const TRIAL: &str = "
    SELECT variation_id, CAST(sum(subjects) AS BIGINT) AS subjects, CAST(sum(sum) AS BIGINT) AS buyers
    FROM gold.experiment_metrics_checkout_button WHERE segment = 'all' AND metric = 'purchase' GROUP BY variation_id";

impl Found {
    /// Asks the lake.
    pub(crate) async fn ask(lake: &Lake) -> anyhow::Result<Self> {
        let books = pipeline::audit(lake).await.context("cannot audit the books")?;
        let session = lake.session().await?;
        let [bronze] = one(&session, "SELECT count(*) AS bronze FROM bronze.events").await?;
        let [silver, late, corrected, robots] = one(&session, SILVER).await?;
        let [exposures] = one(&session, "SELECT count(*) AS exposures FROM silver.exposures").await?;
        let mut trial = Trial { contaminated: one::<1>(&session, CONTAMINATED).await?[0], ..Trial::default() };
        for (variation, [subjects, conversions]) in by_text::<1, 2>(&session, TRIAL).await? {
            if let Some(known) = Variation::ALL.into_iter().find(|known| variation == [known.id()]) {
                let outcome = trial.of_mut(known);
                (outcome.subjects, outcome.conversions) = (subjects, conversions);
            }
        }
        let dead = by_text::<2, 1>(&session, DEAD).await?;
        let dead = dead.into_iter().map(|([stage, code], [events])| ((stage, code), events)).collect();
        let mut hours = [0; 24];
        for ([], [hour, events]) in by_text::<0, 2>(&session, HOURS).await? {
            if let Some(sum) = hours.get_mut(hour as usize) {
                *sum = events;
            }
        }
        Ok(Self { bronze, silver, late, corrected, robots, exposures, dead, hours, trial, books })
    }
}

/// Numbers of the one row that a query gives.
async fn one<const NUMBERS: usize>(session: &SessionContext, sql: &str) -> anyhow::Result<[u64; NUMBERS]> {
    let rows = by_text::<0, NUMBERS>(session, sql).await?;
    rows.into_iter().next().map(|(_, numbers)| numbers).with_context(|| format!("no row from {sql}"))
}

/// The rows of a query whose first columns are texts and whose others are numbers.
async fn by_text<const TEXTS: usize, const NUMBERS: usize>(
    session: &SessionContext,
    sql: &str,
) -> anyhow::Result<Vec<([String; TEXTS], [u64; NUMBERS])>> {
    let query = async { session.sql(sql).await?.collect().await };
    let batches = query.await.with_context(|| format!("cannot ask the lake: {sql}"))?;
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let texts = std::array::from_fn(|column| text(batch, column, row));
            let numbers = std::array::from_fn(|column| number(batch, TEXTS + column, row));
            rows.push((texts, numbers));
        }
    }
    Ok(rows)
}

fn text(batch: &RecordBatch, column: usize, row: usize) -> String {
    let texts = batch.column(column).as_string_opt::<i32>().filter(|texts| texts.is_valid(row));
    texts.map(|texts| texts.value(row).to_owned()).unwrap_or_default()
}

fn number(batch: &RecordBatch, column: usize, row: usize) -> u64 {
    let numbers = batch.column(column).as_primitive_opt::<Int64Type>().filter(|numbers| numbers.is_valid(row));
    numbers.and_then(|numbers| u64::try_from(numbers.value(row)).ok()).unwrap_or_default()
}
