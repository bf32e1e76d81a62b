//! `tidegate recover`: dead letters once more through the present plan and code.

use std::collections::{BTreeMap, HashSet};
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use contract::mask::Key;
use contract::{Identity, Plan, Verdict, Violation};
use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lake::Lake;
use pipeline::recovery::{self, Arrival, Filter, Letter};
use serde_json::json;

use super::dead_letters::FilterArgs;
use super::{LakeArgs, say};
use crate::acts;
use crate::jobs::Job;
use crate::key_files;
use crate::output::{self, Format};
use crate::platform;
use crate::settings::Settings;

mod target;

use target::Target;

const REDRAW: Duration = Duration::from_millis(200);
/// Events that are appended at once.
const APPENDED_MAX: usize = 500;
/// The bytes after which no more are taken to these.
const APPENDED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Put dead letters through the present plan and code again
///
/// Each is judged as if it came now, and keeps the time at which it came; what passes goes into the journal, and so into Silver, once, however often this is run. What Silver has already is left
/// alone. What the gate refused (stage gate) is left alone unless asked for with --stage gate: the client was told so, and may have sent it again under another id. Works while a server runs on
/// this data folder, and without one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate recover --dry-run                        what would pass, and what would not
  tidegate recover --source web --reason wrong_type
  tidegate recover --from 2026-11-01 --to 2026-11-02")]
pub(crate) struct RecoverArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Only say what would come of it
    #[arg(long)]
    dry_run: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    lake: LakeArgs,
}

/// What became of the dead letters of one source and reason.
#[derive(Debug, Default)]
pub(crate) struct Line {
    pub(crate) letters: u64,
    /// Silver has them already.
    pub(crate) in_silver: u64,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Whatever the plan says, they cannot be put through.
    pub(crate) hopeless: u64,
    /// Why the first that did not pass did not.
    pub(crate) why: Option<String>,
}

/// What would become of dead letters.
#[derive(Debug)]
pub(crate) struct Judged {
    /// By source and reason.
    pub(crate) lines: Lines,
    /// Whether there are more than were looked at.
    pub(crate) has_more: bool,
}

type Lines = BTreeMap<(String, String), Line>;

/// What is put through, and how far it is.
struct Recovery {
    settings: Settings,
    plan: Arc<Plan>,
    pii_key: Key,
    target: Option<Target>,
    lines: Lines,
    /// The identities that passed: an event that was sent twice has two dead letters.
    passed: HashSet<[u8; 16]>,
    waiting: Vec<Arrival>,
    waiting_bytes: usize,
}

pub(crate) async fn run(args: RecoverArgs) -> anyhow::Result<bool> {
    let (lake, settings) = args.lake.open_with_settings().await?;
    let filter = recoverable(args.filter.filter());
    let command = command(&filter);
    let plan = platform::plan(settings.plan.file.as_deref())?;
    let (total, mut letters) = recovery::letters(&lake, &filter).await?;
    let pii_key = key_files::pii(&settings)?;
    let target = if args.dry_run || total == 0 { None } else { Some(Target::open(&settings).await?) };
    let act = if args.dry_run { None } else { Some(acts::tell(&settings, None, "recover", &command, json!({"dead_letters": total}))?) };
    let bar = bar(total);
    let job = (!args.dry_run).then(|| Job::begin(&settings.data, command, &bar));
    let put_through = async {
        let mut recovery = Recovery::new(settings, plan, pii_key, target);
        while let Some(batch) = letters.next().await {
            let batch = batch?;
            let count = batch.len() as u64;
            recovery.take(batch).await?;
            bar.inc(count);
        }
        recovery.append().await?;
        bar.finish_and_clear();
        let Recovery { target, lines, .. } = recovery;
        print(args.format, &lines, args.dry_run)?;
        let passed: u64 = lines.values().map(|line| line.passed).sum();
        anyhow::Ok(match target {
            None if args.dry_run => format!("{passed} of {total} dead letters would pass under this plan and code"),
            None => "there is nothing to put through".to_owned(),
            Some(target) => {
                let then = target.close().await;
                format!("{passed} of {total} dead letters passed, and are durable in the journal; {then}")
            }
        })
    };
    let outcome = Box::pin(put_through).await;
    let outcome = match act {
        Some(act) => act.done(outcome),
        None => outcome,
    };
    if let Some(job) = job {
        job.end(outcome.as_ref().map(String::as_str));
    }
    say(&outcome?);
    Ok(true)
}

/// The command, for whoever looks at the jobs.
fn command(filter: &Filter) -> String {
    let lists = [("source", &filter.sources), ("reason", &filter.codes), ("field", &filter.fields), ("stage", &filter.stages)];
    let all = lists.into_iter().filter(|(_, values)| !values.is_empty()).map(|(name, values)| format!(" --{name} {}", values.join(",")));
    let from = filter.from.map(|from| format!(" --from {}", from.date_text()));
    all.chain(from).fold("recover".to_owned(), |command, flag| command + &flag)
}

