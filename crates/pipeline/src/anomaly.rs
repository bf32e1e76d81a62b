//! What is unusual: a source that falls silent or sends far more or less than it does, an event type that changes its volume or its shape.
//!
//! Time is divided into windows of `pipeline.anomaly_window`. The last whole one is held against those at the same time of the days before, or against those just before it where there are too few
//! days. Nothing is remembered in between: whoever looks at the same tables finds the same.

use std::collections::BTreeMap;

use contract::Timestamp;
use lake::Lake;
use serde::Serialize;

use crate::config::Config;
use crate::error::Error;
use crate::rows::{collect, integer, text, whole};
use crate::tables;

mod shape;
mod volume;

use shape::Shapes;
use volume::{Deviation, Direction, Series};

/// Where events are counted by minute, source and type.
const ACTIVITY: &str = "gold.activity_by_minute";
const DAY_MICROS: i64 = 86_400_000_000;
/// Days that a window is held against, at most.
const DAYS: i64 = 7;
/// Events of a window whose shape is looked at, at most.
const SAMPLE_MAX: usize = 20_000;
/// Findings that are told.
const FOUND_MAX: usize = 50;
/// Of a window, the part that passes before it is judged: for events that are on their way.
const SETTLES_PART: i64 = 6;
/// And at most so long, in microseconds.
const SETTLES_MAX: i64 = 10 * 60 * 1_000_000;

/// What kind of thing is unusual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A source sent nothing.
    Silent,
    /// A source sent far more than it does.
    Burst,
    /// A source sent far less than it does.
    Drop,
    /// There were far more or far fewer events of a type.
    Volume,
    /// Events of a type have other properties, or properties of another kind.
    Shape,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Silent, Self::Burst, Self::Drop, Self::Volume, Self::Shape];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Burst => "burst",
            Self::Drop => "drop",
            Self::Volume => "volume",
            Self::Shape => "shape",
        }
    }
}

/// Something unusual.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unusual {
    /// What kind of thing it is.
    pub kind: Kind,
    /// The source or event type, and for a shape the property.
    pub of: String,
    /// The same in words, with the numbers.
    pub text: String,
}

impl Unusual {
    /// Whether it is about the same thing.
    pub fn is_of(&self, other: &Self) -> bool {
        (self.kind, &self.of) == (other.kind, &other.of)
    }
}

/// Windows of time.
#[derive(Debug, Clone, Copy)]
struct Windows {
    micros: i64,
    /// The number of the last whole one, counted from 1970.
    last: i64,
}

impl Windows {
    fn at(now: i64, micros: i64) -> Self {
        let settles = (micros / SETTLES_PART).min(SETTLES_MAX);
        Self { micros, last: (now - settles).div_euclid(micros) - 1 }
    }

    fn by_day(self) -> i64 {
        DAY_MICROS / self.micros
    }

    /// From when to when, in microseconds.
    fn span(self, window: i64) -> (i64, i64) {
        (window * self.micros, (window + 1) * self.micros)
    }
}

/// What is unusual now.
///
/// # Errors
/// `Retry` when the store fails; `Query` for tables that are not as they are made.
pub async fn look(lake: &Lake, config: &Config) -> Result<Vec<Unusual>, Error> {
    look_at(lake, config, lake.now()).await
}

/// What is unusual at another time, in microseconds since 1970.
///
/// # Errors
/// As [`look`].
pub async fn look_at(lake: &Lake, config: &Config, now: i64) -> Result<Vec<Unusual>, Error> {
    let windows = Windows::at(now, i64::try_from(config.anomaly_window.as_micros()).unwrap_or(DAY_MICROS));
    let mut found = volumes(lake, windows).await?;
    found.extend(shapes(lake, windows).await?);
    found.sort_by(|one, other| (one.kind, &one.of).cmp(&(other.kind, &other.of)));
    found.truncate(FOUND_MAX);
    Ok(found)
}

