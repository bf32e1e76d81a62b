//! A hold: the live Silver stage stands still for a while, so that a cut-over is not overtaken between what it decides and what it commits.
//!
//! It is progress in Silver's events, and every commit of the stage relies on it: whoever asks for a hold refuses the commit that is about to be made, and the stage finds
//! it when it takes its place from the tables anew. It stands until a time, which is put off as long as the work goes on, so one whose asker died ends by itself within
//! seconds; and no stage stands still for longer than a hold may reach ahead, whatever the clocks of two machines are. Without it a cut-over is right all the same, but
//! only as fast as its luck.

use std::time::Duration;

use lake::{Commit, Lake, Table};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::error::Error;
use crate::tables::{self, HOLD, Names};

/// How far ahead of now a hold reaches: so long a stage stands still after the asker has died.
const AHEAD: Duration = Duration::from_secs(30);
/// How far ahead of a stage's own clock a hold is believed.
const BELIEVED: Duration = Duration::from_secs(60);
/// How often it is put off.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// So long the live stages stand still at most.
const TOTAL_MAX: Duration = Duration::from_secs(15 * 60);
/// How often others may be faster with something else before it is given up.
const ATTEMPTS_MAX: u32 = 20;

/// Whether a hold stands at this time, in microseconds since 1970. One that reaches too far ahead is of a clock that is wrong, this one or the other.
pub(crate) fn stands(progress: Option<i64>, now: i64) -> bool {
    let until = progress.filter(|progress| progress % 2 == 0).unwrap_or_default();
    (1..=micros(BELIEVED)).contains(&until.saturating_sub(now))
}

/// Until when a hold stands that is asked for now: an even number, and greater than the one before, as progress has to be.
fn until(before: Option<i64>, now: i64) -> i64 {
    let until = now.saturating_add(micros(AHEAD));
    even_after(before.unwrap_or_default().max(until - 2))
}

/// A hold that is lifted: an odd number.
fn lifted(before: i64) -> i64 {
    even_after(before) + 1
}

fn even_after(number: i64) -> i64 {
    number.saturating_add(2) & !1
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Does the work while the live Silver stage stands still. It is lifted whatever comes of the work.
///
/// # Errors
/// Those of the work; `Retry` when the store fails, and where the work takes longer than the stages may stand still.
pub(crate) async fn during<T>(lake: &Lake, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut table = lake.table(&Names::live().events()).await?;
    let began = Instant::now();
    set(&mut table, |before| until(before, lake.now())).await?;
    let renew = async {
        while began.elapsed() < TOTAL_MAX {
            tokio::time::sleep(RENEW_EVERY).await;
            set(&mut table, |before| until(before, lake.now())).await?;
        }
        let what = format!(
            "the live stages stood still for {} min and the work was not done; try again when less is coming in",
            TOTAL_MAX.as_secs() / 60
        );
        Err(lake::Error::Conflict { table: tables::SILVER.to_owned(), what }.into())
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        error = renew => error,
    };
    if let Err(error) = set(&mut table, |before| lifted(before.unwrap_or_default())).await {
        tracing::warn!(%error, seconds = AHEAD.as_secs(), "the live stages go on when the hold ends by itself");
    }
    outcome
}

async fn set(table: &mut Table, to: impl Fn(Option<i64>) -> i64) -> Result<(), Error> {
    let mut attempts = 0;
    loop {
        table.refresh().await?;
        let before = table.progress(HOLD).await?;
        let info = Map::from_iter([("stage".to_owned(), Value::from("hold"))]);
        match table.append(Vec::new(), Commit { progress: vec![(HOLD.to_owned(), to(before))], info, ..Commit::default() }).await {
            Ok(_) => return Ok(()),
            Err(lake::Error::Fenced { .. } | lake::Error::Conflict { .. }) if attempts < ATTEMPTS_MAX => attempts += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_stands_until_its_time_or_until_it_is_lifted() {
        let now = 1_764_000_000_000_001;
        assert!(!stands(None, now));
        let first = until(None, now);
        let check = |progress: i64, now: i64, expect: bool| assert_eq!(stands(Some(progress), now), expect, "{progress} at {now}");
        check(first, now, true);
        check(first, first - 1, true);
        check(first, first, false);
        check(lifted(first), now, false);
        // Of a clock that is ahead of this one.
        check(first, now - 60_000_000, false);
        check(i64::MAX - 1, now, false);
        // Put off at the same moment, and asked for anew after it was lifted: always a greater number, and it stands.
        let mut before = first;
        for _ in 0..3 {
            let next = until(Some(before), now);
            assert!(next > before && next % 2 == 0 && lifted(next) > next, "{before} {next}");
            assert!(stands(Some(next), now + 100), "{next}");
            before = lifted(next);
        }
    }
}
