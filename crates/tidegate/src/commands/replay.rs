//! `tidegate replay`: Silver and Gold anew from Bronze.

use std::time::Duration;

use clap::Args;
use lake::Lake;
use pipeline::replay::{self, CutOver, Progress, Rebuilt, Replay};
use serde_json::{Value, json};

use super::rebuilding::Bar;
use super::{LakeArgs, say};
use crate::acts;
use crate::jobs::Job;
use crate::misuse::Misuse;
use crate::output::{self, Format};
use crate::settings::Settings;

/// Rebuild Silver and Gold from Bronze, beside the live tables
///
/// All of Bronze is decided about anew, by another algorithm than the live one, which needs no index; then the rebuild catches up with what has come in since. A server may go
/// on all the time. Broken off, the same command goes on where it was. `tidegate diff` compares the rebuild with the live tables, --cut-over puts it in their place.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate replay                                            rebuild everything, as silver_rebuild and gold_rebuild
  tidegate diff                                              is the live Silver what Bronze gives?
  tidegate replay --cut-over                                 catch up, and take the place of the live tables
  tidegate replay --from 2026-11-01 --to 2026-11-02 --into silver_proof
  tidegate replay --into silver_proof --drop")]
pub(crate) struct ReplayArgs {
    /// The first day to rebuild, by event time [default: the first there is]
    #[arg(long, value_name = "DAY", value_parser = day)]
    from: Option<chrono::NaiveDate>,
    /// The day to end before [default: none]
    #[arg(long, value_name = "DAY", value_parser = day)]
    to: Option<chrono::NaiveDate>,
    /// The name of the rebuild: silver_ and a name; its Gold is gold_ and the same
    #[arg(long, value_name = "NAME", default_value = "silver_rebuild")]
    into: String,
    /// Then put it in the place of the live tables, each in one commit, and remove it
    #[arg(long, conflicts_with_all = ["from", "to", "drop"])]
    cut_over: bool,
    /// Only remove the tables of that rebuild
    #[arg(long, conflicts_with_all = ["from", "to"])]
    drop: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    lake: LakeArgs,
}

impl ReplayArgs {
    /// The command, for whoever looks at the jobs.
    fn command(&self) -> String {
        let day = |name: &str, day: Option<chrono::NaiveDate>| day.map_or_else(String::new, |day| format!(" --{name} {day}"));
        let then = if self.cut_over { " --cut-over" } else { "" };
        format!("replay --into {}{}{}{then}", self.into, day("from", self.from), day("to", self.to))
    }
}

fn day(text: &str) -> Result<chrono::NaiveDate, String> {
    text.parse().map_err(|_| "give a day such as 2026-11-23".to_owned())
}

pub(crate) async fn run(args: ReplayArgs) -> anyhow::Result<bool> {
    let (lake, settings) = args.lake.open_with_settings().await?;
    if args.drop {
        let act = acts::tell(&settings, None, "replay.drop", &args.into, Value::Null)?;
        act.done(replay::drop_build(&lake, &args.into).await).map_err(misuse)?;
        say(&format!("the rebuild {} is removed", args.into));
        return Ok(true);
    }
    let bar = Bar::new();
    let job = Job::begin(&settings.data, args.command(), bar.bar());
    let outcome = Box::pin(rebuild(&args, &lake, &settings, &bar)).await;
    bar.end();
    job.end(outcome.as_ref().map(String::as_str));
    say(&outcome?);
    Ok(true)
}

/// Does it, prints it, and tells what there is then.
async fn rebuild(args: &ReplayArgs, lake: &Lake, settings: &Settings, bar: &Bar) -> anyhow::Result<String> {
    let index_folder = settings.data.join(format!("index-{}", args.into));
    let replay = Replay { into: args.into.clone(), from: args.from, to: args.to, index_folder };
    let watcher = |progress: Progress| bar.show(progress);
    let rebuilt = replay.run(lake, &settings.pipeline, &watcher).await.map_err(misuse)?;
    let cut_over = if args.cut_over {
        let act = acts::tell(settings, None, "replay.cut_over", &args.into, Value::Null)?;
        Some(act.done(replay.cut_over(lake, &settings.pipeline, &watcher).await).map_err(misuse)?)
    } else {
        None
    };
    bar.end();
    print(args.format, &rebuilt, cut_over.as_ref())?;
    Ok(match cut_over {
        Some(CutOver { silver_version, .. }) => {
            format!("Silver is the rebuild since version {silver_version} of silver.events; Gold is made anew by the server")
        }
        None => format!("compare it with `tidegate diff silver {}`; it is in no one's way and costs its disk", rebuilt.into),
    })
}

/// Names and days that cannot be used are a misuse, and everything else a failure.
fn misuse(error: pipeline::Error) -> anyhow::Error {
    if error.kind() == pipeline::ErrorKind::Setting { anyhow::Error::new(Misuse(error.to_string())) } else { error.into() }
}

fn print(format: Format, rebuilt: &Rebuilt, cut_over: Option<&CutOver>) -> anyhow::Result<()> {
    let columns = [
        "rebuild",
        "bronze version",
        "silver",
        "duplicates",
        "dead letters",
        "resumed",
        "cut over at version",
        "silver seconds",
        "gold seconds",
    ];
    let seconds = |took: Duration| json!((took.as_secs_f64() * 1_000.0).round() / 1_000.0);
    let mut rows = output::stdout(format, output::heads(format, columns))?;
    let version = cut_over.map_or(rebuilt.bronze_version, |cut_over| cut_over.bronze_version);
    let silver = cut_over.map_or(rebuilt.silver, |cut_over| cut_over.silver);
    let cells: Vec<Value> = vec![
        json!(rebuilt.into),
        json!(version),
        json!(silver),
        json!(rebuilt.duplicates),
        json!(rebuilt.dead_letters),
        json!(rebuilt.resumed),
        json!(cut_over.map(|cut_over| cut_over.silver_version)),
        seconds(rebuilt.silver_took),
        seconds(rebuilt.gold_took),
    ];
    rows.write(cells)?;
    rows.finish()?;
    Ok(())
}
