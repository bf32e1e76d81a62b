//! What was measured: a table for people, JSON for programs, a picture.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use console::picture;
use contract::Timestamp;
use hdrhistogram::Histogram;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use telemetry::clock::{Clock as _, SystemClock};

use super::machine::Machine;
use crate::output;

/// The version of the document.
const VERSION: u32 = 1;
/// The longest time that is told apart, in microseconds.
const MICROS_MAX: u64 = 600_000_000;
/// Points of a picture for each half of what is left.
const POINTS_PER_HALF: u32 = 4;
/// What is told of how long something took.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)];

/// Where what was measured goes, besides standard output.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ReportArgs {
    /// Write what was measured, with the settings and the machine, to a file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw it into a file, as SVG
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

impl ReportArgs {
    /// To a file as JSON.
    #[cfg(test)]
    pub(super) fn to_json(path: &Path) -> Self {
        Self { json: Some(path.to_owned()), picture: None }
    }

    /// Prints the report, and writes what else was asked for. The picture is of the times, where there are some.
    ///
    /// # Errors
    ///
    /// What cannot be written.
    pub(super) fn tell(&self, report: &Report, times: Option<&Histogram<u64>>) -> anyhow::Result<()> {
        output::text(&report.table())?;
        if let Some(path) = &self.json {
            write(path, &format!("{}\n", serde_json::to_string_pretty(report)?))?;
        }
        if let Some(path) = &self.picture {
            write(path, &report.picture(times))?;
        }
        Ok(())
    }
}

/// What one run of a sub-command measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    version: u32,
    /// The sub-command.
    pub(super) what: String,
    /// The version of the program that measured.
    tidegate: String,
    /// When it began, RFC 3339.
    began: String,
    #[serde(default)]
    machine: Machine,
    #[serde(default)]
    settings: Map<String, Value>,
    pub(super) figures: Figures,
}

impl Report {
    /// Begins now. Settings that are null are none.
    pub(super) fn begin(what: &str, settings: Value) -> Self {
        let mut settings = if let Value::Object(settings) = settings { settings } else { Map::new() };
        settings.retain(|_, value| !value.is_null());
        Self {
            version: VERSION,
            what: what.to_owned(),
            tidegate: env!("CARGO_PKG_VERSION").to_owned(),
            began: Timestamp(SystemClock.now_micros()).to_rfc3339(),
            machine: Machine::here(),
            settings,
            figures: Figures::default(),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or is of another kind or of a newer version.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is not what `tidegate bench … --json` writes", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let report: Self = serde_json::from_str(text)?;
        if report.version > VERSION {
            bail!("it is of version {}, this program knows version {VERSION}: use the newer program that wrote it", report.version);
        }
        Ok(report)
    }

    /// Adds a figure, whose name ends in its unit. What is no number, such as a share of nothing, is left out.
    pub(super) fn set(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.figures.0.push((name.to_owned(), value));
        }
    }

    /// Adds what is told of times, which are in microseconds, in milliseconds.
    pub(super) fn set_times(&mut self, name: &str, times: &Histogram<u64>) {
        if times.is_empty() {
            return;
        }
        for (quantile, share) in QUANTILES {
            self.set(&format!("{name}_{quantile}_ms"), millis(times.value_at_quantile(share)));
        }
        self.set(&format!("{name}_max_ms"), millis(times.max()));
    }

    /// Whether the other one was made on the same machine, as far as they say.
    pub(super) fn is_of_the_same_machine(&self, other: &Self) -> bool {
        self.machine == other.machine
    }

