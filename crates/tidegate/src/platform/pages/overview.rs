//! The path with its books, and how fast it goes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ::console::pages::overview::{Line, Overview, Rates, Table, page as drawn, part};
use axum::extract::State;
use axum::response::Response;
use contract::Timestamp;
use futures::StreamExt as _;
use pipeline::{Finding, Glance, Standing};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::interest::Interest;
use super::{Asking, Pages, Refused, second, show, stream};

/// Between two looks at the lake while somebody looks at the page.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long it goes on after the last one has gone.
const LINGER: Duration = Duration::from_secs(30);
/// Between two looks for what is unusual.
const UNUSUAL_EVERY: Duration = Duration::from_secs(60);
/// Over how long rates are taken.
const RATE_OVER: Duration = Duration::from_secs(10);
/// Looks that are remembered.
const SAMPLES_MAX: usize = 300;
/// A gap after which what was before says nothing about what is.
const GAP_MAX: Duration = Duration::from_secs(10);

/// What is known of the path, and who looks.
#[derive(Debug, Default)]
pub(super) struct Hub {
    known: Mutex<Known>,
    interest: Interest,
    /// The page's part, made once for all who look.
    part: watch::Sender<Arc<str>>,
    /// What is unusual, in words.
    unusual: watch::Sender<Vec<String>>,
}

#[derive(Debug, Default)]
struct Known {
    glance: Option<Glance>,
    standing: Standing,
    looked: Option<Instant>,
    samples: VecDeque<Sample>,
    unknown: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    received: u64,
    decided: u64,
}

pub(super) async fn page(State(pages): Asking) -> Response {
    show(drawn(&pages.overview().await))
}

pub(super) async fn stream(State(pages): Asking) -> Response {
    let look = pages.overview.interest.look();
    let parts = futures::stream::unfold((pages.overview.part.subscribe(), look), |(mut parts, look)| async move {
        parts.changed().await.ok()?;
        let part = Arc::clone(&parts.borrow_and_update());
        Some((stream::event("part", &part), (parts, look)))
    });
    stream::answer(parts.boxed(), &pages.closing)
}

/// Looks at the lake as long as somebody looks at the page.
pub(super) async fn feed(pages: Arc<Pages>) {
    let hub = &pages.overview;
    loop {
        hub.interest.some().await;
        let watched = async {
            let mut ticks = tokio::time::interval(LOOK_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let overview = pages.overview().await;
                hub.part.send_replace(part(&overview).into_string().into());
            }
        };
        tokio::select! {
            () = hub.interest.none_for(LINGER) => {}
            () = watched => {}
            () = unusual(&pages) => {}
        }
    }
}

/// Looks for what is unusual, again and again: less often, for it takes longer.
async fn unusual(pages: &Pages) {
    loop {
        if let Ok(lake) = pages.lake().await {
            match pipeline::anomaly::look(lake, &pages.settings.pipeline).await {
                Ok(found) => drop(pages.overview.unusual.send_replace(found.into_iter().map(|unusual| unusual.text).collect())),
                Err(error) => tracing::warn!(%error, "whether anything is unusual cannot be told, it is tried again"),
            }
        }
        tokio::time::sleep(UNUSUAL_EVERY).await;
    }
}

