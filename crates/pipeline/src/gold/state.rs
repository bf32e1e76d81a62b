//! How the tables of Gold stand, and making them anew by hand.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use lake::Lake;
use medallion::gold::{Model, Span};
use serde::Serialize;

use super::{Fed, Made, fed};
use crate::config::Config;
use crate::error::Error;
use crate::tables::Names;

/// How often a running server may be faster before it is left to it.
const ATTEMPTS_MAX: u32 = 10;
const MICROS_A_DAY: i64 = 86_400_000_000;

/// How a table of Gold stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// The table.
    pub model: String,
    /// What one row stands for.
    pub grain: String,
    /// The columns that no two rows have the same values of.
    pub keys: Vec<String>,
    /// The tables it reads.
    pub reads: Vec<String>,
    /// Its rows.
    pub rows: u64,
    /// Up to which time its rows are final, but for what comes late: events up to the watermark are in. Nothing where it was never made.
    pub final_up_to: Option<String>,
    /// Partitions to be made anew.
    pub due: u64,
    /// Why, in words; empty where nothing is due.
    pub why: Vec<String>,
}

/// How the table of a model stands.
///
/// # Errors
/// As [`run`].
pub async fn state(lake: &Lake, config: &Config, model: &Arc<Model>) -> Result<State, Error> {
    let mut fed = Fed::open(lake, &Names::live(), model).await?;
    let due = fed.due(lake).await?;
    let rows = fed.table().files().await?.iter().filter_map(|file| file.rows).sum();
    let lateness = i64::try_from(config.allowed_lateness.as_micros()).unwrap_or(i64::MAX);
    Ok(State {
        model: model.name.clone(),
        grain: model.grain.clone(),
        keys: model.keys.clone(),
        reads: model.reads.iter().map(|input| input.table.clone()).collect(),
        rows,
        final_up_to: fed.received().map(|received| received.saturating_sub(lateness)).and_then(|watermark| final_up_to(model, watermark)),
        due: due.as_ref().map_or(0, |due| due.partitions.len() as u64),
        why: due.map_or_else(Vec::new, |due| due.why),
    })
}

/// Up to which time the rows of a model are final when the watermark of what it reads stands there, in microseconds: what a day waits for after itself comes off.
fn final_up_to(model: &Model, watermark: i64) -> Option<String> {
    let after = |span: &Span| match span {
        Span::Days { after, .. } => after.map(i64::from),
        Span::Whole => Some(0),
    };
    // A model that waits for all days after is never final.
    let days = model.reads.iter().map(|input| after(&input.span)).collect::<Option<Vec<_>>>()?.into_iter().max().unwrap_or_default();
    let time = DateTime::<Utc>::from_timestamp_micros(watermark.saturating_sub(days.saturating_mul(MICROS_A_DAY)))?;
    Some(time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}

/// Brings the table of a model up to what it reads, or makes it anew as a whole. Works while a server runs: where that is faster, it goes on from what the server made.
///
/// # Errors
/// `Setting` where the model's query cannot be run; `Query` and `Model` where it fails or gives what it may not; `Retry` when the store fails.
pub async fn run(lake: &Lake, model: &Arc<Model>, anew: bool) -> Result<Made, Error> {
    let mut attempts = 0;
    loop {
        let mut fed = Fed::open(lake, &Names::live(), model).await?;
        let outcome = if anew { fed.remake(lake).await } else { fed.refresh(lake).await };
        match outcome {
            Ok(made) => return Ok(made.unwrap_or_default()),
            Err(Error::Lake(error)) if is_lost(&error) && attempts < ATTEMPTS_MAX => attempts += 1,
            Err(error) => return Err(error),
        }
    }
}

fn is_lost(error: &lake::Error) -> bool {
    matches!(error.kind(), lake::ErrorKind::Fenced | lake::ErrorKind::Conflict)
}

/// The plan by which a model's query would be run over all that it reads, in words.
///
/// # Errors
/// As [`run`].
pub async fn plan(lake: &Lake, model: &Arc<Model>) -> Result<String, Error> {
    let session = lake.session().await?;
    fed::equip(&session, model, &[], true).await?;
    let frame = session.sql(&model.sql).await.map_err(Error::query(&model.name))?;
    let plan = frame.create_physical_plan().await.map_err(Error::query(&model.name))?;
    Ok(datafusion::physical_plan::displayable(plan.as_ref()).indent(false).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_days_to_come_is_final_later() {
        let check = |reads: &str, expect: Option<&str>| {
            let model = Model::parse("x", &format!("-- grain: x\n-- keys: x\n-- reads: silver.events{reads}\nSELECT")).unwrap();
            assert_eq!(final_up_to(&model, 1_795_428_000_000_000).as_deref(), expect, "{reads}");
        };
        check("", Some("2026-11-23T10:00:00.000000Z"));
        check(", 29 days before", Some("2026-11-23T10:00:00.000000Z"));
        check(", 7 days after", Some("2026-11-16T10:00:00.000000Z"));
        check(", all days after", None);
    }
}
