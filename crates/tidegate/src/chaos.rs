//! `tidegate chaos`: a real setup under real faults, with a ledger of its own of what was acknowledged, and a verdict on every event of it.
//!
//! What is run ([`setup`]), what is done to it ([`scenario`]), who does it ([`crew`], [`disk`], [`play`]), who sends meanwhile ([`load`], [`ledger`]), what became of it
//! ([`verdict`]) and how it is told ([`report`]). Nothing here knows how the platform works: it sees what clients and readers of the tables see.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::Args;
use contract::Timestamp;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use telemetry::clock::{Clock as _, SystemClock};

mod crew;
mod disk;
mod ledger;
mod load;
mod play;
mod report;
mod scenario;
mod setup;
mod verdict;

use crate::commands::say;
use crate::misuse::Misuse;
use crate::output::{self, Format};
use crew::Crew;
use ledger::Ledger;
use load::{CLIENTS, Load, Plan};
use play::{Incident, Stage};
use report::{Report, Sample, Skipped};
use scenario::Scenario;
use setup::Setup;
use verdict::Verdict;

/// Where logs of the processes go in the folder of a run.
const LOGS: &str = "logs";
/// The data folder of an embedded platform.
const DATA: &str = "data";
/// Who sends.
const SOURCE: &str = "chaos";
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// In the end, until Silver has all of it.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(300);
const MEBIBYTE: u64 = 1024 * 1024;

/// Break a setup of its own again and again, and prove that it lost nothing
///
/// Starts the platform in a new folder, or what a setup file says, sends events to it, and meanwhile kills, freezes, cuts, slows and damages what runs, one fault after the other. It keeps a ledger of every event
/// that was answered with success. In the end each of them must be in Silver, once. What was done, how long it took to recover and what was lost or doubled stands in a report
/// with a picture, in report.html and report.json. Never point it at a setup that somebody needs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate chaos --list                               what can be played
  tidegate chaos                                      five minutes of all that suits the embedded platform
  tidegate chaos kill freeze --minutes 30             these only
  tidegate chaos disk-full --disk 1024                on a disk of its own of 1,024 MiB, filled to the last byte
  tidegate chaos mine.yaml --setup kafka.yaml         scenario and setup of one's own (docs/chaos.md)

