//! Tells how the lake stands, as metrics, while the stages run.

use std::time::Duration;

use experiments::definition::Experiment;
use experiments::report::Report;
use lake::Lake;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::anomaly::{self, Unusual};
use crate::config::Config;
use crate::error::Error;
use crate::glance::Glance;
use crate::work::Work;
use crate::{gold, metrics};

/// Between two looks at the experiments at least: their tables are not made more often.
const EXPERIMENTS_EVERY: Duration = Duration::from_secs(60);

/// Between two looks for what is unusual at most.
const ANOMALIES_EVERY_MAX: Duration = Duration::from_secs(5 * 60);

/// Looks at the lake until it is stopped, where this process does what one does for all. A look that fails leaves what the one before it found.
pub(crate) async fn run(lake: Lake, config: Config, work: Work, mut stop: watch::Receiver<bool>) -> Result<(), Error> {
    let (models, experiments) = (config.models()?, config.experiments()?);
    let mut glance = Glance::new(lake.clone(), &models);
    let mut ticks = interval(config.watch_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut findings, mut unusual) = (Vec::new(), Vec::new(), Vec::new());
    let mut experiments_at = Instant::now();
    let mut anomalies_at = Instant::now();
    let anomalies_every = (config.anomaly_window / 12).min(ANOMALIES_EVERY_MAX);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            _ = ticks.tick() => {}
        }
        if !work.leads() {
            if !told.is_empty() {
                metrics::unknown(&told);
                experiments.iter().for_each(|experiment| metrics::experiment_unknown(&experiment.definition.key));
                metrics::anomalies(None);
                told.clear();
            }
            continue;
        }
        if experiments_at <= Instant::now() {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                () = look_at(&experiments, &lake, &config) => {}
            }
            experiments_at = Instant::now() + EXPERIMENTS_EVERY;
        }
        if anomalies_at <= Instant::now() {
            let looked = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                looked = anomaly::look(&lake, &config) => looked,
            };
            note(looked, &mut unusual);
            anomalies_at = Instant::now() + anomalies_every;
        }
        let looked = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            looked = glance.look() => looked,
        };
        match looked {
            Ok(standing) => {
                if let Some(finding) = standing.findings.first().filter(|_| standing.findings != findings) {
                    let what = finding.text();
                    tracing::error!(what, "the books do not balance; `tidegate audit` tells which events it is about");
                }
                metrics::standing(&standing, config.allowed_lateness);
                findings = standing.findings;
                told = standing.tables.into_iter().map(|table| table.name).collect();
            }
            Err(error) => tracing::warn!(%error, "how the lake stands cannot be told, it is tried again"),
        }
    }
}

/// Tells what is unusual, in the log once.
fn note(looked: Result<Vec<Unusual>, Error>, known: &mut Vec<Unusual>) {
    match looked {
        Ok(found) => {
            for new in found.iter().filter(|new| !known.iter().any(|known| known.is_of(new))) {
                tracing::warn!(kind = new.kind.as_str(), what = new.text, "unusual");
            }
            metrics::anomalies(Some(&found));
            *known = found;
        }
        Err(error) => tracing::warn!(%error, "whether anything is unusual cannot be told, it is tried again"),
    }
}

/// Tells of each experiment whether its result can be trusted.
async fn look_at(experiments: &[Experiment], lake: &Lake, config: &Config) {
    for experiment in experiments {
        let key = &experiment.definition.key;
        match gold::experiments::read(lake, config, experiment).await {
            Ok(found) => metrics::experiment(key, &Report::of(experiment, &found).health),
            Err(error) => tracing::warn!(experiment = key, %error, "whether the result can be trusted cannot be told, it is tried again"),
        }
    }
}
