//! The settings of the workers.

use std::path::PathBuf;
use std::time::Duration;

use contract::json;
use experiments::definition::Experiment;
use medallion::silver::Rules;
use serde::{Deserialize, Serialize};

use crate::gold::Models;
use crate::retention::Retention;

/// The settings of the workers, each with a default that is safe for a laptop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How often Bronze and Silver are committed while events come: the greater part of the time from the gate's answer until an event can be queried.
    #[serde(with = "humantime_serde")]
    pub commit_interval: Duration,
    /// Records that one commit of Bronze takes from the journal at most. Bounds the memory of a commit.
    pub batch_records_max: usize,
    /// Bytes that it takes at most.
    pub batch_bytes_max: usize,
    /// Bronze rows that one commit of Silver takes at most, unless a single commit of Bronze has more.
    pub silver_rows_max: u64,
    /// Bytes of events that it takes at most, unless a single commit of Bronze has more. Bounds the memory of a step of Silver, which holds several times as many.
    pub silver_bytes_max: u64,
    /// How far a client's clock may be off before the times it sends are corrected. Changing it changes Silver from then on, and in a rebuild throughout.
    #[serde(with = "humantime_serde")]
    pub clock_skew_tolerance: Duration,
    /// How long after its own time an event may be received before it counts as late. Changing it changes Silver as above.
    #[serde(with = "humantime_serde")]
    pub allowed_lateness: Duration,
    /// How often Gold is brought up to Silver.
    #[serde(with = "humantime_serde")]
    pub gold_interval: Duration,
    /// A folder of models of Gold, beside those that come with Tidegate: `name.sql` and `name.yaml` make the table `gold.name`.
    pub gold_models: Option<PathBuf>,
    /// A folder of experiments: `metrics.yaml` has the metrics, each other file an experiment.
    pub experiments: Option<PathBuf>,
    /// How often the counts of new commits are written to the ledger.
    #[serde(with = "humantime_serde")]
    pub ledger_interval: Duration,
    /// How often the metrics of how the lake stands are taken: rows of tables, books, watermark.
    #[serde(with = "humantime_serde")]
    pub watch_interval: Duration,
    /// Over how long events are counted to tell what is unusual: each such window is held against those of the days before. A day has a whole number of them.
    #[serde(with = "humantime_serde")]
    pub anomaly_window: Duration,
    /// How often small files are joined, where there are enough of them.
    #[serde(with = "humantime_serde")]
    pub compaction_interval: Duration,
    /// How often rows are taken out that are no longer to be kept, and expired versions and files are deleted.
    #[serde(with = "humantime_serde")]
    pub cleaning_interval: Duration,
    /// How often each gate looks whether somebody was erased, from a second to five minutes. So long, and the time that a look takes, the journal may still be given events of theirs, and
    /// remembers them: nothing of them comes into the lake meanwhile, but the command that erases waits for it. All gates and workers must have the same.
    #[serde(with = "humantime_serde")]
    pub erasure_interval: Duration,
    /// How long rows are kept.
    pub retention: Retention,
    /// The longest pause between two attempts at a step that failed; pauses begin at a tenth of a second and double.
    #[serde(with = "humantime_serde")]
    pub retry_pause_max: Duration,
    /// Which files are joined.
    pub compaction: lake::Compaction,
    /// The bounds of the index of identities.
    pub index: dedup::Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            commit_interval: Duration::from_secs(1),
            batch_records_max: 50_000,
            batch_bytes_max: 32 << 20,
            silver_rows_max: 100_000,
            silver_bytes_max: 64 << 20,
            clock_skew_tolerance: Duration::from_secs(5 * 60),
            allowed_lateness: Duration::from_secs(60 * 60),
            gold_interval: Duration::from_secs(10),
            gold_models: None,
            experiments: None,
            ledger_interval: Duration::from_secs(10),
            watch_interval: Duration::from_secs(15),
            anomaly_window: Duration::from_secs(60 * 60),
            compaction_interval: Duration::from_secs(60),
            cleaning_interval: Duration::from_secs(60 * 60),
            erasure_interval: Duration::from_secs(2),
            retention: Retention::default(),
            retry_pause_max: Duration::from_secs(30),
            compaction: lake::Compaction::default(),
            index: dedup::Limits::default(),
        }
    }
}

