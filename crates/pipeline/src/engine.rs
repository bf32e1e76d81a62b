//! Which engine owns the stream, and handing it over.

use chrono::SecondsFormat;
use lake::{Commit, Lake, Table, TableSpec};
use medallion::tables::Engine;
use serde_json::{Map, Value};

use crate::audit::frontier::Frontier;
use crate::error::Error;
use crate::tables;

/// How often others may be faster with something else before it is given up.
const ATTEMPTS_MAX: u32 = 20;

/// Who owns the stream, as the tables say. They differ only where handing over was broken off; it can then be done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owners {
    /// Who takes records from the journal to Bronze.
    pub bronze: Engine,
    /// Who makes Silver of Bronze.
    pub silver: Engine,
}

/// Who owns the stream. A lake that has no tables yet is the workers'.
///
/// # Errors
/// As the lake says.
pub async fn owners(lake: &Lake) -> Result<Owners, Error> {
    let mut owners = [Engine::Workers; 2];
    for (owner, table) in owners.iter_mut().zip([tables::BRONZE, tables::SILVER]) {
        if let Some(mut table) = lake.reader(table).await? {
            *owner = Engine::of(table.progress(tables::ENGINE).await?);
        }
    }
    let [bronze, silver] = owners;
    Ok(Owners { bronze, silver })
}

/// Hands the stream over to an engine; tells whether it was not its own already. The tables are made if need be. What the other engine is about to commit is refused
/// from then on, and the new owner goes on where the tables are.
///
/// # Errors
/// As the lake says.
pub async fn hand_over(lake: &Lake, to: Engine) -> Result<bool, Error> {
    let mut moved = false;
    for spec in [tables::bronze(), tables::silver()] {
        moved |= hand_over_in(lake, &spec, to).await?;
    }
    Ok(moved)
}

async fn hand_over_in(lake: &Lake, spec: &TableSpec, to: Engine) -> Result<bool, Error> {
    let mut table = lake.table(spec).await?;
    let mut attempts = 0;
    loop {
        let number = table.progress(tables::ENGINE).await?;
        if Engine::of(number) == to {
            return Ok(false);
        }
        let progress = vec![(tables::ENGINE.to_owned(), number.unwrap_or_default() + 1)];
        let info = Map::from_iter([("stage".to_owned(), Value::from("hand over")), ("to".to_owned(), Value::from(to.as_str()))]);
        match table.append(Vec::new(), Commit { progress, info, ..Commit::default() }).await {
            Ok(_) => return Ok(true),
            Err(lake::Error::Fenced { .. }) if attempts < ATTEMPTS_MAX => {
                attempts += 1;
                table.refresh().await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// How a table stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// Who owns the stage that makes it, where one engine has to.
    pub owner: Option<Engine>,
    /// Its newest version.
    pub version: i64,
    /// Versions of what it is made of that it has not taken in yet; `None` for Bronze, which is made of the journal, and for dead letters, which several stages make.
    pub behind: Option<i64>,
    /// When its newest commit was made, as RFC 3339.
    pub committed_at: Option<String>,
    /// The program that made it, as it says.
    pub committed_by: Option<String>,
    /// Its rows; files whose writer did not say how many they have are left out.
    pub rows: u64,
}

/// How the tables stand that the stages make.
///
/// # Errors
/// As the lake says.
pub async fn standing(lake: &Lake, config: &crate::Config) -> Result<Vec<Standing>, Error> {
    let Owners { bronze, silver } = owners(lake).await?;
    let mut all = Vec::new();
    let Some(bronze_table) = lake.reader(tables::BRONZE).await? else { return Ok(all) };
    let bronze_version = bronze_table.version();
    let mut silver_version = -1;
    for (name, owner) in [
        (tables::BRONZE, Some(bronze)),
        (tables::SILVER, Some(silver)),
        (tables::EXPOSURES, None),
        (tables::DEAD_LETTERS, None),
        (tables::LEDGER, None),
    ] {
        let Some(mut table) = lake.reader(name).await? else { continue };
        let mut behind = None;
        if name == tables::SILVER {
            silver_version = table.version();
            behind = Some(bronze_version - Frontier::of(&mut table).await?.whole());
        } else if name == tables::LEDGER {
            behind = Some(silver_version - table.progress(&tables::progress_in(tables::SILVER)).await?.unwrap_or(-1));
        }
        all.push(of(table, owner, behind).await?);
    }
    for model in config.models()?.iter() {
        let Some(mut table) = lake.reader(&model.name).await? else { continue };
        let mut behind = None;
        if model.reads.iter().any(|input| input.table == tables::SILVER) {
            behind = Some(silver_version - table.progress(&tables::progress_in(tables::SILVER)).await?.unwrap_or(-1));
        }
        all.push(of(table, None, behind).await?);
    }
    Ok(all)
}

async fn of(mut table: Table, owner: Option<Engine>, behind: Option<i64>) -> Result<Standing, Error> {
    let newest = table.history(1).await?.pop();
    let rows = table.files().await?.iter().filter_map(|file| file.rows).sum();
    let committed_at = newest.as_ref().and_then(|version| version.made_at).map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true));
    Ok(Standing {
        name: table.name().to_owned(),
        owner,
        version: table.version(),
        behind,
        committed_at,
        committed_by: newest.and_then(|version| version.engine),
        rows,
    })
}