impl Pages {
    /// What is known now.
    pub(super) async fn overview(&self) -> Overview {
        let mut known = self.overview.known.lock().await;
        // Several that come at once are shown the same.
        if known.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY / 2) {
            known.unknown = match self.look(&mut known).await {
                Ok(()) => None,
                Err(Refused(_, why)) => Some(why),
            };
        }
        self.told(&known)
    }

    async fn look(&self, known: &mut Known) -> Result<(), Refused> {
        let lake = self.lake().await?;
        let glance = match &mut known.glance {
            Some(glance) => glance,
            None => {
                let models = self.settings.pipeline.models().map_err(Refused::unavailable)?;
                known.glance.insert(Glance::new(lake.clone(), &models))
            }
        };
        let standing = glance.look().await.map_err(Refused::unavailable)?;
        let now = Instant::now();
        let total = &standing.total;
        let decided = total.silver + total.duplicates + total.dead_letters + total.erased;
        let sample = Sample { at: now, received: total.received, decided };
        if known.samples.back().is_some_and(|last| now - last.at > GAP_MAX) {
            known.samples.clear();
        }
        known.samples.push_back(sample);
        if known.samples.len() > SAMPLES_MAX {
            known.samples.pop_front();
        }
        (known.standing, known.looked) = (standing, Some(now));
        Ok(())
    }

    fn told(&self, known: &Known) -> Overview {
        let Known { standing, samples, unknown, .. } = known;
        let now = self.lake.get().map_or(0, lake::Lake::now);
        let lateness = i64::try_from(self.settings.pipeline.allowed_lateness.as_micros()).unwrap_or(i64::MAX);
        let status = self.status.as_ref().map(pipeline::Status::get);
        let table = |table: &pipeline::TableStanding| Table {
            name: table.name.clone(),
            rows: table.rows,
            files: table.files,
            bytes: table.bytes,
            version: table.version,
            behind: table.received.zip(standing.received).map(|(received, newest)| newest - received),
        };
        Overview {
            at: second(Timestamp(now)),
            total: line(&standing.total),
            sources: standing.sources.iter().map(|(source, counts)| (source.clone(), line(counts))).collect(),
            rates: rates(samples),
            history: history(samples),
            history_seconds: samples.front().zip(samples.back()).map_or(0, |(first, last)| (last.at - first.at).as_secs()),
            journal_lag: status.as_ref().map(|progress| progress.lag_records),
            behind: standing.received.map(|received| now.saturating_sub(received)),
            watermark: standing.received.map(|received| second(Timestamp(received.saturating_sub(lateness)))),
            hindrances: status
                .map_or_else(Vec::new, |progress| progress.errors.into_iter().map(|(stage, what)| (stage.to_owned(), what)).collect()),
            findings: standing.findings.iter().map(Finding::text).collect(),
            tables: standing.tables.iter().map(table).collect(),
            unusual: self.overview.unusual.borrow().clone(),
            unknown: unknown.clone(),
        }
    }
}

fn line(counts: &pipeline::Line) -> Line {
    Line {
        received: counts.received,
        accepted: counts.accepted,
        refused: counts.refused,
        silver: counts.silver,
        duplicates: counts.duplicates,
        dead_letters: counts.dead_letters,
        erased: counts.erased,
        pending: counts.pending,
        late: counts.late,
    }
}

fn rates(samples: &VecDeque<Sample>) -> Option<Rates> {
    let last = samples.back()?;
    let first = samples.iter().find(|sample| last.at - sample.at <= RATE_OVER).filter(|first| first.at < last.at)?;
    let per_second = |from: u64, to: u64| rate(to.saturating_sub(from), last.at - first.at);
    Some(Rates { received: per_second(first.received, last.received), silver: per_second(first.decided, last.decided) })
}

/// Rates between looks that follow each other.
fn history(samples: &VecDeque<Sample>) -> Vec<f64> {
    let pairs = samples.iter().zip(samples.iter().skip(1));
    pairs.map(|(one, next)| rate(next.received.saturating_sub(one.received), next.at - one.at)).collect()
}

fn rate(events: u64, over: Duration) -> f64 {
    if over.is_zero() { 0.0 } else { events as f64 / over.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_seconds() {
        let began = Instant::now();
        let sample = |second: u64, received: u64| Sample { at: began + Duration::from_secs(second), received, decided: received / 10 };
        let samples: VecDeque<Sample> = [sample(0, 1_000_000), sample(90, 1_000_000), sample(95, 1_000_050), sample(100, 1_000_100)].into();
        let told = rates(&samples).map(|rates| (rates.received, rates.silver));
        assert_eq!(told, Some((10.0, 1.0)));
        assert_eq!(history(&samples), [0.0, 10.0, 10.0]);
        assert!(rates(&VecDeque::new()).is_none() && rates(&[sample(1, 9)].into()).is_none());
    }
}
