//! `tidegate bench`: how fast a running server takes events, and how soon they can be queried.
//!
//! The client shares the machine with the server it measures, so figures are lower bounds. What is sent is as different as real events are: each has an
//! id of its own, and a name that the server has not seen in the same second.

use clap::{Args, Subcommand};

mod delay;
mod ingest;

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
}

/// The server that is measured.
#[derive(Debug, Args)]
struct Target {
    /// Address of the server, such as http://127.0.0.1:8099
    #[arg(long, value_name = "URL")]
    url: String,
    /// A write key of it
    #[arg(long, value_name = "KEY", env = "TIDEGATE_KEY", hide_env_values = true)]
    key: String,
    #[command(flatten)]
    trust: TrustArgs,
}

/// Runs it.
pub(crate) async fn run(args: BenchArgs) -> anyhow::Result<()> {
    match args.what {
        What::Ingest(args) => ingest::run(args).await,
        What::Delay(args) => delay::run(args).await,
    }
}
