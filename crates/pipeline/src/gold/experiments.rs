//! The experiments that there are: a file for each in the folder of its user, and one for the metrics that they share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use experiments::definition::{Definition, Experiment, Metric};
use experiments::report::{AgeRow, CountRow, Gold, SumsRow, ValueRow};
use lake::Lake;
use medallion::gold::experiment::Tables;

use super::fed::RECEIVED;
use super::folder::{self, failed};
use crate::config::Config;
use crate::error::Error;
use crate::rows::{collect, date, number, text, whole};

/// The file of the metrics.
const METRICS: &str = "metrics";
/// A file, with the experiment it defines or what is wrong with it.
pub type Defined = (PathBuf, Result<Experiment, Error>);

/// Reads the experiments of a folder, in order of their files' names: `metrics.yaml` has the metrics, each other `.yaml` or `.yml` an experiment.
///
/// # Errors
/// `Setting`, with the file, and the line where it is known.
pub fn load(folder: &Path) -> Result<Vec<Experiment>, Error> {
    all(folder)?.into_iter().map(|(_, outcome)| outcome).collect()
}

/// The same, each file with what came of it: for who wants to know of everything that is wrong.
///
/// # Errors
/// `Setting` where the folder or its metrics cannot be read.
pub fn all(folder: &Path) -> Result<Vec<Defined>, Error> {
    let mut paths = folder::files(folder, "experiments", &["yaml", "yml"])?;
    let metrics: BTreeMap<String, Metric> = match paths.iter().position(|path| path.file_stem().is_some_and(|name| name == METRICS)) {
        Some(place) => parsed(&paths.remove(place))?,
        None => {
            return if paths.is_empty() {
                Ok(Vec::new())
            } else {
                Err(failed(folder, &"there is no metrics.yaml, by which experiments are judged"))
            };
        }
    };
    let mut experiments: Vec<Defined> = Vec::new();
    for path in paths {
        let outcome = parsed::<Definition>(&path).and_then(|mut definition| {
            if definition.key.is_empty() {
                definition.key = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            }
            let experiment = Experiment::new(definition, &metrics).map_err(|problem| failed(&path, &problem))?;
            let other =
                experiments.iter().find(|(_, other)| other.as_ref().is_ok_and(|other| other.table_name() == experiment.table_name()));
            match other {
                Some((other, _)) => {
                    Err(failed(&path, &format!("its tables would be called like those of {}; give it another key", other.display())))
                }
                None => Ok(experiment),
            }
        });
        experiments.push((path, outcome));
    }
    Ok(experiments)
}

fn parsed<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Error> {
    serde_saphyr::from_str(&folder::text(path)?).map_err(|error| failed(path, &error.without_snippet()))
}

/// What Gold has of an experiment. A table that was not made yet has nothing.
///
/// # Errors
/// `Retry` when the store fails; `Query` for a table that is not as it is made.
pub async fn read(lake: &Lake, config: &Config, experiment: &Experiment) -> Result<Gold, Error> {
    let tables = Tables::of(experiment);
    let sums = "SELECT event_date, subjects, CAST(sum AS VARCHAR) AS sum_text, CAST(sum_of_squares AS VARCHAR) AS sum_of_squares_text, CAST(other_sum AS VARCHAR) AS other_sum_text, CAST(other_sum_of_squares AS VARCHAR) AS other_sum_of_squares_text,
            CAST(sum_of_products AS VARCHAR) AS sum_of_products_text, variation_id, segment, segment_value, metric
        FROM {} ORDER BY event_date, variation_id, segment, segment_value, metric";
    let sums = collect(lake, &tables.metrics, sums, |batch, row| {
        Some(SumsRow {
            date: date(batch, 0, row)?,
            subjects: whole(batch, 1, row),
            sum: number(batch, 2, row),
            sum_of_squares: number(batch, 3, row),
            other_sum: number(batch, 4, row),
            other_sum_of_squares: number(batch, 5, row),
            sum_of_products: number(batch, 6, row),
            variation: text(batch, 7, row),
            segment: text(batch, 8, row),
            part: text(batch, 9, row),
            metric: text(batch, 10, row),
        })
    });
    let counts = "SELECT event_date, count, variation_id, measure FROM {} ORDER BY event_date, variation_id, measure";
    let counts = collect(lake, &tables.counts, counts, |batch, row| {
        let (variation, measure) = (text(batch, 2, row), text(batch, 3, row));
        Some(CountRow { date: date(batch, 0, row)?, count: whole(batch, 1, row), variation, measure })
    });
    let values = "SELECT event_date, subjects, CAST(value AS VARCHAR) AS value_text, variation_id, metric FROM {} ORDER BY event_date, variation_id, metric, value";
    let values = collect(lake, &tables.values, values, |batch, row| {
        let (subjects, value) = (whole(batch, 1, row), number(batch, 2, row));
        Some(ValueRow { date: date(batch, 0, row)?, subjects, value, variation: text(batch, 3, row), metric: text(batch, 4, row) })
    });
    let ages = "SELECT event_date, age, CAST(sum AS VARCHAR) AS sum_text, CAST(sum_of_squares AS VARCHAR) AS sum_of_squares_text, variation_id, metric FROM {} ORDER BY event_date, variation_id, metric, age";
    let ages = collect(lake, &tables.ages, ages, |batch, row| {
        Some(AgeRow {
            date: date(batch, 0, row)?,
            age: u32::try_from(whole(batch, 1, row)).ok()?,
            sum: number(batch, 2, row),
            sum_of_squares: number(batch, 3, row),
            variation: text(batch, 4, row),
            metric: text(batch, 5, row),
        })
    });
    let kept_out = "SELECT ingest_date, sum(events) FROM {} WHERE stage = 'plan' GROUP BY ingest_date ORDER BY ingest_date";
    let kept_out = collect(lake, "gold.dead_letters_by_day", kept_out, |batch, row| Some((date(batch, 0, row)?, whole(batch, 1, row))));
    Ok(Gold {
        sums: sums.await?,
        counts: counts.await?,
        values: values.await?,
        ages: ages.await?,
        kept_out: kept_out.await?,
        final_up_to_micros: final_up_to(lake, config, &tables).await?,
    })
}

/// Up to when everything is in all tables of an experiment that is not late, in microseconds.
async fn final_up_to(lake: &Lake, config: &Config, tables: &Tables) -> Result<Option<i64>, Error> {
    let lateness = i64::try_from(config.allowed_lateness.as_micros()).unwrap_or(i64::MAX);
    let mut reached: Option<i64> = None;
    for name in [&tables.metrics, &tables.counts] {
        let Some(mut table) = lake.reader(name).await? else { return Ok(None) };
        let Some(received) = table.progress(RECEIVED).await? else { return Ok(None) };
        reached = Some(reached.map_or(received, |other| other.min(received)));
    }
    Ok(reached.map(|received| received.saturating_sub(lateness)))
}
