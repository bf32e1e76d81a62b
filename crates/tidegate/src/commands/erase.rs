//! `tidegate erase`: a person's events taken out of everything.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use contract::Timestamp;
use indicatif::{ProgressBar, ProgressStyle};
use journal::embedded::{Embedded, OpenError};
use lake::Lake;
use pipeline::erasure::{self, Begun, Done, Found, Report, Request, Waiting};
use pipeline::{Pipeline, Status};
use serde_json::{Value, json};
use telemetry::clock::{Clock as _, SystemClock};
use tokio::sync::watch;

use super::{LakeArgs, say};
use crate::acts;
use crate::misuse::Misuse;
use crate::output::{self, Format};
use crate::settings::{JournalKind, Settings};

/// How often it is looked whether the stages have come far enough.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// How long they may do without a word.
const TELL_AFTER: Duration = Duration::from_secs(5);

/// Erase a person: from every table, the journal and the dead letters, and from what is yet to come
///
/// The person's events lose their content in Bronze (a row without content keeps their place, so the books still balance), leave Silver and the dead letters, and Gold is made anew
/// where it hung on them; rebuilds beside the live tables are removed, and the files that held any of it are deleted. The ids go on a list, as keyed digests, that keeps later arrivals out,
/// and no replay brings anything back. It cannot be undone. A server may go on all the time; without one, what is in the journal is brought to the tables first.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate erase --user alice@example.org --dry-run         whose events, and how many
  tidegate erase --user alice@example.org --report alice.json
  tidegate erase --user 1234 --anonymous 7c1e-… --only-named

An event is the person's where its user or anonymous id is one of theirs, and where an id of 8 characters or more (12, if all are digits) stands as a whole in any text of it.
Exit code 1 when something of the person was found at the end, or the stages did not come far enough in time; run it again, it goes on.")]
pub(crate) struct EraseArgs {
    /// An id of the user; may be given again
    #[arg(long = "user", value_name = "ID", required_unless_present = "anonymous")]
    users: Vec<String>,
    /// An anonymous id; may be given again [default: those that Silver has with the user's id, and with no other user's]
    #[arg(long, value_name = "ID")]
    anonymous: Vec<String>,
    /// Only the ids that are named
    #[arg(long)]
    only_named: bool,
    /// Tell whose events they are and how many, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Write the report to a file, as JSON with its seal
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// How long the stages may take to bring what they have in work to its end
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    timeout: Duration,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    lake: LakeArgs,
}

pub(crate) async fn run(args: EraseArgs) -> anyhow::Result<bool> {
    let (lake, settings) = args.lake.open_with_settings().await?;
    let request = Request { users: args.users.clone(), anonymous: args.anonymous.clone(), only_named: args.only_named };
    let found = erasure::find(&lake, &request).await.map_err(misuse)?;
    tell(&found);
    if args.dry_run {
        let (rows, dead_letters) = erasure::count(&lake, &found.person).await?;
        let mut table = output::stdout(args.format, output::heads(args.format, ["ids", "rows of Bronze", "dead letters"]))?;
        table.write(vec![json!(found.person.ids().count()), json!(rows), json!(dead_letters)])?;
        table.finish()?;
        return Ok(true);
    }
    if !args.yes && !is_meant(&found)? {
        say("nothing was changed");
        return Ok(false);
    }
    // Whose content it is does not belong into a log that stays.
    let detail = json!({"user_ids": found.users.len(), "anonymous_ids": found.anonymous.len()});
    let act = acts::tell(&settings, None, "erase", "a person", detail)?;
    act.done(erase(&args, &lake, &settings, &found).await)
}

async fn erase(args: &EraseArgs, lake: &Lake, settings: &Settings, found: &Found) -> anyhow::Result<bool> {
    let bar = Bar::new();
    bar.say("taking the content out of Bronze");
    let now = Timestamp(SystemClock.now_micros());
    let mut begun = erasure::begin(lake, found, now, rand::random()).await?;
    Box::pin(wait(&mut begun, lake, settings, args.timeout, &bar)).await?;
    bar.say("taking out Silver, dead letters, Gold and old files");
    let report = begun.finish(lake, &settings.pipeline).await?;
    bar.end();
    if let Some(path) = &args.report {
        write(path, &report).with_context(|| format!("cannot write the report to {}", path.display()))?;
    }
    print(args.format, &report)?;
    Ok(conclude(&report))
}

fn misuse(error: pipeline::Error) -> anyhow::Error {
    if error.kind() == pipeline::ErrorKind::Setting { anyhow::Error::new(Misuse(error.to_string())) } else { error.into() }
}

