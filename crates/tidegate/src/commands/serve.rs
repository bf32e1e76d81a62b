//! `tidegate serve`: the platform, until it is told to stop.

use std::net::SocketAddr;
use std::path::Path;
use std::process;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;
use telemetry::clock::{SharedClock, SkewedClock, SystemClock};
use telemetry::logging;
use telemetry::traces::Traces;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::DataArgs;
use crate::platform::Platform;
use crate::settings::{Flag, JournalKind, Role, Settings};

/// Run the platform: take events in over HTTP and make tables of them
///
/// With no settings at all it listens on 127.0.0.1:8099 and keeps everything in ./tidegate-data. SIGTERM or Ctrl-C stops it once all it has taken is in
/// the tables; a second one ends it at once, and nothing is lost by that either.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate serve
  tidegate serve --data /var/lib/tidegate --listen 0.0.0.0:8099
  tidegate serve --postgres 127.0.0.1:8098          and let psql, Grafana and BI tools read (see `tidegate reader`)
  TIDEGATE_PIPELINE__COMMIT_INTERVAL=5s tidegate serve --config /etc/tidegate.toml")]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Host and port to listen on; port 0 takes a free one [default: 127.0.0.1:8099]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Host and port for Postgres clients, which may read; port 0 takes a free one [default: no such port]
    #[arg(long, value_name = "ADDRESS")]
    postgres: Option<String>,
    /// Host and port of the console's pages, such as 127.0.0.1:8097; `tidegate token add` lets people sign in [default: no such port]
    #[arg(long, value_name = "ADDRESS")]
    console: Option<String>,
    /// What this process does: ingest, pipeline, console [default: all of it]
    #[arg(long, value_name = "ROLES", value_delimiter = ',')]
    roles: Option<Vec<String>>,
    /// Lets the clock of this process be wrong by so much, such as 1d or -90s: to try out what becomes of events then
    #[arg(long, value_name = "TIME", value_parser = skew, hide = true, allow_hyphen_values = true)]
    clock_skew: Option<i64>,
}

