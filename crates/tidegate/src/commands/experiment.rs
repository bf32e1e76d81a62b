//! `tidegate experiment`: what came of experiments, what they are, and the statistics tried on experiments of which the truth is known.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::LakeArgs;
use crate::output::Format;

mod assign;
mod definitions;
mod result;
mod trial;

/// Tell what came of an experiment, and plan, check and simulate experiments
///
/// Experiments are defined in YAML, one file each, in the folder that the setting pipeline.experiments names, or in the folder experiments of the data folder; metrics.yaml beside them has the
/// metrics. A running server makes their tables in Gold; the result is made of these, so it takes as long for ten subjects as for ten million. What spoils a result is told before it.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  tidegate experiment checkout-button
  tidegate experiment checkout-button --html result.html
  tidegate experiment checkout-button --format json | jq .health
  tidegate experiment list
  tidegate experiment check experiments/"
)]
pub(crate) struct ExperimentArgs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    result: ResultArgs,
}

#[derive(Debug, Args)]
struct ResultArgs {
    /// The experiment, by its key
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Write the result to a file as one HTML page that needs nothing else, instead of printing it
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// A table of all that is worth reading; JSON of all there is; CSV and NDJSON have a line for each metric and treatment
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    lake: LakeArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the experiments there are, with their subjects and whether they can be trusted
    List(ListArgs),
    /// Tell everything that is wrong with the definitions in a folder
    ///
    /// Exit code 1 when something is.
    Check(CheckArgs),
    /// Tell which variation subjects see, as every SDK has it
    #[command(after_help = "\
Example:
  tidegate experiment assign checkout-button user-1 user-2")]
    Assign(AssignArgs),
    /// Tell how many subjects an experiment needs, and what it can find
    ///
    /// For a share of subjects that do something, such as buying. Subjects are those of both variations together.
    #[command(after_help = "\
Example: 8 % buy, and 5 % more of them would be worth it
  tidegate experiment size --share 0.08 --lift 0.05 --subjects-by-day 4000")]
    Size(trial::SizeArgs),
    /// Run thousands of made-up experiments through the statistics
    ///
    /// Without a lift nothing is there to be found: what is found is an error, and there must be as many as were asked for and no more. With one, it tells how often it is found. The same
    /// seed gives the same figures on every machine.
    #[command(after_help = "\
Examples:
  tidegate experiment simulate                          A/A: how often are we wrong?
  tidegate experiment simulate --lift 0.1 --days 28     how often is a lift of 10 % found?")]
    Simulate(trial::SimulateArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    lake: LakeArgs,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// The folder [default: that of the settings]
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    data: super::DataArgs,
}

#[derive(Debug, Args)]
struct AssignArgs {
    /// The experiment, by its key
    #[arg(value_name = "NAME")]
    name: String,
    /// Ids of subjects; - reads them from standard input, one a line
    #[arg(value_name = "SUBJECT", required = true)]
    subjects: Vec<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    data: super::DataArgs,
}

pub(crate) async fn run(args: ExperimentArgs) -> anyhow::Result<bool> {
    match args.action {
        None => Box::pin(result::tell(args.result)).await,
        Some(Action::List(args)) => Box::pin(result::list(args)).await,
        Some(Action::Check(args)) => definitions::check(&args),
        Some(Action::Assign(args)) => assign::assign(&args),
        Some(Action::Size(args)) => trial::size(&args),
        Some(Action::Simulate(args)) => trial::simulate(&args),
    }
}