/// Whose ids are meant, and what that leaves out.
fn tell(found: &Found) {
    let many = |count: usize, what: &str| format!("{count} {what} id{}", if count == 1 { "" } else { "s" });
    say(&format!("looking for {} and {}", many(found.users.len(), "user"), many(found.anonymous.len(), "anonymous")));
    if !found.shared.is_empty() {
        say(&format!(
            "{} belong to other users too and are left alone, but for events that name this one: name them with --anonymous to erase them",
            many(found.shared.len(), "anonymous")
        ));
    }
    if !found.not_telling.is_empty() {
        say(&format!(
            "{} of these are too short, or too much like a number, to be looked for in texts: only events whose user or anonymous id they are count",
            found.not_telling.len()
        ));
    }
}

/// Asks, where someone can answer.
fn is_meant(found: &Found) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(true);
    }
    let mut out = std::io::stderr().lock();
    write!(out, "Erase all events of {} ids? It cannot be undone. [y/N] ", found.person.ids().count())?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Waits until the stages have brought to its end what they had in work, and the journal has forgotten; where no server runs, does it.
async fn wait(begun: &mut Begun, lake: &Lake, settings: &Settings, timeout: Duration, bar: &Bar) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut told = false;
    loop {
        let waiting = begun.waiting(lake).await?;
        if waiting.is_over() {
            return Ok(());
        }
        bar.say(&words(waiting));
        if settings.journal.kind == JournalKind::Embedded && settings.journal_folder().is_dir() {
            match Embedded::open(settings.journal_folder(), settings.journal.embedded.clone()).await {
                Ok(journal) => {
                    bring_up(journal, lake, settings).await?;
                    continue;
                }
                // A server runs, and does it.
                Err(OpenError::Locked { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if began.elapsed() > timeout {
            let what = words(waiting);
            bail!(
                "{what}, and that took longer than --timeout; is a server with the role pipeline running? Run the command again, it goes on"
            );
        }
        if began.elapsed() > TELL_AFTER && !told {
            told = true;
            say(&words(waiting));
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

fn words(waiting: Waiting) -> String {
    let Waiting { versions, partitions } = waiting;
    match (versions, partitions) {
        (0, partitions) => format!("waiting for the journal to forget ({partitions} partitions)"),
        (versions, _) => format!("waiting for Silver ({versions} versions of Bronze)"),
    }
}

/// Brings what the journal holds to the tables, as a server does when it stops.
async fn bring_up(journal: Embedded, lake: &Lake, settings: &Settings) -> anyhow::Result<()> {
    let journal = Arc::new(journal);
    let stages = Pipeline::open(
        Arc::clone(&journal) as Arc<dyn journal::Journal>,
        lake.clone(),
        settings.index_folder(),
        settings.pipeline.clone(),
        Status::default(),
    );
    let (_stop, stopped) = watch::channel(true);
    Box::pin(stages.await?.run(stopped)).await?;
    if let Some(mut journal) = Arc::into_inner(journal) {
        journal.close().await;
    }
    Ok(())
}

/// What it is at, on a terminal.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self(bar)
    }

    fn say(&self, message: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(message.to_owned());
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn write(path: &std::path::Path, report: &Report) -> anyhow::Result<()> {
    let sealed = json!({ "report": report, "blake3": report.seal() });
    std::fs::write(path, serde_json::to_string_pretty(&sealed)? + "\n")?;
    Ok(())
}

fn print(format: Format, report: &Report) -> anyhow::Result<()> {
    let columns = ["table", "rows emptied", "rows removed", "files rewritten", "files deleted", "rows left"];
    let mut rows = output::stdout(format, output::heads(format, columns))?;
    for (name, done) in &report.tables {
        let Done { rows_emptied, rows_removed, files_rewritten, files_deleted } = done;
        let left = report.rows_left.get(name).copied().unwrap_or_default();
        let numbers = [*rows_emptied, *rows_removed, *files_rewritten, *files_deleted, left];
        rows.write(std::iter::once(json!(name)).chain(numbers.map(Value::from)).collect())?;
    }
    rows.finish()?;
    Ok(())
}

fn conclude(report: &Report) -> bool {
    say(&format!(
        "erasure {}: {} digests are on the list, {} partitions of the journal have forgotten, {} rows were searched; seal {}",
        report.erasure,
        report.digests.len(),
        report.journal_partitions,
        report.rows_searched,
        report.seal()
    ));
    if report.event_ids > 0 {
        say(&format!(
            "{} rows have one of the ids within the event's id, which is kept: deduplication and the books rest on it",
            report.event_ids
        ));
    }
    if !report.is_complete() {
        say(
            "something of the person is left: rows that came in meanwhile, or a table that Tidegate does not write; run it again, and look at the column rows left",
        );
    }
    report.is_complete()
}
