//! The events themselves, for whoever is to be measured with the same ones.

use std::io::{BufWriter, Write as _};

use clap::Args;
use contract::Timestamp;
use telemetry::clock::{Clock as _, SystemClock};

use super::model::{Events, Ids, Kinds, Writer};

/// What is written at a time.
const CHUNK_BYTES: usize = 256 * 1024;

#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// How many
    #[arg(long, value_name = "N")]
    count: u64,
    /// What chance begins with; with it and --from, the events are the same each time
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The time of the first, RFC 3339 [default: such that the last one is of now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    #[command(flatten)]
    kinds: KindsArgs,
}

/// What the events are like.
#[derive(Debug, Clone, Args)]
pub(super) struct KindsArgs {
    /// Bytes of each event
    #[arg(long, value_name = "N", default_value_t = 850, value_parser = bytes)]
    pub(super) event_bytes: usize,
    /// The share that are exact copies of one before
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = share)]
    pub(super) copies: f64,
    /// The share that come late, up to a year
    #[arg(long, value_name = "SHARE", default_value_t = 0.05, value_parser = share)]
    pub(super) late: f64,
    /// Ids are random (UUIDv4) and not of the time of the event (UUIDv7)
    #[arg(long, visible_alias = "random")]
    pub(super) random_ids: bool,
}

impl KindsArgs {
    /// The same, as the model has it.
    pub(super) fn kinds(&self) -> Kinds {
        Kinds { ids: if self.random_ids { Ids::Random } else { Ids::ByTime }, copies: self.copies, late: self.late }
    }
}

/// A share, from 0 to 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "give a share from 0 to 1, such as 0.01".to_owned())
}

/// The size of an event.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let bytes = text.parse::<usize>().ok().filter(|bytes| *bytes <= 1 << 20);
    bytes.ok_or_else(|| "give a number of bytes, at most 1048576".to_owned())
}

fn time(text: &str) -> Result<Timestamp, String> {
    contract::time::parse_text(text).map_err(|error| error.to_string())
}

pub(super) fn run(args: &EventsArgs) -> anyhow::Result<()> {
    let from = args.from.unwrap_or_else(|| Events::beginning(Timestamp(SystemClock.now_micros()), args.count));
    let mut writer = Writer::new(args.kinds.event_bytes, false);
    let mut out = BufWriter::with_capacity(CHUNK_BYTES, std::io::stdout().lock());
    let mut line = Vec::new();
    let mut events = Events::new(args.kinds.kinds(), args.seed, from);
    for _ in 0..args.count {
        let Some(event) = events.next() else { break };
        line.clear();
        writer.write(&event, &mut line);
        line.push(b'\n');
        out.write_all(&line)?;
    }
    out.flush()?;
    Ok(())
}
