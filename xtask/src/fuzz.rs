//! `cargo xtask fuzz`: the decoders under random input, one target after the other or some at a time, each within bounds of memory and time.
//!
//! Needs what nothing else here does, a nightly compiler and cargo-fuzz. What an input did harm with is kept, and the command fails.

use std::collections::VecDeque;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::place::{Place, cargo};
use crate::step::{output, run as run_tool, step};

pub(crate) const USAGE: &str = "\
Usage: cargo xtask fuzz [TARGET...] [--seconds N] [--jobs N]

  TARGET       one of those in fuzz/fuzz_targets; without any, all
  --seconds N  how long each runs (60); 0: what is kept and the seeds once, nothing new
  --jobs N     how many run at a time (1)";
const TOOLCHAIN: &str = "nightly";
/// What one target may take: in all, at once, and in time for one input.
const MEMORY_MIB: u32 = 1024;
const ALLOCATION_MIB: u32 = 256;
const INPUT_SECONDS: u32 = 10;
/// How often it is told how the targets are doing.
const TELL_EVERY: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    targets: Vec<String>,
    seconds: u32,
    jobs: usize,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self { targets: Vec::new(), seconds: 60, jobs: 1 };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut number = || -> Result<u32> {
                let text = rest.next().with_context(|| format!("{argument} needs a number\n\n{USAGE}"))?;
                text.parse().with_context(|| format!("{argument} needs a number, not {text:?}\n\n{USAGE}"))
            };
            match argument.as_str() {
                "--seconds" => options.seconds = number()?,
                "--jobs" => options.jobs = number()?.max(1) as usize,
                other if other.starts_with('-') => bail!("{other} is no option\n\n{USAGE}"),
                target => options.targets.push(target.to_owned()),
            }
        }
        Ok(options)
    }
}

/// Where things are.
struct Folders {
    /// The programs of the targets.
    programs: PathBuf,
    /// Inputs that were written by hand, by target.
    seeds: PathBuf,
    /// Inputs that reached something new, by target; kept from run to run.
    corpus: PathBuf,
    /// Inputs that did harm.
    artifacts: PathBuf,
    logs: PathBuf,
}

