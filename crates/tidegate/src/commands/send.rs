//! `tidegate send`: events of files to a gate.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use reqwest::Url;
use serde_json::json;
use telemetry::clock::SystemClock;

use super::say;
use crate::misuse::Misuse;
use crate::output::{self, Format};
use crate::send::{self, Account, Delivery, Input, Order, Shape, TrustArgs};

/// What stands for standard input among the files.
const STDIN: &str = "-";

/// Send the events of files to a gate: one JSON object a line, plain or gzip
///
/// An event without an id gets one before it is sent, so that a batch whose answer was lost can be sent again and adds nothing twice. Lines with ids can be
/// sent by another run of this command again, too. A line that is no JSON object is reported with its place and not sent; whatever else is wrong with an
/// event is for the gate to say.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate send events.ndjson more.ndjson.gz --url http://127.0.0.1:8099 --key tg_…
  zcat old/*.gz | TIDEGATE_KEY=tg_… tidegate send - --url https://events.example.com --shape segment
  tidegate send events.ndjson --url https://gate.internal:8099 --key tg_… --ca-file ca.pem

Exit code 1 when an event was refused or not delivered.")]
pub(crate) struct SendArgs {
    /// Files to send; - is standard input
    #[arg(value_name = "FILE", default_value = STDIN)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    delivery: DeliveryArgs,
    /// Shape of the events; auto looks at the first one of each file
    #[arg(long, value_enum, default_value_t)]
    shape: ShapeArg,
    /// Events in one request at most
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// How the summary is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Where events are sent to, and how.
#[derive(Debug, Args)]
pub(crate) struct DeliveryArgs {
    /// Address of the gate, such as http://127.0.0.1:8099
    #[arg(long, value_name = "URL", env = "TIDEGATE_URL")]
    url: String,
    /// Write key
    #[arg(long, value_name = "KEY", env = "TIDEGATE_KEY", hide_env_values = true)]
    key: String,
    /// Secret to sign requests with, for a key that asks for it
    #[arg(long, value_name = "SECRET", env = "TIDEGATE_SIGNING_SECRET", hide_env_values = true)]
    signing_secret: Option<String>,
    #[command(flatten)]
    trust: TrustArgs,
    /// Requests in work at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// How long a batch is sent again before it is given up, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    retry_for: u32,
}

impl DeliveryArgs {
    /// The address, the key and the files, looked at.
    pub(crate) fn delivery(self) -> Result<Delivery, Misuse> {
        let url: Url =
            self.url.parse().map_err(|error| Misuse(format!("--url {}: {error}; give it such as http://127.0.0.1:8099", self.url)))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(Misuse(format!("--url {url} is no address of a gate; give it such as http://127.0.0.1:8099")));
        }
        let key: ingest::WriteKey = self.key.parse().map_err(|error: ingest::keys::Error| Misuse(format!("--key: {error}")))?;
        let (concurrency, patience) = (usize::from(self.concurrency), Duration::from_secs(self.retry_for.into()));
        let trust = self.trust.read().map_err(|error| Misuse(format!("{error:#}")))?;
        Ok(Delivery { url, key: key.reveal().to_owned(), signing_secret: self.signing_secret, trust, concurrency, patience })
    }
}

/// The shape of the events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum ShapeArg {
    /// As the first event of each file looks
    #[default]
    Auto,
    /// Tidegate's own: event_type, event_id, …
    Native,
    /// Segment's calls: type, messageId, …
    Segment,
}

pub(crate) async fn run(args: SendArgs) -> anyhow::Result<bool> {
    let format = args.format;
    if args.files.iter().any(|file| file.as_os_str() == STDIN) && std::io::stdin().is_terminal() {
        say("reading events from the terminal, one JSON object a line; Ctrl-D ends");
    }
    let account = send::run(order(args)?, Arc::new(SystemClock)).await?;
    print(&account, format)?;
    Ok(account.is_clean())
}

/// What became of all that was read.
pub(crate) fn print(account: &Account, format: Format) -> anyhow::Result<()> {
    let mut rows = output::stdout(format, ["events", "code", "count"].map(str::to_owned).into())?;
    for (outcome, code, count) in account.rows() {
        if !rows.write(vec![json!(outcome), if code.is_empty() { json!(null) } else { json!(code) }, json!(count)])? {
            break;
        }
    }
    rows.finish()?;
    if let Some(reason) = &account.stopped {
        say(&format!("error: stopped before the end: {reason}"));
    }
    Ok(())
}

fn order(args: SendArgs) -> Result<Order, Misuse> {
    let input = |file: PathBuf| if file.as_os_str() == STDIN { Input::Stdin } else { Input::File(file) };
    Ok(Order {
        inputs: args.files.into_iter().map(input).collect(),
        shape: match args.shape {
            ShapeArg::Auto => None,
            ShapeArg::Native => Some(Shape::Native),
            ShapeArg::Segment => Some(Shape::Segment),
        },
        batch: usize::try_from(args.batch).unwrap_or(usize::MAX),
        delivery: args.delivery.delivery()?,
    })
}
