//! `tidegate gold`: the models of Gold, how their tables stand, and making them by hand.

use std::sync::Arc;

use anyhow::bail;
use clap::{Args, Subcommand};
use medallion::gold::{Model, Span};
use pipeline::gold::{Models, state};
use serde_json::json;

use super::{LakeArgs, say};
use crate::output::{self, Format};

/// The aggregates: SQL models, each with its grain, its keys and what it reads
///
/// A running server makes them as events come. Models of one's own lie in the folder that the setting pipeline.gold_models names: name.sql is a query with a comment above
/// it, name.yaml declares a funnel or a retention, and either makes the table gold.name.
#[derive(Debug, Args)]
pub(crate) struct GoldArgs {
    #[command(subcommand)]
    command: GoldCommand,
}

#[derive(Debug, Subcommand)]
enum GoldCommand {
    /// How each table stands: its rows, up to which time they are final, and what is to be made anew
    List(ListArgs),
    /// Bring tables up to what they read, also while a server runs
    #[command(after_help = "\
Examples:
  tidegate gold run
  tidegate gold run sessions active_users
  tidegate gold run checkout --anew")]
    Run(RunArgs),
    /// What a model makes of what: its comment, its query, and what is to be made anew and why
    Explain(ExplainArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    lake: LakeArgs,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The models, with or without `gold.`; all of them where none is named. Those that they read come first
    models: Vec<String>,
    /// Make every partition anew, not only those whose input changed
    #[arg(long)]
    anew: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    lake: LakeArgs,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// The model, with or without `gold.`
    model: String,
    /// Show the plan by which its query is run, too
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    lake: LakeArgs,
}

pub(crate) async fn run(args: GoldArgs) -> anyhow::Result<bool> {
    match args.command {
        GoldCommand::List(args) => Box::pin(list(args)).await,
        GoldCommand::Run(args) => Box::pin(make(args)).await,
        GoldCommand::Explain(args) => Box::pin(explain(args)).await,
    }
}

async fn list(args: ListArgs) -> anyhow::Result<bool> {
    let (lake, settings) = args.lake.open_with_settings().await?;
    let columns = ["model", "grain", "keys", "reads", "rows", "final up to", "due", "why"];
    let mut rows = output::stdout(args.format, output::heads(args.format, columns))?;
    for model in settings.pipeline.models()?.iter() {
        let state = state::state(&lake, &settings.pipeline, model).await?;
        let cells = vec![
            json!(state.model),
            json!(state.grain),
            json!(state.keys.join(", ")),
            json!(state.reads.join(", ")),
            json!(state.rows),
            json!(state.final_up_to),
            json!(state.due),
            json!(state.why.join("; ")),
        ];
        if !rows.write(cells)? {
            break;
        }
    }
    rows.finish()?;
    Ok(true)
}

async fn make(args: RunArgs) -> anyhow::Result<bool> {
    let (lake, settings) = args.lake.open_with_settings().await?;
    let models = settings.pipeline.models()?;
    let chosen = chosen(&models, &args.models)?;
    let mut rows = output::stdout(args.format, ["model", "partitions", "rows", "seconds"].map(str::to_owned).into())?;
    let mut is_sound = true;
    for (number, model) in chosen.iter().enumerate() {
        say(&format!("{} ({} of {})", model.name, number + 1, chosen.len()));
        let began = std::time::Instant::now();
        match state::run(&lake, model, args.anew).await {
            Ok(made) => {
                let seconds = (began.elapsed().as_secs_f64() * 1_000.0).round() / 1_000.0;
                rows.write(vec![json!(model.name), json!(made.partitions), json!(made.rows), json!(seconds)])?;
            }
            Err(error) => {
                say(&format!("error: {error}"));
                is_sound = false;
            }
        }
    }
    rows.finish()?;
    Ok(is_sound)
}

/// The models named, in the order in which they are made, or all.
fn chosen(models: &Models, names: &[String]) -> anyhow::Result<Vec<Arc<Model>>> {
    for name in names {
        named(models, name)?;
    }
    let is_chosen =
        |model: &&Arc<Model>| names.is_empty() || names.iter().any(|name| models.named(name).is_some_and(|named| named == *model));
    Ok(models.iter().filter(is_chosen).cloned().collect())
}

fn named<'a>(models: &'a Models, name: &str) -> anyhow::Result<&'a Arc<Model>> {
    let Some(model) = models.named(name) else {
        let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
        bail!("there is no model {name}; there are {}", names.join(", "));
    };
    Ok(model)
}

async fn explain(args: ExplainArgs) -> anyhow::Result<bool> {
    let (lake, settings) = args.lake.open_with_settings().await?;
    let models = settings.pipeline.models()?;
    let model = named(&models, &args.model)?;
    let state = state::state(&lake, &settings.pipeline, model).await?;
    let mut text = format!("{}: {}\n\n", model.name, model.about);
    text.push_str(&format!("grain       {}\nkeys        {}\npartition   {}\n", model.grain, model.keys.join(", "), model.partition_by));
    for input in &model.reads {
        text.push_str(&format!("reads       {}{}\n", input.table, span(input.span)));
    }
    if !model.every.is_zero() {
        text.push_str(&format!("every       {} s at most, while events come\n", model.every.as_secs()));
    }
    text.push_str(&format!("rows        {}\n", state.rows));
    text.push_str(&format!("final up to {}\n", state.final_up_to.as_deref().unwrap_or("nothing yet")));
    let why = if state.why.is_empty() { "nothing it reads has changed".to_owned() } else { state.why.join("; ") };
    text.push_str(&format!("due         {} partitions: {why}\n\n{}\n", state.due, model.sql));
    if args.plan {
        text.push_str(&format!("\n{}", state::plan(&lake, model).await?));
    }
    output::text(&text)?;
    Ok(true)
}

fn span(span: Span) -> String {
    let days = |days: Option<u32>, word: &str| match days {
        Some(0) => String::new(),
        Some(days) => format!(", {days} days {word}"),
        None => format!(", all days {word}"),
    };
    match span {
        Span::Whole => ", whole".to_owned(),
        Span::Days { before, after } => days(before, "before") + &days(after, "after"),
    }
}
