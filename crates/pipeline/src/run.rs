//! The stages together.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use journal::Journal;
use lake::Lake;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::bronze::Bronze;
use crate::config::Config;
use crate::error::Error;
use crate::gold::{Fed, Gold};
use crate::identities::Identities;
use crate::ledger::Ledger;
use crate::silver::Silver;
use crate::stage::{Drive, Surroundings};
use crate::status::Status;
use crate::tables::{self, Names};
use crate::work::Work;
use crate::{upkeep, watch as watching};

/// The stages of one process, ready to run.
#[derive(Debug)]
pub struct Pipeline {
    bronze: Bronze,
    silver: Silver,
    gold: Gold,
    ledger: Ledger,
    lake: Lake,
    config: Config,
    work: Work,
    status: Status,
    /// Becomes true when the stages are to end. Bronze looks at it from the start, so it is made before the stages.
    stopping: watch::Sender<bool>,
}

/// Makes the tables that are not there, for an engine that has no other way to make them as they have to be.
///
/// # Errors
/// As [`Pipeline::open`].
pub async fn prepare(lake: &Lake, config: &Config) -> Result<(), Error> {
    config.check()?;
    for spec in [tables::bronze(), tables::silver(), tables::exposures(), tables::dead_letters(), tables::ledger()] {
        lake.table(&spec).await?;
    }
    for model in config.models()?.iter() {
        Fed::open(lake, &Names::live(), model).await?;
    }
    Ok(())
}

impl Pipeline {
    /// Makes the tables that are not there, opens the index in its folder, and takes every stage's position from the tables. Where the journal is shared with
    /// other processes, it asks for its part of the work. `status` shows how the stages are doing.
    ///
    /// # Errors
    /// Of kind `Setting` when a setting cannot be used, `Retry` when a store fails, `Fatal` when the journal is not the one that the lake was fed from.
    pub async fn open(journal: Arc<dyn Journal>, lake: Lake, index_folder: PathBuf, config: Config, status: Status) -> Result<Self, Error> {
        config.check()?;
        let work = Work::of(&*journal);
        let surroundings = Surroundings { lake: &lake, config: &config, status: &status, work: &work };
        let (stopping, stop) = watch::channel(false);
        let (bronze_committed, bronze_seen) = watch::channel(-1);
        let (silver_committed, silver_seen) = watch::channel(-1);
        let bronze = Bronze::open(journal, &surroundings, stop, bronze_committed).await?;
        let names = Names::live();
        let identities = Identities::open(lake.clone(), names.events().name, index_folder, config.index.clone()).await?;
        let silver = Silver::open(identities, &names, &surroundings, bronze_seen, silver_committed).await?;
        // All that it reads was opened above, or is made by it.
        let unlisted = |error| if let Error::NoTable { table, .. } = error { Error::Unlisted(table) } else { error };
        let gold = Gold::open(&surroundings, silver_seen.clone()).await.map_err(unlisted)?;
        let ledger = Ledger::open(&surroundings, silver_seen).await?;
        Ok(Self { bronze, silver, gold, ledger, lake, config, work, status, stopping })
    }

    /// Runs the stages. When `stop` becomes true (or its sender is dropped), they bring what the journal holds all the way to Gold and end; where the journal is
    /// shared with other processes, they end after the step they are in and leave the rest to these, or to the next start.
    ///
    /// # Errors
    /// The first stage's that cannot go on; the others end where they are, and lose nothing.
    pub async fn run(self, stop: watch::Receiver<bool>) -> Result<(), Error> {
        self.run_unless(std::future::pending(), stop).await
    }

    /// As [`Pipeline::run`], unless it is given up before: then the stages are broken off where they wait, and none of them runs any more when this returns. They lose nothing, the next
    /// start goes on where the tables are. To be used where the process ends: what a stage reads with ends with the runtime, and a stage that saw that would take it for a failure.
    ///
    /// # Errors
    /// As [`Pipeline::run`]; none where it is given up.
    pub async fn run_unless(self, given_up: impl Future<Output = ()>, mut stop: watch::Receiver<bool>) -> Result<(), Error> {
        let mut given_up = pin!(given_up);
        let Self { bronze, silver, gold, ledger, lake, config, work, status, stopping } = self;
        let drive = |pace: Duration| Drive {
            pace,
            retry_pause_max: config.retry_pause_max,
            stop: stopping.subscribe(),
            leaves: work.is_shared(),
            status: status.clone(),
        };
        let mut stages = JoinSet::new();
        stages.spawn(drive(config.commit_interval).run(bronze));
        // Silver follows Bronze's pace: whatever it has committed is taken at once.
        stages.spawn(drive(Duration::ZERO).run(silver));
        stages.spawn(drive(config.gold_interval).run(gold));
        stages.spawn(drive(config.ledger_interval).run(ledger));
        stages.spawn(watching::run(lake.clone(), config.clone(), work.clone(), stopping.subscribe()));
        stages.spawn(upkeep::run(lake, config, work, stopping.subscribe()));

        let mut waiting = true;
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop), if waiting => {
                    waiting = false;
                    stopping.send_replace(true);
                }
                ended = stages.join_next() => match ended {
                    None => return Ok(()),
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(error))) => return Err(error),
                    Some(Err(_)) => return Err(Error::Panicked("pipeline")),
                },
                () = &mut given_up => break,
            }
        }
        stages.shutdown().await;
        Ok(())
    }
}