    fn table(&self) -> String {
        let words = |name: &str| name.replace('_', " ");
        let settings =
            self.settings.iter().map(|(name, value)| (words(name), value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
        let figures = self.figures.0.iter().map(|(name, value)| (words(name), shown(*value)));
        let lines: Vec<(String, String)> = settings.chain(figures).collect();
        let width = |of: fn(&(String, String)) -> &String| lines.iter().map(|line| of(line).chars().count()).max().unwrap_or_default();
        let (names, values) = (width(|line| &line.0), width(|line| &line.1));
        lines.iter().map(|(name, value)| format!("{name:<names$}  {value:>values$}\n")).collect()
    }

    fn picture(&self, times: Option<&Histogram<u64>>) -> String {
        let title = format!("bench {}", self.what);
        let drawn = match times.filter(|times| !times.is_empty()) {
            Some(times) => {
                let points = times.iter_quantiles(POINTS_PER_HALF).map(|point| (point.quantile(), millis(point.value_iterated_to())));
                picture::percentiles(&points.collect::<Vec<_>>(), &title, "ms")
            }
            None => picture::figures(&self.figures.0, &title),
        };
        drawn.into_string()
    }
}

/// Numbers by name, in the order in which they were added.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Figures(Vec<(String, f64)>);

impl Figures {
    /// The figure of this name.
    pub(super) fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| *value)
    }

    /// The names of all.
    pub(super) fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Figures {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Figures;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("numbers by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Figures, A::Error> {
                let mut figures = Vec::new();
                while let Some(figure) = map.next_entry()? {
                    figures.push(figure);
                }
                Ok(Figures(figures))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// A histogram of times, in microseconds.
///
/// # Errors
///
/// None in practice: its bounds are sound.
pub(super) fn times() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_max(MICROS_MAX, 3)?)
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

/// A number in as many digits as are worth reading.
fn shown(value: f64) -> String {
    let digits = match value.abs() {
        magnitude if magnitude >= 1000.0 || value.fract() == 0.0 => 0,
        magnitude if magnitude >= 1.0 => 2,
        _ => 4,
    };
    format!("{value:.digits$}")
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report() -> Report {
        let mut report = Report::begin("ingest", json!({"connections": 2, "url": "http://127.0.0.1:1"}));
        report.set("events_per_second", 123_456.0);
        report.set("nothing_per_nothing", f64::NAN);
        report.set("answer_p50_ms", 0.25);
        report
    }

    #[test]
    fn what_is_written_is_read_again() {
        let report = report();
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(Report::parse(&text).unwrap(), report);
        assert_eq!((report.figures.get("answer_p50_ms"), report.figures.get("x")), (Some(0.25), None));
        assert_eq!(report.figures.names(), ["events_per_second", "answer_p50_ms"]);
        let newer = text.replacen("\"version\":1", "\"version\":2", 1);
        assert!(Report::parse(&newer).unwrap_err().to_string().contains("newer program"));
        let more = text.replacen('{', r#"{"something_new":[1],"#, 1);
        assert_eq!(Report::parse(&more).unwrap(), report);
        assert!(Report::parse("{}").is_err());
    }

    #[test]
    fn times_are_told_by_percentile() {
        let mut all = times().unwrap();
        let mut report = report();
        report.set_times("answer", &all);
        assert_eq!(report.figures.names().len(), 2, "of no times nothing is told");
        (1..=1000).for_each(|millis| all.saturating_record(millis * 1000));
        report.set_times("visible", &all);
        let near = |name: &str, expect: f64| {
            let found = report.figures.get(name).unwrap();
            assert!((found - expect).abs() <= expect * 0.002, "{name} {found}");
        };
        near("visible_p50_ms", 500.0);
        near("visible_p90_ms", 900.0);
        near("visible_p99_ms", 990.0);
        near("visible_p999_ms", 999.0);
        near("visible_max_ms", 1000.0);
    }

    #[test]
    fn people_are_told_in_a_table_and_a_picture() {
        let report = report();
        let table = report.table();
        assert!(table.contains("events per second              123456\n"), "{table}");
        assert!(table.contains("answer p50 ms                  0.2500\n"), "{table}");
        let mut all = times().unwrap();
        assert!(report.picture(Some(&all)).contains("events_per_second"), "without times it is of the figures");
        all.saturating_record(7_000);
        assert!(report.picture(Some(&all)).starts_with("<svg xmlns="));
    }
}
