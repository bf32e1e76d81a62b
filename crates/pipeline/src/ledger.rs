//! The ledger: what each commit counted, as rows to query.
//!
//! The counts stand in the commits themselves, written together with the rows they count. This stage copies them into a table, once each, and the log of
//! a table is kept until that is done.

use std::time::Duration;

use lake::{Commit, Table};
use medallion::ledger::{self, Committed, Counts};
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::error::Error;
use crate::stage::{Stage, Step, Surroundings};
use crate::work::Work;
use crate::{lost, tables};

/// The tables whose commits count.
pub(crate) const COUNTED: [&str; 3] = [tables::BRONZE, tables::SILVER, tables::DEAD_LETTERS];
/// Versions that are read in one step.
const VERSIONS_MAX: i64 = 1_000;

/// The stage.
#[derive(Debug)]
pub(crate) struct Ledger {
    ledger: Table,
    counted: Vec<Source>,
    work: Work,
    /// Whether it led when it last looked: another process may have moved the tables since.
    led: bool,
    /// How often the tables are looked at, where other processes write them too.
    look_every: Duration,
    committed: watch::Receiver<i64>,
}

/// A table that is read, and how far.
#[derive(Debug)]
struct Source {
    table: Table,
    through: i64,
}

impl Ledger {
    pub(crate) async fn open(surroundings: &Surroundings<'_>, committed: watch::Receiver<i64>) -> Result<Self, Error> {
        let Surroundings { lake, config, work, .. } = surroundings.clone();
        let mut counted = Vec::new();
        for spec in [tables::bronze(), tables::silver(), tables::dead_letters()] {
            counted.push(Source { table: lake.table(&spec).await?, through: -1 });
        }
        let ledger = lake.table(&tables::ledger()).await?;
        let mut stage = Self { ledger, counted, work: work.clone(), led: true, look_every: config.ledger_interval, committed };
        stage.take_position().await?;
        Ok(stage)
    }

    async fn take_position(&mut self) -> Result<(), Error> {
        for source in &mut self.counted {
            source.through = self.ledger.progress(&tables::progress_in(source.table.name())).await?.unwrap_or(-1);
            lost::check(&mut source.table, tables::LEDGER, source.through).await?;
        }
        Ok(())
    }
}

impl Stage for Ledger {
    const NAME: &'static str = "ledger";

    async fn step(&mut self) -> Result<Step, Error> {
        let leads = self.work.makes();
        if leads && !self.led {
            self.recover().await?;
        }
        self.led = leads;
        if !leads {
            return Ok(Step::Idle);
        }
        let mut outcome = Step::Idle;
        for source in &mut self.counted {
            let newest = source.table.refresh().await?;
            if newest <= source.through {
                continue;
            }
            let through = newest.min(source.through + VERSIONS_MAX);
            let posted = posted(&source.table, source.through, through).await?;
            if !posted.is_empty() {
                let progress = vec![(tables::progress_in(source.table.name()), through)];
                let info = Map::from_iter([("stage".to_owned(), Value::from("ledger"))]);
                let rows = posted.iter().map(|posted| posted.of(source.table.name())).collect::<Vec<_>>();
                self.ledger.append(vec![ledger::batch(&rows)?], Commit { progress, info, ..Commit::default() }).await?;
                outcome = Step::Moved;
            }
            source.through = through;
            if through < newest {
                outcome = Step::More;
            }
        }
        Ok(outcome)
    }

    async fn recover(&mut self) -> Result<(), Error> {
        self.ledger.refresh().await?;
        self.take_position().await
    }

    async fn wait(&mut self) -> bool {
        tokio::select! {
            changed = self.committed.changed() => changed.is_ok(),
            () = self.work.changes() => true,
            () = tokio::time::sleep(self.look_every), if self.work.is_shared() => true,
        }
    }
}

/// What one commit counted.
#[derive(Debug)]
pub(crate) struct Posted {
    pub(crate) version: i64,
    pub(crate) counts: Counts,
    stage: String,
    input_version: Option<i64>,
}

impl Posted {
    fn of<'a>(&'a self, table_name: &'a str) -> Committed<'a> {
        let Self { version, counts, stage, input_version } = self;
        Committed { stage, table_name, table_version: *version, input_version: *input_version, counts }
    }
}

/// What the commits of a table counted, version by version.
pub(crate) async fn posted(table: &Table, after: i64, through: i64) -> Result<Vec<Posted>, Error> {
    let mut all = Vec::new();
    for (version, info) in table.infos(after, through).await? {
        if let Some(counts) = info.get("counts") {
            let unreadable = |what: String| Error::Info { table: table.name().to_owned(), version, what };
            let counts = Counts::from_json(counts).map_err(|error| unreadable(error.to_string()))?;
            let stage = info.get("stage").and_then(Value::as_str).unwrap_or_default().to_owned();
            let input_version = info.get("input_version").and_then(Value::as_i64);
            all.push(Posted { version, counts, stage, input_version });
        }
    }
    Ok(all)
}