Exit code 1 when an event was lost or doubled, or something did not recover.")]
pub(crate) struct ChaosArgs {
    /// Scenarios, by name or as files [default: all that suit the setup]
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// List the scenarios that come with the program, and end
    #[arg(long)]
    list: bool,
    /// How long to go on with faults; each scenario is played once in any case
    #[arg(long, value_name = "MINUTES", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    minutes: u64,
    /// Events a second to send; what an outage held up is sent after it
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: u64,
    /// Seconds between two faults, after everything has recovered
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pause: u64,
    /// What chance begins with: order, victims, bytes [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What to run: processes and links (YAML) [default: the platform with its embedded journal]
    #[arg(long, value_name = "FILE")]
    setup: Option<PathBuf>,
    /// A folder, new or empty, for report, ledger, logs and data
    #[arg(long, value_name = "DIR", default_value = "tidegate-chaos")]
    folder: PathBuf,
    /// MiB of a disk in memory for the data of the embedded platform, which can be filled; its data is gone at the end. The gate wants journal.disk_free_bytes_min of it to stay free
    #[arg(long, value_name = "MIB", conflicts_with = "setup", value_parser = clap::value_parser!(u64).range(64..=1_048_576))]
    disk: Option<u64>,
    /// How the faults are printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs it. Tells whether nothing was lost or doubled and everything recovered.
///
/// # Errors
///
/// What keeps it from beginning.
pub(crate) async fn run(args: ChaosArgs) -> anyhow::Result<bool> {
    if args.list {
        list(args.format)?;
        return Ok(true);
    }
    let wanted = if args.scenarios.is_empty() {
        scenario::own().map_err(|error| anyhow!(error))?
    } else {
        args.scenarios.iter().map(|name| scenario::find(name)).collect::<Result<_, _>>().map_err(Misuse)?
    };
    let folder = std::path::absolute(&args.folder).context("the folder has no absolute path")?;
    let data = folder.join(DATA);
    let setup = match &args.setup {
        Some(path) => Setup::read(path).map_err(Misuse)?,
        None => Setup::embedded(&data, faults::free_port()?),
    };
    let (scenarios, skipped) = suiting(wanted, &setup, args.disk.is_some());
    if scenarios.is_empty() {
        let why: Vec<String> = skipped.iter().map(|skipped| format!("{}: {}", skipped.scenario, skipped.why)).collect();
        return Err(Misuse(format!("none of these scenarios suits the setup ({})", why.join("; "))).into());
    }
    if !disk::is_mounted() {
        prepare(&folder)?;
        if let Some(mebibytes) = args.disk {
            return Err(disk::begin_again(&data, mebibytes * MEBIBYTE));
        }
    }
    for skipped in &skipped {
        say(&format!("not played: {} ({})", skipped.scenario, skipped.why));
    }
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let report = Box::pin(play(&args, &folder, setup, scenarios, skipped, seed)).await?;
    report.write(&folder)?;
    report.print(args.format)?;
    say(&format!("\n{}\n{}", report.sentence(), folder.join(report::PAGE).display()));
    Ok(report.is_sound())
}

fn list(format: Format) -> anyhow::Result<()> {
    let mut rows = output::stdout(format, output::heads(format, ["scenario", "what happens", "law", "by hand"]))?;
    for scenario in scenario::own().map_err(|error| anyhow!(error))? {
        rows.write([scenario.name, scenario.about, scenario.law, scenario.runbook].map(Into::into).to_vec())?;
    }
    rows.finish()?;
    Ok(())
}

/// The folder of a run: new or empty, for nothing there may be taken for this run's.
fn prepare(folder: &Path) -> anyhow::Result<()> {
    let make = || -> std::io::Result<bool> {
        std::fs::create_dir_all(folder)?;
        let is_empty = std::fs::read_dir(folder)?.next().is_none();
        if is_empty {
            std::fs::create_dir(folder.join(LOGS))?;
            std::fs::create_dir(folder.join(DATA))?;
        }
        Ok(is_empty)
    };
    if !make().with_context(|| format!("{} cannot be made", folder.display()))? {
        return Err(Misuse(format!("{} is not empty: give another one with --folder", folder.display())).into());
    }
    Ok(())
}

fn suiting(wanted: Vec<Scenario>, setup: &Setup, has_disk: bool) -> (Vec<Scenario>, Vec<Skipped>) {
    let (mut scenarios, mut skipped) = (Vec::new(), Vec::new());
    for scenario in wanted {
        match play::hindrance(&scenario, setup, has_disk) {
            None => scenarios.push(scenario),
            Some(why) => skipped.push(Skipped { scenario: scenario.name, why }),
        }
    }
    (scenarios, skipped)
}

async fn play(
    args: &ChaosArgs,
    folder: &Path,
    setup: Setup,
    scenarios: Vec<Scenario>,
    skipped: Vec<Skipped>,
    seed: u64,
) -> anyhow::Result<Report> {
    let program = std::env::current_exe().context("where this program is cannot be found out")?;
    let (about, gates) = (setup.about.clone(), setup.gates.clone());
    let mut crew = Crew::new(setup, program, folder.join(LOGS))?;
    let key = crew.told(&["source", "add", SOURCE])?.trim().to_owned();
    say(&format!("{about}; {} minutes, {} events a second, seed {seed}; logs in {}", args.minutes, args.rate, folder.join(LOGS).display()));
    let crew = tokio::task::spawn_blocking(move || crew.start_all(|_| true).map(|()| crew)).await??;

    let ledger = Arc::new(Ledger::begin(folder, usize::try_from(CLIENTS)?)?);
    let stop = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let began_at = Timestamp(SystemClock.now_micros()).to_rfc3339();
    let samples = Arc::new(Mutex::new(vec![Sample { at: 0.0, acknowledged: 0 }]));
    let sampling = tokio::spawn(sample(began, Arc::clone(&ledger), Arc::clone(&samples)));
    let interrupted = tokio::spawn(stop_on_interrupt(Arc::clone(&stop)));
    let mut load = Load::start(&Plan { gates, key, rate: args.rate, seed }, &ledger)?;
    let mut stage = Stage {
        crew,
        ledger: Arc::clone(&ledger),
        random: StdRng::seed_from_u64(seed),
        stop: Arc::clone(&stop),
        began,
        pause: Duration::from_secs(args.pause),
        has_disk: args.disk.is_some(),
    };
    let until = began + Duration::from_secs(args.minutes * 60);
    let mut playing = tokio::task::spawn_blocking(move || {
        let mut incidents = Vec::new();
        let played = stage.play(&scenarios, until, &mut incidents);
        (stage, incidents, played)
    });
    let (played, gave_up) = tokio::select! {
        played = &mut playing => (played, None),
        error = load.failed() => {
            stop.store(true, Ordering::SeqCst);
            (playing.await, Some(error))
        }
    };
    let (stage, incidents, played): (Stage, Vec<Incident>, anyhow::Result<()>) = played.context("a scenario panicked")?;
    say(&format!("{:>6.0} s  no more faults", began.elapsed().as_secs_f64()));
    let ended = match (gave_up, played) {
        (Some(error), _) | (None, Err(error)) => {
            // What is on its way may be taken or not: the ledger says no yes of it.
            drop(load);
            Err(error)
        }
        (None, Ok(())) => load.end().await,
    };
    interrupted.abort();
    sampling.abort();
    let mut report = Report {
        version: env!("CARGO_PKG_VERSION"),
        setup: about,
        began: began_at,
        seconds: began.elapsed().as_secs_f64(),
        rate: args.rate,
        seed,
        copies: 0,
        requests_in_vain: 0,
        incidents,
        skipped,
        problem: ended.err().map(|error| format!("{error:#}")),
        verdict: None,
        samples: samples.lock().unwrap_or_else(PoisonError::into_inner).clone(),
    };
    report.count(ledger.sums());
    match tokio::task::spawn_blocking(move || settle(stage)).await? {
        Ok(verdict) => report.verdict = Some(verdict),
        Err(error) => {
            report.problem = Some(report.problem.map_or_else(|| format!("{error:#}"), |problem| format!("{problem}; then {error:#}")))
        }
    }
    Ok(report)
}

/// Waits until Silver has everything, ends the platform in order, and holds the tables against the ledger; then ends the rest.
fn settle(mut stage: Stage) -> anyhow::Result<Verdict> {
    stage.crew.revive()?;
    let (acknowledged, began) = (stage.ledger.sums().acknowledged, Instant::now());
    while stage.rows_of_silver()? < acknowledged && began.elapsed() < SETTLE_TIMEOUT {
        std::thread::sleep(SAMPLE_EVERY);
    }
    say("each event is looked for in Silver");
    stage.crew.stop_all(setup::Declared::is_ours)?;
    let verdict = Verdict::ask(&stage.crew, &stage.ledger.clients())?;
    stage.crew.stop_all(|_| true)?;
    Ok(verdict)
}

async fn sample(began: Instant, ledger: Arc<Ledger>, samples: Arc<Mutex<Vec<Sample>>>) {
    let mut every = tokio::time::interval(SAMPLE_EVERY);
    loop {
        every.tick().await;
        let sample = Sample { at: began.elapsed().as_secs_f64(), acknowledged: ledger.sums().acknowledged };
        samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
    }
}

/// The first Ctrl-C ends the faults; what was acknowledged is judged all the same.
async fn stop_on_interrupt(stop: Arc<AtomicBool>) {
    if tokio::signal::ctrl_c().await.is_ok() {
        say("stopping: what was acknowledged so far is looked for in the tables");
        stop.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_suits_the_embedded_platform_is_played_on_it() {
        let setup = Setup::embedded(Path::new("data"), 1);
        let (scenarios, skipped) = suiting(scenario::own().unwrap(), &setup, false);
        let names: Vec<&str> = scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
        assert_eq!(names, ["kill", "restart", "freeze", "clock", "torn-journal", "damaged-index"]);
        assert!(skipped.iter().any(|skipped| skipped.scenario == "disk-full" && skipped.why.contains("--disk")), "{skipped:?}");
        assert!(suiting(scenario::own().unwrap(), &setup, true).0.iter().any(|scenario| scenario.name == "disk-full"));
        assert!(skipped.iter().any(|skipped| skipped.scenario == "s3-away" && skipped.why.contains("no link s3")), "{skipped:?}");
    }

    #[test]
    fn a_folder_that_is_in_use_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        prepare(&folder.path().join("new")).unwrap();
        assert!(prepare(&folder.path().join("new")).unwrap_err().to_string().contains("is not empty"));
    }
}
