//! Plays seeds, and says how to play those again in which a law was broken.

use std::collections::BTreeMap;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, ValueEnum as _};
use simulation::{Fault, Outcome, Plant, Scenario, first_broken, play, play_many, shrink};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Plays seeds: each is the whole path with processes that die, answers that are lost and stores that are away, held against the laws in the end.
#[derive(Debug, Parser)]
#[command(name = "simulation")]
struct Arguments {
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many seeds
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// Plays this one seed, and tells what happens
    #[arg(long)]
    seed: Option<u64>,
    /// Only these steps of the seed
    #[arg(long, value_delimiter = ',', requires = "seed")]
    steps: Option<Vec<usize>>,
    /// Without these faults
    #[arg(long, value_delimiter = ',')]
    without: Vec<Fault>,
    /// With this bug
    #[arg(long)]
    plant: Option<Plant>,
    /// Plants each of the bugs in turn, and looks for it in so many seeds
    #[arg(long)]
    plants: bool,
    /// Seeds that are played at the same time
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, std::num::NonZero::get))]
    jobs: usize,
}

impl Arguments {
    fn range(&self) -> Range<u64> {
        self.from..self.from.saturating_add(self.seeds)
    }
}

fn main() -> Result<ExitCode> {
    // What the product says of all that fails is much, and is wanted only where somebody looks for why.
    let wanted = EnvFilter::builder().with_default_directive(LevelFilter::OFF.into()).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(wanted).with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.seed {
        return one(&arguments, seed);
    }
    if arguments.plants { plants(&arguments) } else { many(&arguments) }
}

fn scenario(arguments: &Arguments, seed: u64) -> Scenario {
    let scenario = Scenario::of(seed);
    let scenario = arguments.steps.as_ref().map_or_else(|| scenario.clone(), |steps| scenario.only(steps));
    arguments.without.iter().fold(scenario, |scenario, fault| scenario.without(*fault))
}

fn one(arguments: &Arguments, seed: u64) -> Result<ExitCode> {
    let scenario = scenario(arguments, seed);
    for (number, step) in scenario.steps.iter().enumerate() {
        eprintln!("step {number}: after {:?} {:?}", step.after, step.act);
    }
    let outcome = play(scenario, arguments.plant, true)?;
    eprint!("{}", outcome.story.as_deref().unwrap_or_default());
    eprintln!("{}", line(seed, &outcome));
    for violation in &outcome.violations {
        eprintln!("  {violation}");
    }
    Ok(if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(seed: u64, outcome: &Outcome) -> String {
    let Outcome { turns, digest, accepted, records, kills, waits, .. } = outcome;
    format!("seed {seed}: {turns} turns ({digest}), {accepted} accepted, {records} records, {kills} kills, {waits} told to wait")
}

fn many(arguments: &Arguments) -> Result<ExitCode> {
    let began = Instant::now();
    let (broken, totals) = (Mutex::new(BTreeMap::new()), Mutex::new((0_u64, 0_u64, 0_u64)));
    let played = play_many(arguments.range(), arguments.jobs, arguments.plant, &|seed| scenario(arguments, seed), &|seed, outcome| {
        let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.0 += outcome.turns;
        totals.1 += outcome.accepted as u64;
        totals.2 += outcome.kills as u64;
        if !outcome.violations.is_empty() {
            eprintln!("{}", line(seed, outcome));
            for violation in &outcome.violations {
                eprintln!("  {violation}");
            }
            broken.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, outcome.clone());
        }
        true
    })?;
    let (turns, accepted, kills) = *totals.lock().unwrap_or_else(PoisonError::into_inner);
    let seconds = began.elapsed().as_secs_f64();
    eprintln!(
        "{played} seeds in {seconds:.0} s ({:.0} an hour): {turns} turns, {accepted} events accepted, {kills} kills",
        played as f64 * 3_600.0 / seconds
    );
    let broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
    let Some((seed, outcome)) = broken.iter().next() else {
        eprintln!("no law was broken");
        return Ok(ExitCode::SUCCESS);
    };
    eprintln!("{} seeds broke a law; making the first smaller", broken.len());
    if let Some(law) = outcome.violations.first().map(|violation| violation.law) {
        let smallest = shrink(&scenario(arguments, *seed), arguments.plant, law, outcome.clone())?;
        let steps: Vec<String> = smallest.steps.iter().map(ToString::to_string).collect();
        let without: Vec<String> =
            arguments.without.iter().chain(&smallest.without).map(|fault| format!("{fault:?}").to_lowercase()).collect();
        eprint!("again: cargo xtask simulate --seed {seed} --steps {}", steps.join(","));
        if !without.is_empty() {
            eprint!(" --without {}", without.join(","));
        }
        if let Some(plant) = arguments.plant.and_then(|plant| plant.to_possible_value()) {
            eprint!(" --plant {}", plant.get_name());
        }
        eprintln!();
    }
    Ok(ExitCode::FAILURE)
}

fn plants(arguments: &Arguments) -> Result<ExitCode> {
    let mut missed = 0;
    for plant in Plant::ALL {
        let found = first_broken(arguments.range(), arguments.jobs, Some(plant), &|seed| scenario(arguments, seed))?;
        match found.and_then(|(seed, outcome)| Some((seed, outcome.violations.first()?.clone()))) {
            Some((seed, violation)) => eprintln!("{plant:?}: found in seed {seed}: {violation}"),
            None => {
                eprintln!("{plant:?}: not found in {} seeds", arguments.seeds);
                missed += 1;
            }
        }
    }
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
