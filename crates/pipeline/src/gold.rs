//! Silver → Gold: aggregates by SQL, made again where their input changed.
//!
//! Each model is a query over tables of Silver, or of Gold before it. What changed since the model's last commit is read off the logs of these tables; the partitions that hang
//! on it are computed anew as a whole and replaced in one commit, together with the versions they have come to. So a late event corrects every aggregate it touches, and doing it
//! twice changes nothing.

use std::time::Duration;

use lake::Lake;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::Error;
use crate::metrics;
use crate::stage::{Stage, Step, Surroundings};
use crate::status::Status;
use crate::tables::{self, Names};
use crate::work::Work;

mod columns;
pub mod experiments;
mod fed;
mod folder;
mod models;
pub mod state;
mod unlike;

pub(crate) use fed::{Fed, RECEIVED};
pub use fed::{Made, definition};
pub use models::Models;

/// Silver is looked at no more often than this by itself: each look is a request to the store.
const LOOK_MIN: Duration = Duration::from_secs(1);
/// A model with a pace of its own rests so many times as long as it took, so that a large one leaves the machine to the others.
const REST: u32 = 4;

/// The stage.
#[derive(Debug)]
pub(crate) struct Gold {
    lake: Lake,
    models: Vec<Paced>,
    work: Work,
    /// Whether it led when it last looked: another process may have moved the tables since.
    led: bool,
    /// How often Silver is looked at, where other processes write it too.
    look_every: Duration,
    status: Status,
    committed: watch::Receiver<i64>,
}

/// A model and when it is made anew again.
#[derive(Debug)]
struct Paced {
    fed: Fed,
    /// Not before; `None`: at once.
    next: Option<Instant>,
}

impl Paced {
    /// Sets it to rest after it was made, or failed to be, since then.
    fn rest(&mut self, began: Instant) {
        let every = self.fed.model().every;
        let pause = if every.is_zero() { every } else { every.max(began.elapsed() * REST) };
        self.next = Instant::now().checked_add(pause);
    }
}

impl Gold {
    pub(crate) async fn open(surroundings: &Surroundings<'_>, committed: watch::Receiver<i64>) -> Result<Self, Error> {
        let Surroundings { lake, config, status, work } = surroundings.clone();
        let mut models = Vec::new();
        for model in config.models()?.iter() {
            models.push(Paced { fed: Fed::open(lake, &Names::live(), model).await?, next: None });
        }
        let (look_every, status) = (config.gold_interval, status.clone());
        Ok(Self { lake: lake.clone(), models, work: work.clone(), led: true, look_every, status, committed })
    }

    /// Brings a model up to what it reads. A model whose query fails holds no other one up, and is tried again with the next change or look.
    async fn refresh(&mut self, number: usize) -> Result<bool, Error> {
        let Some(paced) = self.models.get_mut(number) else { return Ok(false) };
        let began = Instant::now();
        match paced.fed.refresh(&self.lake).await {
            Ok(made) => {
                if made.is_some() {
                    paced.rest(began);
                }
                Ok(made.is_some())
            }
            Err(error @ (Error::Query { .. } | Error::Memory { .. } | Error::Model { .. })) => {
                tracing::error!(model = paced.fed.model().name, %error, "a model of Gold cannot be made, the others go on");
                self.status.set_error(Self::NAME, &error);
                metrics::failed(Self::NAME);
                // Not again before its time: what is wrong with it is seldom mended in a second.
                paced.rest(began);
                Err(error)
            }
            Err(error) => Err(error),
        }
    }
}

impl Stage for Gold {
    const NAME: &'static str = "gold";

    async fn step(&mut self) -> Result<Step, Error> {
        let leads = self.work.makes();
        if leads && !self.led {
            self.recover().await?;
        }
        self.led = leads;
        if !leads {
            return Ok(Step::Idle);
        }
        // At the end everything is brought up, whatever its pace.
        let is_ending = self.committed.has_changed().is_err();
        let (mut outcome, mut failures) = (Step::Idle, 0_u32);
        for number in 0..self.models.len() {
            let now = Instant::now();
            let is_early = self.models.get(number).and_then(|paced| paced.next).is_some_and(|next| now < next);
            if is_early && !is_ending {
                continue;
            }
            match self.refresh(number).await {
                Ok(true) => outcome = Step::Moved,
                Ok(false) => {}
                Err(Error::Query { .. } | Error::Memory { .. } | Error::Model { .. }) => failures += 1,
                Err(error) => return Err(error),
            }
        }
        if failures == 0 {
            self.status.clear_error(Self::NAME);
        }
        let through = self
            .models
            .iter()
            .filter(|paced| paced.fed.model().every.is_zero())
            .filter_map(|paced| paced.fed.through(tables::SILVER))
            .min();
        self.status.update(|progress| progress.gold_version = through);
        Ok(outcome)
    }

    async fn recover(&mut self) -> Result<(), Error> {
        for Paced { fed, .. } in &mut self.models {
            fed.take_position_anew().await?;
        }
        Ok(())
    }

    async fn wait(&mut self) -> bool {
        tokio::select! {
            changed = self.committed.changed() => changed.is_ok(),
            () = self.work.changes() => true,
            // Also where this process has all the work: a rebuild that takes the place of Silver is another process's.
            () = tokio::time::sleep(self.look_every.max(LOOK_MIN)) => true,
        }
    }
}
