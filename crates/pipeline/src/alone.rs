//! Silver's stage by itself, for whoever measures what its step costs.

use std::path::PathBuf;

use lake::Lake;
use tokio::sync::watch;

use crate::config::Config;
use crate::error::Error;
use crate::identities::Identities;
use crate::silver::Silver;
use crate::stage::{Stage as _, Step, Surroundings};
use crate::status::{Progress, Status};
use crate::tables::Names;
use crate::work::Work;

/// The stage that makes Silver of Bronze, exactly as [`crate::Pipeline`] runs it, with nothing before, beside or behind it. Nothing else may run on the lake.
#[derive(Debug)]
pub struct SilverAlone {
    silver: Silver,
    status: Status,
    /// Who would tell it of Bronze, and whom it would tell: nobody here, but it needs them.
    _bronze: watch::Sender<i64>,
    _gold: watch::Receiver<i64>,
}

impl SilverAlone {
    /// Opens it, with the index of identities in this folder as it is.
    ///
    /// # Errors
    /// As [`crate::Pipeline::open`].
    pub async fn open(lake: &Lake, index_folder: PathBuf, config: &Config) -> Result<Self, Error> {
        config.check()?;
        let (status, work, names) = (Status::default(), Work::whole(), Names::live());
        let surroundings = Surroundings { lake, config, status: &status, work: &work };
        let (bronze, bronze_seen) = watch::channel(-1);
        let (committed, gold) = watch::channel(-1);
        let identities = Identities::open(lake.clone(), names.events().name, index_folder, config.index.clone()).await?;
        let silver = Silver::open(identities, &names, &surroundings, bronze_seen, committed).await?;
        Ok(Self { silver, status, _bronze: bronze, _gold: gold })
    }

    /// Takes one step. `false`: there was nothing to do.
    ///
    /// # Errors
    /// What the step failed with. It is to be opened again then.
    pub async fn step(&mut self) -> Result<bool, Error> {
        Ok(Box::pin(self.silver.step()).await? != Step::Idle)
    }

    /// What it has done so far.
    pub fn progress(&self) -> Progress {
        self.status.get()
    }

    /// The index of identities as it is now; `None` where it has to be made anew.
    pub fn index(&self) -> Option<dedup::Stats> {
        self.silver.index()
    }
}