/// What would become of these dead letters if they were put through now; nothing is changed. Ends after so many of them.
///
/// # Errors
///
/// A lake that cannot be read.
pub(crate) async fn judge(lake: &Lake, settings: &Settings, plan: Arc<Plan>, filter: Filter, letters_max: u64) -> anyhow::Result<Judged> {
    let (_, mut letters) = recovery::letters(lake, &recoverable(filter)).await?;
    // Nothing is stored: what a hash is like makes no difference to the plan.
    let mut recovery = Recovery::new(settings.clone(), plan, Key::new([0; 32]), None);
    let (mut count, mut has_more) = (0, false);
    while let Some(batch) = letters.next().await {
        if count >= letters_max {
            has_more = true;
            break;
        }
        let batch = batch?;
        count += batch.len() as u64;
        recovery.take(batch).await?;
    }
    Ok(Judged { lines: recovery.lines, has_more })
}

/// What the gate refused is left alone unless it is asked for.
fn recoverable(mut filter: Filter) -> Filter {
    if filter.stages.is_empty() {
        filter.stages = vec!["plan".to_owned(), "silver".to_owned()];
    }
    filter
}

impl Recovery {
    fn new(settings: Settings, plan: Arc<Plan>, pii_key: Key, target: Option<Target>) -> Self {
        let (lines, passed) = (Lines::new(), HashSet::new());
        Self { settings, plan, pii_key, target, lines, passed, waiting: Vec::new(), waiting_bytes: 0 }
    }

    /// Judges dead letters, and appends what passes once there is enough of it.
    async fn take(&mut self, letters: Vec<Letter>) -> anyhow::Result<()> {
        let mut judged = Vec::new();
        for Letter { receipt, payload, position, code, hopeless, in_silver } in letters {
            let line = self.lines.entry((receipt.source.as_str().to_owned(), code.clone())).or_default();
            line.letters += 1;
            if in_silver {
                line.in_silver += 1;
            } else if let Some(why) = hopeless {
                line.hopeless += 1;
                line.why.get_or_insert_with(|| format!("{}: {why}", receipt.event_id.as_str()));
            } else {
                let again = ingest::judge_again(&receipt, &payload, &self.plan, &self.settings.ingest, &self.pii_key);
                judged.push((code, Arrival { receipt: again.receipt, payload: again.payload, position }));
            }
        }
        let accepted = |verdict: Verdict| matches!(verdict, Verdict::Accepted | Verdict::Flagged);
        let takeable: Vec<Arrival> =
            judged.iter().map(|(_, arrival)| arrival).filter(|arrival| accepted(arrival.receipt.verdict)).cloned().collect();
        let unfit = recovery::unfit(&takeable, &self.settings.pipeline.rules())?;
        for (code, arrival) in judged {
            let Arrival { receipt, payload, position } = &arrival;
            let place = (position.generation, position.partition, position.offset);
            let reason = if accepted(receipt.verdict) { unfit.get(&place) } else { receipt.violations.first() };
            let key = (receipt.source.as_str().to_owned(), code);
            let line = self.lines.entry(key).or_default();
            if let Some(reason) = reason {
                line.failed += 1;
                line.why.get_or_insert_with(|| why(receipt.event_id.as_str(), reason));
                continue;
            }
            let identity = Identity { source: receipt.source.as_str(), event_id: receipt.event_id.as_str() };
            if !self.passed.insert(identity.digest()) {
                line.in_silver += 1;
                continue;
            }
            line.passed += 1;
            self.waiting_bytes += payload.len();
            self.waiting.push(arrival);
            if self.waiting.len() >= APPENDED_MAX || self.waiting_bytes >= APPENDED_BYTES_MAX {
                self.append().await?;
            }
        }
        Ok(())
    }

    async fn append(&mut self) -> anyhow::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        match &self.target {
            Some(target) if !waiting.is_empty() => target.append(&waiting).await,
            _ => Ok(()),
        }
    }
}

fn why(event_id: &str, violation: &Violation) -> String {
    let Violation { code, field, message } = violation;
    let field = if field.is_empty() { String::new() } else { format!(" at {field}") };
    format!("{event_id}: {code}{field}, {message}")
}

fn print(format: Format, lines: &Lines, dry_run: bool) -> anyhow::Result<()> {
    let passed = if dry_run { "would pass" } else { "passed" };
    let columns =
        ["source", "reason", "dead letters", "already there", passed, "still failing", "cannot be put through", "why not, for example"];
    let mut rows = output::stdout(format, output::heads(format, columns))?;
    for ((source, code), line) in lines {
        let Line { letters, in_silver, passed, failed, hopeless, why } = line;
        let cells =
            vec![json!(source), json!(code), json!(letters), json!(in_silver), json!(passed), json!(failed), json!(hopeless), json!(why)];
        if !rows.write(cells)? {
            break;
        }
    }
    rows.finish()?;
    Ok(())
}

fn bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    bar.set_draw_target(if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} of {len} dead letters {wide_bar} {eta}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(REDRAW);
    bar
}
