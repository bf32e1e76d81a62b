//! Logs, to standard error: standard output belongs to what a command prints.
//!
//! No crate logs a write key, an event's payload or another secret; there is nothing here that could hide one.

use std::io::{self, IsTerminal as _};

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::Error;
use crate::traces::Traces;

/// What is logged where no filter is given: all that our own crates hold worth knowing, and the warnings of others.
pub const FILTER_DEFAULT: &str = "warn,tidegate=info,contract=info,ingest=info,journal=info,lake=info,listener=info,medallion=info,dedup=info,pipeline=info,telemetry=info";

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends the logs of this process to standard error, and what is told of traced events to a collector, if there is one. The filter is that of `tracing`: `info`, or `warn,ingest=debug`.
///
/// # Errors
///
/// [`Error::Filter`] when the filter cannot be read, [`Error::Logs`] when the logs go elsewhere already.
pub fn init(format: Format, filter: &str, traces: Option<&Traces>) -> Result<(), Error> {
    let filter = parse(filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = match format {
        Format::Text => lines.with_ansi(io::stderr().is_terminal()).with_filter(filter).boxed(),
        Format::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    };
    let traced = Targets::new().with_target(contract::trace::TARGET, LevelFilter::TRACE);
    let traces = traces.cloned().map(|traces| traces.with_filter(traced));
    tracing_subscriber::registry().with(lines).with(traces).try_init().map_err(|_| Error::Logs)
}

fn parse(filter: &str) -> Result<EnvFilter, Error> {
    EnvFilter::builder().parse(filter).map_err(|problem| Error::Filter { filter: filter.to_owned(), problem: problem.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_or_refused() {
        for good in ["info", "warn,ingest=debug", FILTER_DEFAULT, "off"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        let error = parse("ingest=loud").unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Setting);
        assert!(error.to_string().contains("ingest=loud"), "{error}");
    }

    #[test]
    fn there_is_one_log() {
        init(Format::Json, "off", None).unwrap();
        assert!(matches!(init(Format::Text, "off", None), Err(Error::Logs)));
    }
}
