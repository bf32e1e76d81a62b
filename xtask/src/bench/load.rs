//! `tidegate bench …` beside a server, and the figures that it wrote.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::product::{self, KEY, Settings};
use super::running::to_end;
use super::scene::Scene;
use super::usage::family;

/// Beyond the time that a load lasts.
const PATIENCE: Duration = Duration::from_secs(60);
const EVENTS_PATIENCE: Duration = Duration::from_secs(1_800);
/// Of the scenarios with single events and with batches; of those with stages.
const LARGE_EVENT_BYTES: u32 = 1_024;
const EVENT_BYTES: u32 = 850;
/// What chance begins with: every run has the same events.
const SEED: &str = "1";

/// Numbers by name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figures(Value);

impl Figures {
    /// Of a report.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is no report.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        Self::parse(&text).with_context(|| format!("{} is no report", file.display()))
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        Ok(Self(serde_json::from_str::<Value>(text)?.get("figures").context("it has no figures")?.clone()))
    }

    /// # Errors
    ///
    /// When there is none of that name.
    pub(crate) fn get(&self, name: &str) -> Result<f64> {
        self.find(name).with_context(|| format!("the report has no {name}"))
    }

    pub(crate) fn find(&self, name: &str) -> Option<f64> {
        self.0.get(name).and_then(Value::as_f64)
    }
}

/// A server that is measured.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) url: String,
    /// The process whose use of CPU and memory is measured too, with what it has started.
    pub(crate) process: u32,
}

/// How it is loaded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Events in a request.
    pub(crate) batch: u32,
    pub(crate) connections: u32,
    /// Events a second; as fast as it answers where there is none.
    pub(crate) rate: Option<u32>,
    pub(crate) seconds: u32,
}

impl Load {
    /// One event a request, as fast as it is answered.
    pub(crate) fn singles(seconds: u32) -> Self {
        Self { batch: 1, connections: 64, rate: None, seconds }
    }

    /// 500 events a request. Fewer connections, so that no side tells to wait: all of what is in work has room.
    pub(crate) fn batches(seconds: u32) -> Self {
        Self { batch: 500, connections: 16, rate: None, seconds }
    }
}

/// Loads a server, and measures it from outside.
///
/// # Errors
///
/// When it cannot be reached, or refuses or loses requests: what is fast because it fails is no figure.
pub(crate) fn ingest(scene: &Scene<'_>, name: &str, target: &Target, load: Load) -> Result<Figures> {
    let (report, picture) = (scene.kept(&format!("{name}.json")), scene.kept(&format!("{name}.svg")));
    let mut bench = scene.tidegate();
    bench.args(["bench", "ingest", "--url", &target.url, "--key", KEY, "--path", "/v1/events"]);
    bench.args(["--connections", &load.connections.to_string(), "--batch", &load.batch.to_string()]);
    bench.args(["--seconds", &load.seconds.to_string(), "--event-bytes", &LARGE_EVENT_BYTES.to_string()]);
    if let Some(rate) = load.rate {
        bench.args(["--rate", &rate.to_string()]);
    }
    for process in family(target.process) {
        bench.args(["--pid", &process.to_string()]);
    }
    bench.arg("--json").arg(&report).arg("--picture").arg(picture);
    let patience = PATIENCE + 2 * Duration::from_secs(load.seconds.into());
    to_end("tidegate bench ingest", &mut bench, &scene.kept(name), patience)?;
    let figures = Figures::read(&report)?;
    for trouble in ["errors", "unanswered_requests"] {
        if figures.find(trouble).is_some_and(|count| count > 0.0) {
            bail!("{} requests: {trouble} in {}", figures.get(trouble)?, report.display());
        }
    }
    Ok(figures)
}

/// A sub-command of `tidegate bench` that writes a report, such as `limits`, on the data of a folder.
///
/// # Errors
///
/// When it fails, or takes longer than `patience`.
pub(crate) fn bench(
    scene: &Scene<'_>,
    name: &str,
    data: &Path,
    settings: &Settings,
    arguments: &[&str],
    patience: Duration,
) -> Result<Figures> {
    let report = scene.kept(&format!("{name}.json"));
    let mut bench = product::command(scene, data, settings, &["bench"]);
    bench.args(arguments).arg("--json").arg(&report);
    to_end(&format!("tidegate bench {}", arguments.first().unwrap_or(&"")), &mut bench, &scene.kept(name), patience)?;
    Figures::read(&report)
}

/// Writes events to a file, one a line: the same each time, one in a hundred a copy, one in twenty late.
///
/// # Errors
///
/// When they cannot be made or written.
pub(crate) fn write_events(scene: &Scene<'_>, file: &Path, events: u32) -> Result<()> {
    write(scene, file, events, EVENT_BYTES, ["0.01", "0.05"])
}

/// The same with events as [`ingest`] sends them: of another size, each of its own, none of them late.
///
/// # Errors
///
/// As [`write_events`].
pub(crate) fn write_large_events(scene: &Scene<'_>, file: &Path, events: u32) -> Result<()> {
    write(scene, file, events, LARGE_EVENT_BYTES, ["0", "0"])
}

fn write(scene: &Scene<'_>, file: &Path, events: u32, bytes: u32, [copies, late]: [&str; 2]) -> Result<()> {
    let mut bench = scene.tidegate();
    bench.args(["bench", "events", "--count", &events.to_string(), "--event-bytes", &bytes.to_string()]);
    bench.args(["--copies", copies, "--late", late, "--seed", SEED]);
    let ended = to_end("tidegate bench events", &mut bench, &scene.temporary("events"), EVENTS_PATIENCE)?;
    fs::rename(ended.out, file).with_context(|| format!("{} cannot be written", file.display()))
}

/// Sends the events of a file to a gate, and returns when it has said yes to all.
///
/// # Errors
///
/// When one was refused, or could not be delivered.
pub(crate) fn send(scene: &Scene<'_>, url: &str, file: &Path) -> Result<()> {
    let mut send = scene.tidegate();
    send.arg("send").arg(file).args(["--url", url, "--key", KEY, "--format", "json"]);
    to_end("tidegate send", &mut send, &scene.kept("send"), EVENTS_PATIENCE).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_name() {
        let figures = Figures::parse("{\"version\":1,\"figures\":{\"events_per_second\":12.5}}").unwrap();
        assert_eq!(figures.get("events_per_second").unwrap(), 12.5);
        assert_eq!(figures.find("waits"), None);
        assert!(figures.get("waits").unwrap_err().to_string().contains("waits"));
        assert!(Figures::parse("{}").is_err());
    }
}
