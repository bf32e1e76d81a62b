//! `tidegate engine`: which engine owns the stream.

use anyhow::bail;
use clap::{Args, ValueEnum};
use lake::Lake;
use medallion::tables::Engine;
use pipeline::engine::{self, Owners};
use serde_json::{Value, json};

use super::{DataArgs, say};
use crate::acts;
use crate::output::{self, Format};
use crate::settings::{JournalKind, Settings};

/// Say which engine takes events from the journal to Bronze and Silver, or hand the stream over
///
/// The workers of `tidegate serve` and the Spark job make the same tables; one of them owns the stream. Handing it over is a commit to the tables: what the other engine is about to
/// commit is refused from then on, a worker waits until it is handed back, a Spark job ends. Neither loses or doubles anything, whenever it is done.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate engine                 which one it is
  tidegate engine spark           the Spark job's from now on; start it with `tidegate spark submit`
  tidegate engine workers         the workers' again")]
pub(crate) struct EngineArgs {
    /// Hand the stream over to this one
    #[arg(value_enum)]
    to: Option<To>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum To {
    /// The workers of `tidegate serve`
    Workers,
    /// The Structured Streaming job
    Spark,
}

pub(crate) async fn run(args: EngineArgs) -> anyhow::Result<bool> {
    let settings = args.data.load(Vec::new())?.settings;
    if args.to == Some(To::Spark) {
        check_reach(&settings)?;
    }
    let lake = Lake::open(&settings.lake_location(), settings.lake.options.clone()).await?;
    if let Some(to) = args.to {
        let to = match to {
            To::Workers => Engine::Workers,
            To::Spark => Engine::Spark,
        };
        let act = acts::tell(&settings, None, "engine.hand_over", to.as_str(), Value::Null)?;
        let moved = act.done(engine::hand_over(&lake, to).await)?;
        say(&format!("The stream is {} {}.", possessive(to), if moved { "now" } else { "already" }));
    }
    let Owners { bronze, silver } = engine::owners(&lake).await?;
    let mut rows = output::stdout(args.format, vec!["stage".to_owned(), "engine".to_owned()])?;
    for (stage, engine) in [("bronze", bronze), ("silver", silver)] {
        rows.write(vec![json!(stage), json!(engine.as_str())])?;
    }
    rows.finish()?;
    Ok(is_whole(Owners { bronze, silver }))
}

/// Refuses what Spark cannot reach: it shares a journal in Kafka and a lake on S3 with the workers, and nothing else.
pub(super) fn check_reach(settings: &Settings) -> anyhow::Result<()> {
    if settings.journal.kind != JournalKind::Kafka {
        bail!(
            "the journal is in local files, which Spark cannot read: set journal.kind = \"kafka\" (`tidegate journal copy` takes along what is there)"
        );
    }
    if settings.lake_folder().is_some() {
        bail!("the lake is in a folder; Spark and the workers share one on S3 only: set lake.location = \"s3://bucket/prefix\"");
    }
    Ok(())
}

/// Whether both stages have one owner; says what to do where they have not.
pub(super) fn is_whole(Owners { bronze, silver }: Owners) -> bool {
    if bronze != silver {
        say("Handing the stream over was broken off. Do it again: `tidegate engine spark` or `tidegate engine workers`.");
    }
    bronze == silver
}

fn possessive(engine: Engine) -> &'static str {
    match engine {
        Engine::Workers => "the workers'",
        Engine::Spark => "the Spark job's",
    }
}