/// Builds the targets and runs them.
///
/// # Errors
///
/// When there is no nightly compiler or no cargo-fuzz, when a target does not compile, or when an input did harm.
pub(crate) fn run(place: &Place, arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let known = targets(place)?;
    if let Some(unknown) = options.targets.iter().find(|target| !known.contains(target)) {
        bail!("{unknown} is no target; there are {}", known.join(", "));
    }
    let targets = if options.targets.is_empty() { known } else { options.targets.clone() };
    let compiler = output(nightly(place, "rustc").arg("-vV")).ok().flatten();
    let compiler = compiler.with_context(|| format!("no {TOOLCHAIN} compiler: rustup toolchain install {TOOLCHAIN} --profile minimal"))?;
    let host = compiler.lines().find_map(|line| line.strip_prefix("host: ")).context("the compiler does not say for what it compiles")?;
    output(nightly(place, "cargo").args(["fuzz", "--version"])).context("no cargo-fuzz: cargo install --locked cargo-fuzz")?;
    step("build the fuzz targets", || {
        let mut build = nightly(place, "cargo");
        build.args(["fuzz", "build", "--target-dir"]).arg(place.target());
        // The Kafka client's configure script links what it tries with objects that have the sanitizer in them already.
        build.env("LDFLAGS", format!("{} -fsanitize=address", env::var("LDFLAGS").unwrap_or_default()));
        if let [only] = targets.as_slice() {
            build.arg(only);
        }
        run_tool(&mut build)
    })?;
    let kept = place.target().join("fuzz");
    let folders = Folders {
        programs: place.target().join(host).join("release"),
        seeds: place.root().join("fuzz/seeds"),
        corpus: kept.join("corpus"),
        artifacts: kept.join("artifacts"),
        logs: kept.join("logs"),
    };
    let waiting = Mutex::new(targets.iter().cloned().collect::<VecDeque<_>>());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..options.jobs.min(targets.len()) {
            scope.spawn(|| {
                loop {
                    let Some(target) = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { break };
                    let outcome = fuzz(&folders, &target, options.seconds);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((target, outcome));
                }
            });
        }
    });
    tell(done.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// A tool of the nightly toolchain, whatever the repository's own is.
fn nightly(place: &Place, tool: &str) -> Command {
    // As if it had been called from a shell: see there.
    let from_a_shell = cargo(place);
    let mut command = Command::new("rustup");
    command.args(["run", TOOLCHAIN, tool]).current_dir(place.root());
    for (name, value) in from_a_shell.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

fn targets(place: &Place) -> Result<Vec<String>> {
    let folder = place.root().join("fuzz/fuzz_targets");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        if let Some(name) = path.file_stem().filter(|_| path.extension().is_some_and(|ending| ending == "rs")) {
            found.push(name.to_string_lossy().into_owned());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// How a target did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    executions: u64,
    coverage: u64,
    corpus: u64,
    memory_mib: u64,
    /// Why it ended before its time.
    harm: Option<String>,
}

fn fuzz(folders: &Folders, target: &str, seconds: u32) -> Result<Summary> {
    let (corpus, artifacts, log) =
        (folders.corpus.join(target), folders.artifacts.join(target), folders.logs.join(format!("{target}.log")));
    for folder in [&corpus, &artifacts, &folders.logs] {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    let out = File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
    let mut command = Command::new(folders.programs.join(target));
    command.args([
        format!("-rss_limit_mb={MEMORY_MIB}"),
        format!("-malloc_limit_mb={ALLOCATION_MIB}"),
        format!("-timeout={INPUT_SECONDS}"),
        format!("-artifact_prefix={}/", artifacts.display()),
        "-print_final_stats=1".to_owned(),
        if seconds == 0 { "-runs=0".to_owned() } else { format!("-max_total_time={seconds}") },
    ]);
    command.arg(&corpus);
    let seeds = folders.seeds.join(target);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    // The same static is in several objects, which is no fault: as cargo-fuzz has it. What was freed is kept for finding its use, within the bound of memory.
    command.env("ASAN_OPTIONS", "detect_odr_violation=0:quarantine_size_mb=64");
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(out);
    let mut child = command.spawn().with_context(|| format!("{target} cannot be started"))?;
    eprintln!("{target}: begun; {}", log.display());
    let mut told = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            eprintln!("{target}: {}", line(&summary(&read(&log))));
        }
        thread::sleep(LOOK_EVERY);
    };
    let text = read(&log);
    let mut found = summary(&text);
    if !status.success() && found.harm.is_none() {
        found.harm = Some(format!("it ended with {status}, see {}", log.display()));
    }
    eprintln!("{target}: {}", line(&found));
    Ok(found)
}

fn read(log: &Path) -> String {
    fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// What the log of a target comes to: the last line about its state, and what it says at its end.
fn summary(log: &str) -> Summary {
    let mut found = Summary::default();
    for text in log.lines() {
        let number = |name: &str| {
            let (_, rest) = text.split_once(name)?;
            let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u64>().ok()
        };
        if text.starts_with('#') {
            found.executions = number("#").unwrap_or(found.executions);
            found.coverage = number(" cov:").unwrap_or(found.coverage);
            found.corpus = number(" corp:").unwrap_or(found.corpus);
            found.memory_mib = number(" rss:").unwrap_or(found.memory_mib).max(found.memory_mib);
        }
        found.executions = number("stat::number_of_executed_units:").unwrap_or(found.executions);
        found.memory_mib = number("stat::peak_rss_mb:").unwrap_or(found.memory_mib);
        if let Some((_, path)) = text.split_once("Test unit written to ") {
            found.harm = Some(path.trim().to_owned());
        }
    }
    found
}

fn line(summary: &Summary) -> String {
    let Summary { executions, coverage, corpus, memory_mib, harm } = summary;
    let end = harm.as_ref().map_or_else(|| "nothing found".to_owned(), |harm| format!("HARM: {harm}"));
    format!("{executions} executions, coverage {coverage}, corpus {corpus}, at most {memory_mib} MiB, {end}")
}

/// A line for each target.
fn tell(mut done: Vec<(String, Result<Summary>)>) -> Result<()> {
    done.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut bad = Vec::new();
    eprintln!("\n=== fuzzing");
    for (target, outcome) in done {
        match outcome {
            Ok(summary) => {
                eprintln!("{target:<12} {}", line(&summary));
                if summary.harm.is_some() {
                    bad.push(target);
                }
            }
            Err(error) => {
                eprintln!("{target:<12} {error:#}");
                bad.push(target);
            }
        }
    }
    if bad.is_empty() { Ok(()) } else { bail!("{} did not come through; docs/fuzzing.md says what to do", bad.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read() {
        assert_eq!(parse("").unwrap(), Options { targets: Vec::new(), seconds: 60, jobs: 1 });
        let targets = vec!["json".to_owned(), "time".to_owned()];
        assert_eq!(parse("json --seconds 5 time --jobs 2").unwrap(), Options { targets, seconds: 5, jobs: 2 });
        for wrong in ["--seconds", "--seconds x", "--jobs -1", "--faster"] {
            assert!(parse(wrong).unwrap_err().to_string().contains("Usage"), "{wrong}");
        }
    }

    #[test]
    fn a_log_comes_to_a_summary() {
        let log = "INFO: seed corpus\n#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 40Mb\n\
                   #8192\tpulse  cov: 120 ft: 300 corp: 45/2Kb lim: 43 exec/s: 4096 rss: 61Mb\n";
        let expect = Summary { executions: 8192, coverage: 120, corpus: 45, memory_mib: 61, harm: None };
        assert_eq!(summary(log), expect);
        let end = "stat::number_of_executed_units: 9000\nstat::peak_rss_mb:              66\n";
        assert_eq!(summary(&format!("{log}{end}")), Summary { executions: 9000, memory_mib: 66, ..expect });
        let harm = "artifact_prefix='a/'; Test unit written to a/crash-1\n";
        assert_eq!(summary(&format!("{log}{harm}")).harm.as_deref(), Some("a/crash-1"));
        assert_eq!(summary(""), Summary::default());
    }
}
