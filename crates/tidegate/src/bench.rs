//! `tidegate bench`: what the platform does, what the machine could do at best, and what is between.
//!
//! A running server is measured from outside, as its clients and readers see it, so the same can be asked of another server. The client shares the machine with it: figures are
//! lower bounds, and what the client costs is among them. What is sent is as different as real events are: each has an id of its own, and texts differ.

use clap::{Args, Subcommand};

mod compare;
mod delay;
mod empty;
mod events;
mod history;
mod ingest;
mod limits;
mod load;
mod machine;
mod model;
mod report;
mod rows;
mod wire;

use crate::send::TrustArgs;

/// Options of `tidegate bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// How many events a second the ingestion API takes, and how long each answer takes
    Ingest(ingest::IngestArgs),
    /// How long it takes from the answer until an event can be queried
    Delay(delay::DelayArgs),
    /// Print events to measure with, one a line, the same for the same seed
    Events(events::EventsArgs),
    /// Run a listener that says yes to everything and keeps nothing, to compare `bench ingest` with
    Empty(empty::EmptyArgs),
    /// What this machine does with nothing else: its disk, its processor on JSON and Parquet
    Limits(limits::LimitsArgs),
    /// What the step to Silver costs with so many identities in the index already
    History(history::HistoryArgs),
    /// Compare a figure of some runs with that of others
    Compare(compare::CompareArgs),
}

/// The server that is measured.
#[derive(Debug, Args)]
struct Target {
    /// Address of the server, such as http://127.0.0.1:8099
    #[arg(long, value_name = "URL")]
    url: String,
    /// Where it takes events
    #[arg(long, value_name = "PATH", default_value = "/v1/events", value_parser = path)]
    path: String,
    /// A write key of it
    #[arg(long, value_name = "KEY", env = "TIDEGATE_KEY", hide_env_values = true)]
    key: String,
    #[command(flatten)]
    trust: TrustArgs,
}

fn path(text: &str) -> Result<String, String> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("give a path that begins with /, such as /v1/events".to_owned()) }
}

/// Runs it.
pub(crate) async fn run(args: BenchArgs) -> anyhow::Result<()> {
    match args.what {
        What::Ingest(args) => ingest::run(args).await,
        What::Delay(args) => delay::run(args).await,
        What::Events(args) => events::run(&args),
        What::Empty(args) => empty::run(args).await,
        What::Limits(args) => limits::run(args).await,
        What::History(args) => history::run(args).await,
        What::Compare(args) => compare::run(&args),
    }
}
