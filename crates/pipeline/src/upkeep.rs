//! Keeps the tables small: joins small files, takes out what is no longer to be kept, deletes versions and files that nobody needs.

use contract::Timestamp;
use lake::{Lake, Table};
use medallion::frontier::BUCKETS;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::config::Config;
use crate::error::Error;
use crate::gold::Models;
use crate::ledger::COUNTED;
use crate::work::Work;
use crate::{replay, retention, tables};

/// Does the upkeep until it is stopped. What fails is tried again when it is due again: nothing depends on it soon.
pub(crate) async fn run(lake: Lake, config: Config, work: Work, mut stop: watch::Receiver<bool>) -> Result<(), Error> {
    let models = config.models()?;
    let every = |period| {
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    };
    let (mut compaction, mut cleaning) = (every(config.compaction_interval), every(config.cleaning_interval));
    loop {
        let clean = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            _ = compaction.tick() => false,
            _ = cleaning.tick() => true,
        };
        if !work.leads() {
            continue;
        }
        if clean {
            let expired = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                expired = retention::expire(&lake, &config, Timestamp(lake.now()), false) => expired,
            };
            if let Err(error) = expired {
                tracing::warn!(%error, "rows that are no longer to be kept stay until it is looked for them again");
            }
        }
        for name in tables_of(&models) {
            // A compaction given up half-way leaves files that belong to nothing; cleaning deletes them in time.
            let work = async { if clean { self::clean(&lake, &name, &models).await } else { compact(&lake, &name, &config).await } };
            let outcome = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                outcome = work => outcome,
            };
            if let Err(error) = outcome {
                tracing::warn!(table = name, %error, "the upkeep of a table failed and will be done when it is due again");
            }
        }
    }
}

fn tables_of(models: &Models) -> Vec<String> {
    let own = [tables::BRONZE, tables::SILVER, tables::EXPOSURES, tables::DEAD_LETTERS, tables::LEDGER].map(str::to_owned);
    own.into_iter().chain(models.iter().map(|model| model.name.clone())).collect()
}

async fn compact(lake: &Lake, name: &str, config: &Config) -> Result<(), Error> {
    let Some(mut table) = lake.reader(name).await? else { return Ok(()) };
    let done = table.compact(&config.compaction).await?;
    if done.files_before > 0 {
        let lake::Compacted { files_before, files_after, bytes_after, .. } = done;
        tracing::debug!(table = name, files_before, files_after, bytes_after, "joined small files");
    }
    Ok(())
}

async fn clean(lake: &Lake, name: &str, models: &Models) -> Result<(), Error> {
    let Some(mut table) = lake.reader(name).await? else { return Ok(()) };
    let needed_from = needed_from(lake, &table, models).await?;
    let options = lake.options();
    let versions = table.trim_log(options.log_retention, needed_from).await?;
    let files = table.vacuum(options.file_retention, needed_from).await?;
    if versions + files > 0 {
        tracing::info!(table = name, versions, files, "deleted what nobody needs any more");
    }
    Ok(())
}

/// The oldest version of the table that a stage has still to read. `None`: no stage reads it by version.
pub(crate) async fn needed_from(lake: &Lake, table: &Table, models: &Models) -> Result<Option<i64>, Error> {
    let name = table.name();
    let by_version = || vec![tables::progress_in(name)];
    let mut readers = Vec::new();
    if COUNTED.contains(&name) {
        readers.push((tables::LEDGER.to_owned(), by_version()));
    }
    if name == tables::BRONZE {
        readers.push((tables::SILVER.to_owned(), (0..BUCKETS).map(tables::progress_in_bucket).collect()));
    }
    let mut needed: Option<i64> = None;
    if name == tables::BRONZE {
        // A rebuild reads the version it began with, and then goes on from there as Silver does.
        for build in tables::builds(&lake.tables().await?) {
            let mut reader = lake.table(&build.events()).await?;
            let mut least = i64::MAX;
            for bucket in 0..BUCKETS {
                least = least.min(reader.progress(&tables::progress_in_bucket(bucket)).await?.unwrap_or(-1));
            }
            let from = if least >= 0 { least + 1 } else { replay::began_at(&reader).await?.unwrap_or_default() };
            needed = Some(needed.map_or(from, |needed| needed.min(from)));
        }
    }
    readers.extend(models.reading(name).map(|model| (model.name.clone(), by_version())));
    for (reader, progress) in readers {
        let mut reader = lake.reader(&reader).await?;
        for progress in progress {
            let through = match &mut reader {
                Some(reader) => reader.progress(&progress).await?.unwrap_or(-1),
                None => -1,
            };
            needed = Some(needed.map_or(through + 1, |needed| needed.min(through + 1)));
        }
    }
    Ok(needed)
}
