//! Tells how the lake stands, as metrics, while the stages run.

use lake::Lake;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::Config;
use crate::error::Error;
use crate::glance::Glance;
use crate::metrics;
use crate::work::Work;

/// Looks at the lake until it is stopped, where this process does what one does for all. A look that fails leaves what the one before it found.
pub(crate) async fn run(lake: Lake, config: Config, work: Work, mut stop: watch::Receiver<bool>) -> Result<(), Error> {
    let models = config.models()?;
    let mut glance = Glance::new(lake, &models);
    let mut ticks = interval(config.watch_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut findings) = (Vec::new(), Vec::new());
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            _ = ticks.tick() => {}
        }
        if !work.leads() {
            if !told.is_empty() {
                metrics::unknown(&told);
                told.clear();
            }
            continue;
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
