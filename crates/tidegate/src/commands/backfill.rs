//! `tidegate backfill`: historic rows of files through the gate.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use contract::{SourceName, Timestamp};
use telemetry::clock::{Clock as _, SystemClock};

use super::send::{DeliveryArgs, print};
use super::{DataArgs, say};
use crate::backfill::files::{self, Source};
use crate::backfill::id::Ids;
use crate::backfill::mapping::Mapping;
use crate::backfill::rows::Format as Input;
use crate::backfill::state::Tracker;
use crate::backfill::{Reader, rows};
use crate::jobs::Job;
use crate::misuse::Misuse;
use crate::output::Format;
use crate::platform;
use crate::send::{Account, Judge, Progress, Recipient, Rejects, deliver_all};

/// Where state and copies of objects lie in the data folder.
const FOLDER: &str = "backfill";
/// Files that the job's name has.
const FILES_NAMED_MAX: usize = 3;

/// Put historic rows of NDJSON, CSV or Parquet files through the gate
///
/// Each row becomes an event as any other: judged by the plan, durable in the journal, in the partition of Silver of the day on which it happened. Repeating it adds nothing: rows that bring no id get one
/// that is made of the file's content, and how far each file was brought is noted in the data folder. Files may be packed (gzip, Zstandard), and may lie on S3.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate backfill orders.csv.gz --mapping orders.yaml --dry-run --url http://127.0.0.1:8099 --key tg_…
  tidegate backfill orders.csv.gz --mapping orders.yaml --url http://127.0.0.1:8099 --key tg_…
  tidegate backfill s3://my-bucket/events/2025/ --url … --key … --rejects rejected.ndjson

A mapping:
  event_type: {value: order}
  event_time: created_at
  user_id: customer_id
  properties: {total: {column: amount, type: number}}
  other_columns: drop

Exit code 1 when a row was refused or not delivered.")]
pub(crate) struct BackfillArgs {
    /// Files, folders, and s3://bucket/prefix
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    #[command(flatten)]
    delivery: DeliveryArgs,
    /// Which column is what (YAML) [default: columns named as the event's fields; the others are properties]
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// What is in the files [default: as their names say]
    #[arg(long, value_enum)]
    input: Option<Input>,
    /// What ids are made of, for rows that bring none: row (the file's content and the row's number) or content (the row alone: equal rows are one event)
    #[arg(long, value_enum, default_value = "row")]
    id: IdArg,
    /// Events in one request at most
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Read so many rows at most
    #[arg(long, value_name = "ROWS")]
    limit: Option<u64>,
    /// Judge the rows here, with the plan of these settings, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Add the refused rows to a file, with the reason, one JSON object a line
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Send rows again that an earlier run has brought
    #[arg(long)]
    again: bool,
    /// How the summary is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    data: DataArgs,
}

/// What ids are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum IdArg {
    Row,
    Content,
}

pub(crate) async fn run(args: BackfillArgs) -> anyhow::Result<bool> {
    let settings = args.data.load(Vec::new())?.settings;
    let delivery = args.delivery.delivery()?;
    let text = match &args.mapping {
        Some(path) => Some(std::fs::read_to_string(path).with_context(|| format!("cannot read the mapping {}", path.display()))?),
        None => None,
    };
    let mapping = match (&args.mapping, &text) {
        (Some(path), Some(text)) => Mapping::parse(text, &path.display().to_string()).map_err(Misuse)?,
        _ => Mapping::by_name(),
    };
    let folder = settings.data.join(FOLDER);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let sources = files::find(&args.files, &settings.lake.options.s3).await?;
    for source in sources.iter().filter(|_| args.input.is_none()) {
        rows::Format::of(source.name()).with_context(|| source.name().to_owned()).map_err(|error| Misuse(format!("{error:#}")))?;
    }
    let names: Vec<String> = sources.iter().take(FILES_NAMED_MAX).map(|source| source.name().to_owned()).collect();
    let noted = (!args.dry_run).then(|| folder.clone());
    let order =
        [delivery.url.as_str().as_bytes(), delivery.key.as_bytes(), text.as_deref().unwrap_or_default().as_bytes(), &[args.id as u8]];
    let tracker = Tracker::new(noted, &order, args.again);
    let progress = Progress::new(Some(sources.iter().map(Source::bytes).sum()));
    let reader = Reader {
        sources,
        format: args.input,
        mapping,
        ids: match args.id {
            IdArg::Row => Ids::Row,
            IdArg::Content => Ids::Content,
        },
        batch: usize::try_from(args.batch).unwrap_or(usize::MAX),
        limit: args.limit.unwrap_or(u64::MAX),
        scratch: folder,
        bytes: progress.bar(),
        tracker: tracker.clone(),
    };
    let rejects = args.rejects.as_deref().map(|path| Rejects::open(path).with_context(|| format!("cannot write {}", path.display())));
    let account = Account::with_rejects(rejects.transpose()?);
    let recipient = if args.dry_run {
        let source = SourceName::try_from(FOLDER.to_owned()).map_err(|error| anyhow!(error.to_string()))?;
        let now = Timestamp(SystemClock.now_micros());
        let id = contract::id::uuid_v7(now, [0; 10]);
        Recipient::Judge(Box::new(Judge::new(platform::plan(settings.plan.file.as_deref())?, settings.ingest.clone(), source, id, now)))
    } else {
        Recipient::Gate(Box::new(delivery))
    };
    let settled = {
        let tracker = tracker.clone();
        move |batch| tracker.settled(batch)
    };
    let began = std::time::Instant::now();
    let job = (!args.dry_run).then(|| Job::begin(&settings.data, format!("backfill {}", names.join(" ")), &progress.bar()));
    let delivered = deliver_all(recipient, account, progress, move |found| reader.run(found), settled).await;
    if let Some(job) = job {
        let said = |account: &Account| format!("{} rows read, {} events accepted", account.read, account.accepted);
        match &delivered {
            Ok(account) => job.end(Ok(&said(account))),
            Err(error) => job.end(Err(error)),
        }
    }
    let account = delivered?;
    tracker.finish();
    print(&account, args.format)?;
    tell(&account, &tracker, args.dry_run, began.elapsed());
    Ok(account.is_clean())
}

fn tell(account: &Account, tracker: &Tracker, dry_run: bool, took: Duration) {
    let before = tracker.before();
    if before > 0 {
        say(&format!("{before} rows were brought by an earlier run and not sent again (--again sends them; it adds nothing)"));
    }
    let rate = account.read as f64 / took.as_secs_f64().max(0.001);
    let what = if dry_run { "judged here, none sent" } else { "read" };
    say(&format!("{} rows {what}, {rate:.0} a second", account.read));
    if !account.quarantined.is_empty() {
        let then = if dry_run { "would be kept as dead letters" } else { "are kept as dead letters: see `tidegate dead-letters`" };
        say(&format!("{} rows break the plan and {then}", account.quarantined.values().sum::<u64>()));
    }
}
