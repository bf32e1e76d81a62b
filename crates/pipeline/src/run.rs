//! The stages together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use journal::Journal;
use lake::Lake;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::bronze::Bronze;
use crate::config::Config;
use crate::error::Error;
use crate::gold::Gold;
use crate::identities::Identities;
use crate::ledger::Ledger;
use crate::silver::Silver;
use crate::stage::Drive;
use crate::status::Status;
use crate::upkeep;

/// The stages of one process, ready to run.
#[derive(Debug)]
pub struct Pipeline {
    bronze: Bronze,
    silver: Silver,
    gold: Gold,
    ledger: Ledger,
    lake: Lake,
    config: Config,
    status: Status,
    /// Becomes true when the stages are to end. Bronze looks at it from the start, so it is made before the stages.
    stopping: watch::Sender<bool>,
}

impl Pipeline {
    /// Makes the tables that are not there, opens the index in its folder, and takes every stage's position from the tables.
    ///
    /// # Errors
    /// Of kind `Setting` when a setting cannot be used, `Retry` when a store fails, `Fatal` when the journal is not the one that the lake was fed from.
    pub async fn open(journal: Arc<dyn Journal>, lake: Lake, index_folder: PathBuf, config: Config) -> Result<Self, Error> {
        config.check()?;
        let status = Status::default();
        let (stopping, stop) = watch::channel(false);
        let (bronze_committed, bronze_seen) = watch::channel(-1);
        let (silver_committed, silver_seen) = watch::channel(-1);
        let bronze = Bronze::open(journal, &lake, &config, status.clone(), stop, bronze_committed).await?;
        let identities = Identities::open(lake.clone(), index_folder, config.index.clone()).await?;
        let silver = Silver::open(&lake, identities, &config, status.clone(), bronze_seen, silver_committed).await?;
        let gold = Gold::open(&lake, status.clone(), silver_seen.clone()).await?;
        let ledger = Ledger::open(&lake, silver_seen).await?;
        Ok(Self { bronze, silver, gold, ledger, lake, config, status, stopping })
    }

    /// A handle that shows how the stages are doing, also while they run.
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Runs the stages. When `stop` becomes true (or its sender is dropped), they bring what the journal holds all the way to Gold and end.
    ///
    /// # Errors
    /// The first stage's that cannot go on; the others end where they are, and lose nothing.
    pub async fn run(self, mut stop: watch::Receiver<bool>) -> Result<(), Error> {
        let Self { bronze, silver, gold, ledger, lake, config, status, stopping } = self;
        let drive =
            |pace: Duration| Drive { pace, retry_pause_max: config.retry_pause_max, stop: stopping.subscribe(), status: status.clone() };
        let mut stages = JoinSet::new();
        stages.spawn(drive(config.commit_interval).run(bronze));
        // Silver follows Bronze's pace: whatever it has committed is taken at once.
        stages.spawn(drive(Duration::ZERO).run(silver));
        stages.spawn(drive(config.gold_interval).run(gold));
        stages.spawn(drive(config.ledger_interval).run(ledger));
        stages.spawn(upkeep::run(lake, config, stopping.subscribe()));

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
            }
        }
    }
}
