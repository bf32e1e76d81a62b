//! The subcommands: each reads its arguments, asks the crate that knows, and prints.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use console::Reader;
use lake::Lake;
use serde_json::Value;
use telemetry::logging;

pub(crate) mod audit;
pub(crate) mod audit_log;
pub(crate) mod backfill;
pub(crate) mod command_line;
pub(crate) mod compact;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod dead_letters;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod engine;
pub(crate) mod erase;
pub(crate) mod experiment;
pub(crate) mod expire;
pub(crate) mod gold;
pub(crate) mod journal;
pub(crate) mod metrics;
pub(crate) mod plan;
pub(crate) mod query;
pub(crate) mod reader;
mod rebuilding;
pub(crate) mod recover;
pub(crate) mod replay;
pub(crate) mod restore;
pub(crate) mod send;
pub(crate) mod serve;
pub(crate) mod source;
pub(crate) mod spark;
pub(crate) mod spinner;
pub(crate) mod sql;
pub(crate) mod tables;
pub(crate) mod token;
pub(crate) mod trace;

use crate::platform;
use crate::settings::{self, Flag, Loaded, Settings};

/// The filter of the log for all commands but `serve`, whose log is what it prints.
const QUIET_FILTER: &str = "warn";
/// The variable that says another one.
const FILTER_VARIABLE: &str = "TIDEGATE_LOG__FILTER";

/// Where the settings and the data are.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataArgs {
    /// Data folder: journal, lake, index and write keys [default: ./tidegate-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Settings file [default: tidegate.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl DataArgs {
    /// The settings, with these and further flags over them.
    ///
    /// # Errors
    ///
    /// [`settings::Error`].
    pub(crate) fn load(&self, mut flags: Vec<Flag>) -> Result<Loaded, settings::Error> {
        if let Some(data) = &self.data {
            let text = data.to_str().ok_or(settings::Error::NotText { flag: "--data" })?;
            flags.push(Flag { name: "--data", key: "data", value: Value::from(text) });
        }
        settings::read(self.config.as_deref(), flags)
    }
}

/// Which lake to read.
#[derive(Debug, Clone, Args)]
pub(crate) struct LakeArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Folder or URL of the lake [default: the folder lake in the data folder]
    #[arg(long, value_name = "LOCATION")]
    lake: Option<String>,
}

impl LakeArgs {
    /// The lake, to be read. One that is not there is not made.
    ///
    /// # Errors
    ///
    /// Settings that cannot be used; a lake that is not there or cannot be opened.
    pub(crate) async fn open(&self) -> anyhow::Result<Lake> {
        Ok(self.open_with_settings().await?.0)
    }

    /// What answers statements over it.
    ///
    /// # Errors
    ///
    /// As [`LakeArgs::open`], and a tracking plan that cannot be read.
    pub(crate) async fn reader(&self) -> anyhow::Result<Reader> {
        let (lake, settings) = self.open_with_settings().await?;
        Ok(Reader::new(lake, platform::plan(settings.plan.file.as_deref())?, settings.query)?)
    }

    /// The same, with the settings.
    ///
    /// # Errors
    ///
    /// As [`LakeArgs::open`].
    pub(crate) async fn open_with_settings(&self) -> anyhow::Result<(Lake, Settings)> {
        let flag = |location: &String| Flag { name: "--lake", key: "lake.location", value: Value::from(location.as_str()) };
        let settings = self.data.load(self.lake.iter().map(flag).collect())?.settings;
        let location = settings.lake_location();
        if settings.lake_folder().is_some_and(|folder| !folder.is_dir()) {
            bail!("there is no lake at {location}; name another with --data or --lake, or start `tidegate serve`, which makes it");
        }
        let lake = Lake::open(&location, settings.lake.options.clone()).await;
        Ok((lake.with_context(|| format!("cannot open the lake at {location}"))?, settings))
    }
}

/// Sends warnings to standard error.
pub(crate) fn log_quietly() -> Result<(), telemetry::Error> {
    let filter = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| QUIET_FILTER.to_owned());
    logging::init(logging::Format::Text, &filter, None)
}

/// A line on standard error, for the person at the terminal.
pub(crate) fn say(line: &str) {
    // Nobody is left to be told that nobody is left to be told.
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}