impl Config {
    /// Whether the settings can be used; if not, which one cannot and what it must be.
    ///
    /// # Errors
    /// [`crate::Error::Setting`].
    pub fn check(&self) -> Result<(), crate::Error> {
        let positive = [
            ("batch_records_max", self.batch_records_max as u64),
            ("batch_bytes_max", self.batch_bytes_max as u64),
            ("silver_rows_max", self.silver_rows_max),
            ("silver_bytes_max", self.silver_bytes_max),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(crate::Error::Setting(format!("pipeline.{name} must be at least 1")));
        }
        // A row group's payloads share one Arrow array, whose offsets end at 2 GiB; one record may still come on top of the bound.
        if self.batch_bytes_max > 1 << 30 {
            return Err(crate::Error::Setting("pipeline.batch_bytes_max must be at most 1 GiB".to_owned()));
        }
        let intervals = [
            ("commit_interval", self.commit_interval, Duration::from_secs(3600)),
            ("gold_interval", self.gold_interval, Duration::from_secs(86_400)),
            ("ledger_interval", self.ledger_interval, Duration::from_secs(86_400)),
            ("watch_interval", self.watch_interval, Duration::from_secs(86_400)),
            // Half of the time that `tidegate erase` waits by default.
            ("erasure_interval", self.erasure_interval, Duration::from_secs(300)),
        ];
        if let Some((name, _, max)) = intervals.iter().find(|(_, value, max)| value > max) {
            return Err(crate::Error::Setting(format!("pipeline.{name} must be at most {} s", max.as_secs())));
        }
        if self.watch_interval.is_zero() {
            return Err(crate::Error::Setting("pipeline.watch_interval must be longer than nothing".to_owned()));
        }
        if self.erasure_interval < Duration::from_secs(1) {
            return Err(crate::Error::Setting(
                "pipeline.erasure_interval must be at least 1 s: each look is a request to the store".to_owned(),
            ));
        }
        let window = self.anomaly_window.as_secs();
        if window < 60 || !86_400_u64.is_multiple_of(window) || self.anomaly_window.subsec_nanos() != 0 {
            return Err(crate::Error::Setting(
                "pipeline.anomaly_window must be at least a minute, and a day must have a whole number of them".to_owned(),
            ));
        }
        self.retention.check()?;
        self.index.check()?;
        Ok(())
    }

    /// The experiments, read from their files now.
    ///
    /// # Errors
    /// [`crate::Error::Setting`], with the file.
    pub fn experiments(&self) -> Result<Vec<Experiment>, crate::Error> {
        self.experiments.as_deref().map_or_else(|| Ok(Vec::new()), crate::gold::experiments::load)
    }

    /// The models of Gold, read from their files now.
    ///
    /// # Errors
    /// [`crate::Error::Setting`], with the file and the line.
    pub fn models(&self) -> Result<Models, crate::Error> {
        Models::load(self.gold_models.as_deref(), &self.experiments()?)
    }

    /// What Silver is made by. The bounds on JSON are the widest there are: what the gate took under its own bounds must be readable here.
    pub fn rules(&self) -> Rules {
        Rules {
            clock_skew_tolerance_micros: micros(self.clock_skew_tolerance),
            allowed_lateness_micros: micros(self.allowed_lateness),
            json: json::Limits { depth_max: json::DEPTH_CEILING, string_bytes_max: usize::MAX },
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_can_be_used_and_bounds_are_checked() {
        Config::default().check().unwrap();
        let check = |change: fn(&mut Config), part: &str| {
            let mut config = Config::default();
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        check(|config| config.batch_records_max = 0, "pipeline.batch_records_max must be at least 1");
        check(|config| config.silver_rows_max = 0, "silver_rows_max");
        check(|config| config.batch_bytes_max = usize::MAX, "at most 1 GiB");
        check(|config| config.commit_interval = Duration::from_secs(3601), "commit_interval must be at most 3600 s");
        check(|config| config.erasure_interval = Duration::from_millis(999), "erasure_interval must be at least 1 s");
        check(|config| config.erasure_interval = Duration::from_secs(301), "erasure_interval must be at most 300 s");
        check(|config| config.index.runs_per_level_max = 0, "runs_per_level_max");
    }

    #[test]
    fn unknown_settings_are_refused() {
        assert_eq!(serde_json::from_str::<Config>("{}").unwrap(), Config::default());
        assert_eq!(serde_json::from_str::<Config>(r#"{"commit_interval":"250ms"}"#).unwrap().commit_interval, Duration::from_millis(250));
        assert!(serde_json::from_str::<Config>(r#"{"commit_intervals":"1s"}"#).is_err());
    }
}