async fn volumes(lake: &Lake, windows: Windows) -> Result<Vec<Unusual>, Error> {
    let (from, to) = (windows.span(windows.last - DAYS * windows.by_day()).0, windows.span(windows.last).1);
    let counted = format!(
        "SELECT source, event_type, CAST(minute AS BIGINT) / {micros} AS time_window, sum(events) AS counted FROM {{}} WHERE event_date >= DATE '{date}' AND minute >= to_timestamp_micros({from}) AND minute < \
         to_timestamp_micros({to}) GROUP BY source, event_type, CAST(minute AS BIGINT) / {micros}",
        micros = windows.micros,
        date = Timestamp(from).date_text(),
    );
    let rows = collect(lake, ACTIVITY, &counted, |batch, row| {
        Some((text(batch, 0, row), text(batch, 1, row), integer(batch, 2, row)?, whole(batch, 3, row)))
    });
    let (mut sources, mut types) = (BTreeMap::<String, Series>::new(), BTreeMap::<String, Series>::new());
    for (source, event_type, window, events) in rows.await? {
        sources.entry(source).or_default().add(window, events);
        types.entry(event_type).or_default().add(window, events);
    }
    let judge = |series: &Series| series.judge(windows.last, windows.by_day());
    let of_source = sources.iter().filter_map(|(source, series)| judge(series).map(|deviation| said_of_source(source, deviation)));
    let of_type = types.iter().filter_map(|(event_type, series)| judge(series).map(|deviation| said_of_type(event_type, deviation)));
    Ok(of_source.chain(of_type).collect())
}

fn said_of_source(source: &str, deviation: Deviation) -> Unusual {
    let Deviation { direction, found, usual } = deviation;
    let (kind, text) = match direction {
        Direction::Silent => (Kind::Silent, format!("The source {source} is silent; usual are {usual} events in this time")),
        Direction::More => (Kind::Burst, format!("The source {source} sent {found} events; usual are {usual} in this time")),
        Direction::Fewer => (Kind::Drop, format!("The source {source} sent only {found} events; usual are {usual} in this time")),
    };
    Unusual { kind, of: source.to_owned(), text }
}

fn said_of_type(event_type: &str, deviation: Deviation) -> Unusual {
    let Deviation { found, usual, .. } = deviation;
    let text = format!("There were {found} events of the type {event_type}; usual are {usual} in this time");
    Unusual { kind: Kind::Volume, of: event_type.to_owned(), text }
}

async fn shapes(lake: &Lake, windows: Windows) -> Result<Vec<Unusual>, Error> {
    let now = sample(lake, windows.span(windows.last)).await?;
    if now.is_empty() {
        return Ok(Vec::new());
    }
    let mut before = sample(lake, windows.span(windows.last - windows.by_day())).await?;
    if before.is_empty() {
        before = sample(lake, windows.span(windows.last - 1)).await?;
    }
    let changed = before.changes(&now).into_iter();
    Ok(changed
        .map(|(event_type, property, what)| Unusual {
            kind: Kind::Shape,
            text: format!("Events of the type {event_type}: the property {property} {what}"),
            of: format!("{event_type}.{property}"),
        })
        .collect())
}

/// The shapes of events that happened in this time: of all, or of so many as are looked at.
async fn sample(lake: &Lake, (from, to): (i64, i64)) -> Result<Shapes, Error> {
    let sql = format!(
        "SELECT event_type, properties FROM {{}} WHERE event_date >= DATE '{first}' AND event_date <= DATE '{last}' AND event_time >= to_timestamp_micros({from}) AND event_time < to_timestamp_micros({to}) LIMIT \
         {SAMPLE_MAX}",
        first = Timestamp(from).date_text(),
        last = Timestamp(to - 1).date_text(),
    );
    let mut shapes = Shapes::default();
    for (event_type, properties) in
        collect(lake, tables::SILVER, &sql, |batch, row| Some((text(batch, 0, row), text(batch, 1, row)))).await?
    {
        shapes.add(&event_type, &properties);
    }
    Ok(shapes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_window_is_judged_once_it_has_settled() {
        const HOUR: i64 = 3_600_000_000;
        let at = |now: i64| Windows::at(now, HOUR);
        assert_eq!((at(10 * HOUR).last, at(10 * HOUR + SETTLES_MAX).last, at(11 * HOUR).last), (8, 9, 9));
        assert_eq!((at(10 * HOUR).by_day(), at(0).span(9)), (24, (9 * HOUR, 10 * HOUR)));
    }
}
