//! The whole path in one process, with everything around it failing by a seed: processes that are killed, answers that are lost, stores that are away, clocks that jump.
//!
//! The gate, the workers and the tables are the product's own. The journal, the object store, the network and the clocks are simulated, and ask [`Schedule`](schedule) in which order things happen
//! and what fails. In the end what is there is held against the laws by a small model of what should be. A seed is one such history; the same seed is the same history again.

mod clients;
mod events;
mod journal;
mod laws;
mod plant;
mod scenario;
mod schedule;
mod shrink;
mod store;
mod world;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};

pub use laws::{Law, Violation};
pub use plant::Plant;
pub use scenario::{Act, Fault, Rates, Scenario, Sending, Shape, Step};
pub use shrink::{Smallest, shrink};
pub use world::Outcome;

/// Plays a scenario, on this thread. `plant`: a bug that is to be found; `tells`: keep what happens.
///
/// # Errors
///
/// What keeps it from being played, such as a disk that is full. What breaks a law is no error.
pub fn play(scenario: Scenario, plant: Option<Plant>, tells: bool) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.context("make a runtime")?;
    let outcome = runtime.block_on(world::World::play(scenario, plant, tells));
    runtime.shutdown_background();
    outcome
}

/// Plays seeds, so many at the same time, until `hear` says to end; tells how many were played. `scenario` says what is played of a seed.
///
/// # Errors
///
/// As [`play`], with the seed.
pub fn play_many(
    seeds: Range<u64>,
    jobs: usize,
    plant: Option<Plant>,
    scenario: &(dyn Fn(u64) -> Scenario + Sync),
    hear: &(dyn Fn(u64, &Outcome) -> bool + Sync),
) -> Result<u64> {
    let (next, played, failure) = (AtomicU64::new(seeds.start), AtomicU64::new(0), Mutex::new(None));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= seeds.end {
                return;
            }
            let goes_on = match play(scenario(seed), plant, false) {
                Ok(outcome) => {
                    played.fetch_add(1, Ordering::SeqCst);
                    hear(seed, &outcome)
                }
                Err(error) => {
                    *locked(&failure) = Some(error.context(format!("seed {seed}")));
                    false
                }
            };
            if !goes_on {
                next.store(seeds.end, Ordering::SeqCst);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(played.into_inner()),
    }
}

/// The first seed that is found to break a law, and what came of it, in the order in which they end.
///
/// # Errors
///
/// As [`play_many`].
pub fn first_broken(
    seeds: Range<u64>,
    jobs: usize,
    plant: Option<Plant>,
    scenario: &(dyn Fn(u64) -> Scenario + Sync),
) -> Result<Option<(u64, Outcome)>> {
    let first = Mutex::new(None);
    let hear = |seed, outcome: &Outcome| {
        let mut first = locked(&first);
        if first.is_none() && !outcome.violations.is_empty() {
            *first = Some((seed, outcome.clone()));
        }
        first.is_none()
    };
    play_many(seeds, jobs, plant, scenario, &hear)?;
    Ok(first.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// What a mutex holds: who panicked with it is told of by its task.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