/// Microseconds, of a time such as `1d` or `-90s`.
fn skew(text: &str) -> Result<i64, String> {
    let (sign, rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let time = humantime::parse_duration(rest).map_err(|error| error.to_string())?;
    i64::try_from(time.as_micros()).map(|micros| sign * micros).map_err(|_| "that is too long".to_owned())
}

impl ServeArgs {
    fn flags(&self) -> Vec<Flag> {
        let listen = self.listen.as_deref().map(|listen| Flag { name: "--listen", key: "server.listen", value: Value::from(listen) });
        let roles = self.roles.clone().map(|roles| Flag { name: "--roles", key: "server.roles", value: Value::from(roles) });
        let postgres =
            self.postgres.as_deref().map(|listen| Flag { name: "--postgres", key: "postgres.listen", value: Value::from(listen) });
        let console = self.console.as_deref().map(|listen| Flag { name: "--console", key: "console.listen", value: Value::from(listen) });
        listen.into_iter().chain(roles).chain(postgres).chain(console).collect()
    }
}

pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<bool> {
    let loaded = args.data.load(args.flags())?;
    let settings = loaded.settings;
    let traces = settings.traces.endpoint.as_deref().map(|endpoint| Traces::to(endpoint, env!("CARGO_PKG_VERSION"))).transpose()?;
    logging::init(settings.log.format, &settings.log.filter, traces.as_ref())?;
    let clock: SharedClock = match args.clock_skew {
        Some(micros) => {
            tracing::warn!(seconds = micros / 1_000_000, "the clock of this process is wrong, as it was told to be");
            Arc::new(SkewedClock::by(micros))
        }
        None => Arc::new(SystemClock),
    };
    let outcome = Box::pin(serve(&settings, clock)).await;
    if let Some(traces) = traces {
        traces.end().await;
    }
    outcome
}

async fn serve(settings: &Settings, clock: SharedClock) -> anyhow::Result<bool> {
    // Before anything is opened, so that a stop is never missed.
    let mut signals = Signals::new()?;
    let mut platform = tokio::select! {
        started = Box::pin(Platform::start(settings, clock)) => started?,
        name = signals.next() => {
            tracing::info!(signal = name, "stopped while starting");
            return Ok(true);
        }
    };
    tell(&platform, settings)?;

    let failure = tokio::select! {
        name = signals.next() => {
            tracing::info!(signal = name, "stopping: what was taken is brought to the tables first");
            None
        }
        error = platform.failed() => {
            let told = format!("{error:#}");
            tracing::error!(error = told, "stopping after a failure");
            Some(error)
        }
    };
    let outcome = tokio::select! {
        stopped = Box::pin(platform.stop_within(settings.server.shutdown_timeout)) => stopped,
        name = signals.next() => {
            tracing::warn!(signal = name, "ended at once; what was taken is in the journal, the next start goes on there");
            process::exit(1);
        }
    };
    match (failure, outcome) {
        (None, Ok(())) => {
            let rest = if settings.journal.kind == JournalKind::Embedded { "in the tables" } else { "in the tables or in Kafka" };
            tracing::info!("stopped, all that was taken is {rest}");
            Ok(true)
        }
        (None, Err(error)) | (Some(error), Ok(())) => Err(error),
        (Some(first), Err(second)) => {
            let told = format!("{second:#}");
            tracing::error!(error = told, "the stop failed too");
            Err(first)
        }
    }
}

/// What whoever started it wants to know first.
fn tell(platform: &Platform, settings: &Settings) -> anyhow::Result<()> {
    let (address, scheme) = (platform.address(), settings.server.scheme());
    let roles: Vec<String> = settings.server.roles.iter().map(Role::to_string).collect();
    let data = absolute(&settings.data);
    tracing::info!(address = %format!("{scheme}://{address}"), data, lake = settings.lake_location(), roles = roles.join(","), "running");
    tell_of_reach(address, settings);
    if let Some(address) = platform.postgres_address() {
        tell_of_postgres(address, settings, &data)?;
    }
    if let Some(address) = platform.console_address() {
        tracing::info!(address = %format!("{scheme}://{address}/"), "the console");
    }
    if settings.has(Role::Ingest) && !platform.key_file().list()?.iter().any(|entry| entry.revoked_at.is_none()) {
        tracing::info!(
            command = format!("tidegate source add web --data {data}"),
            "no source has a write key yet; make one, no restart is needed"
        );
    }
    if !settings.has(Role::Pipeline) {
        tracing::info!("without the role pipeline, events stay in the journal until a process with that role reads them");
    }
    Ok(())
}

fn tell_of_reach(address: SocketAddr, settings: &Settings) {
    if address.ip().is_loopback() {
        return;
    }
    let tls = &settings.server.tls;
    if tls.certificate_file.is_none() {
        tracing::warn!(
            %address,
            "listening beyond this machine, without encryption: anyone who reaches the address reads /metrics and, on the way, write keys; set server.tls, or put a proxy with TLS in front"
        );
    } else if tls.client_ca_file.is_none() {
        tracing::info!(%address, "listening beyond this machine, with TLS: anyone who reaches the address reads /metrics");
    }
}

fn tell_of_postgres(address: SocketAddr, settings: &Settings, data: &str) -> anyhow::Result<()> {
    tracing::info!(%address, database = "tidegate", "Postgres clients can read");
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "Postgres clients are answered beyond this machine, without encryption: passwords are safe, what is read is not");
    }
    if settings.reader_file().list()?.is_empty() {
        tracing::info!(
            command = format!("tidegate reader add NAME --data {data}"),
            "nobody may read yet; add a reader, no restart is needed"
        );
    }
    Ok(())
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// The signals that stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
