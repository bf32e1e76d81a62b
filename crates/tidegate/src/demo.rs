//! `tidegate demo`: the whole path with realistic traffic, and every figure held against what was sent.
//!
//! The platform is the real one and the events go through its HTTP API. Only its clock is the demo's: it stands at the time at which a step's events are sent, so days pass
//! in seconds and every figure is the same for the same seed. Nothing here decides what an event means: what must come out is counted by the generator ([`expected`]),
//! what came out is asked of the lake ([`found`]).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use contract::{SourceName, Timestamp};
use ingest::WriteKey;
use ingest::keys::Scope;
use telemetry::clock::{Clock as _, ManualClock, SharedClock, SystemClock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

mod catalogue;
mod expected;
mod experiment;
mod facts;
mod flaws;
mod folder;
mod found;
mod gate;
mod progress;
pub(crate) mod random;
mod report;
mod rhythm;
mod session;
mod traffic;
mod visitor;
mod wire;

use crate::commands::say;
use crate::output;
use crate::platform::Platform;
use crate::settings::Settings;
use expected::Expected;
use folder::Folder;
use found::Found;
use gate::{Answers, Gate, Keys};
use progress::Progress;
use report::{Asked, Report};
use traffic::{Step, Traffic};

const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;
/// Live, so often is what is due sent.
const TICK: Duration = Duration::from_millis(250);
/// Between two looks at the stages while they finish.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// See the whole path at work, with made-up traffic
///
/// Runs the platform on the traffic of a shop that does not exist: duplicates, late and invalid events, wrong clocks, robots, and an A/B test
/// whose true effect is known. Prints the books, expected beside found, and the experiment's result beside the truth. Exit code 1 if anything differs.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  tidegate demo --once                        three days of traffic in seconds, then the report
  tidegate demo --data ./tidegate-demo-data   with live traffic after that, and the data kept
  tidegate demo --once --users 20000 --seed 1 --format json")]
pub(crate) struct DemoArgs {
    /// End after the history; without it, live traffic follows until Ctrl-C
    #[arg(long)]
    pub(crate) once: bool,
    /// Visitors of the shop
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub(crate) users: u32,
    /// What chance begins with: the same number gives the same figures
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub(crate) seed: u64,
    /// Days of history, sent as fast as it goes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=90))]
    pub(crate) days: u32,
    /// Events a second of the live traffic, about
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub(crate) rate: u32,
    /// Where the API listens; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: String,
    /// A folder for the data, new or empty, to keep it; without it, the data is in a temporary folder and removed at the end
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// How the report is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

/// How the report is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// As one JSON document
    Json,
}

/// Runs the demo. Tells whether everything was found as expected and the books balance.
///
/// No settings are read: the figures hold for the platform as it is by default, and nothing of the demo may get into a lake that someone has configured.
///
/// # Errors
///
/// What keeps the demo from coming to a report.
pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<bool> {
    let folder = Folder::prepare(args.data.as_deref())?;
    let stop = stop_signal()?;
    let midnight = SystemClock.now_micros().div_euclid(DAY_MICROS) * DAY_MICROS;
    let start = midnight - i64::from(args.days) * DAY_MICROS;
    let clock = Arc::new(ManualClock::at(start));
    let settings = own_settings(&args, &folder, Timestamp(start))?;
    // Before the gate opens: it looks for new keys only now and then.
    let keys = keys(&settings, Timestamp(start))?;
    let mut platform = Box::pin(Platform::start(&settings, Arc::clone(&clock) as SharedClock)).await?;
    welcome(&args, &platform, &folder);

    let gate = Gate::new(reachable(platform.address()), keys)?;
    let mut drive = Drive {
        gate,
        clock,
        status: platform.status(),
        stop,
        traffic: Traffic::new(args.seed, args.users, args.days, start),
        expected: Expected::default(),
        answers: Answers::default(),
        progress: Progress::new(),
    };
    let driven = tokio::select! {
        driven = Box::pin(drive.run(&args)) => driven,
        error = platform.failed() => Err(error),
    };
    let address = platform.address();
    let lake = lake::Lake::open(&settings.lake_location(), settings.lake.options.clone()).await?;
    let stopped = drive.finish(platform).await;
    driven?;
    stopped?;

    let found = Box::pin(Found::ask(&lake)).await?;
    let asked = Asked { users: args.users, days: args.days, seed: args.seed };
    let report = Report::new(asked, &drive.expected, &drive.answers, &found);
    output::text(&match args.format {
        Format::Table => report::render(&report),
        Format::Json => report.to_json()?,
    })?;
    farewell(&folder, address);
    Ok(report.is_sound())
}

/// The platform as it is by default, in the demo's folder.
fn own_settings(args: &DemoArgs, folder: &Folder, start: Timestamp) -> anyhow::Result<Settings> {
    let mut settings = Settings { data: folder.path().to_owned(), ..Settings::default() };
    settings.server.listen.clone_from(&args.listen);
    settings.console.listen = Some("127.0.0.1:0".to_owned());
    settings.pipeline.experiments = Some(experiment::define(folder.path(), start)?);
    // Days are held against days: from midnight, where the history ends, to the live traffic there are hours that nobody was silent in.
    settings.pipeline.anomaly_window = Duration::from_secs(24 * 60 * 60);
    Ok(settings)
}

fn keys(settings: &Settings, now: Timestamp) -> anyhow::Result<Keys> {
    let keys = Keys { web: WriteKey::generate(), app: WriteKey::generate() };
    for (name, key) in [("demo-web", &keys.web), ("demo-app", &keys.app)] {
        let name: SourceName = name.parse()?;
        settings.key_file().add(name, key, Scope::default(), now)?;
    }
    Ok(keys)
}

/// An address that listens everywhere is reached on this machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Becomes true at the first Ctrl-C or SIGTERM. The second ends the process at once.
fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if sender.send_replace(true) {
                std::process::exit(1);
            }
            say("stopping: the rest is being brought to Gold; once more Ctrl-C ends at once");
        }
    });
    Ok(receiver)
}

/// The demo on its way.
#[derive(Debug)]
struct Drive {
    gate: Gate,
    clock: Arc<ManualClock>,
    status: pipeline::Status,
    stop: watch::Receiver<bool>,
    traffic: Traffic,
    expected: Expected,
    answers: Answers,
    progress: Progress,
}

impl Drive {
    async fn run(&mut self, args: &DemoArgs) -> anyhow::Result<()> {
        self.history().await?;
        if args.once || *self.stop.borrow() {
            return Ok(());
        }
        self.live(args.rate).await
    }

    /// The history, step by step. Each step is answered whole before the clock goes on, so what is sent at once changes no figure.
    async fn history(&mut self) -> anyhow::Result<()> {
        while !*self.stop.borrow()
            && let Some(step) = self.traffic.next_step()
        {
            self.clock.advance_to(step.at);
            self.send(&step).await?;
            self.show("history");
        }
        self.clock.advance_to(self.traffic.end());
        Ok(())
    }

    async fn live(&mut self, rate: u32) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut from = self.now();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = self.stop.wait_for(|stop| *stop) => return Ok(()),
            }
            let until = self.now();
            let step = self.traffic.live_step(from, until, rate);
            self.send(&step).await?;
            self.show("live");
            from = until;
        }
    }

    /// The system's time, to which the platform's clock is set. It never goes back.
    fn now(&self) -> i64 {
        self.clock.advance_to(SystemClock.now_micros());
        self.clock.now_micros()
    }

    async fn send(&mut self, step: &Step) -> anyhow::Result<()> {
        if step.parcels.is_empty() {
            return Ok(());
        }
        let answers = self.gate.send(step).await?;
        self.answers = std::mem::take(&mut self.answers).plus(answers);
        for parcel in &step.parcels {
            self.expected.count(parcel);
        }
        Ok(())
    }

    fn show(&mut self, what: &str) {
        self.progress.show(what, self.expected.sent, self.answers.accepted, &self.status.get());
    }

    /// Stops the platform, which brings all it has to Gold, and shows how that goes.
    async fn finish(&mut self, platform: Platform) -> anyhow::Result<()> {
        let mut stopping = Box::pin(platform.stop());
        let outcome = loop {
            tokio::select! {
                outcome = &mut stopping => break outcome,
                () = tokio::time::sleep(LOOK_EVERY) => self.show("finishing"),
            }
        };
        self.progress.end();
        let seconds = self.progress.elapsed().as_secs_f64();
        let sent = self.expected.sent;
        say(&format!("{sent} events in {seconds:.1} s, from the first request to Gold: {:.0} events/s", sent as f64 / seconds.max(0.001)));
        outcome
    }
}

fn welcome(args: &DemoArgs, platform: &Platform, folder: &Folder) {
    let data = folder.path().display();
    let keeps = if folder.is_temporary() { "removed at the end; --data DIR keeps it" } else { "kept" };
    say(&format!("The API is at http://{}", platform.address()));
    if let Some(console) = platform.console_address() {
        say(&format!("The console is at http://{console}, with the experiment's result at /experiments/{} as it comes", experiment::ID));
    }
    say(&format!("The data is in {data} ({keeps})"));
    say(&format!("Look into it meanwhile: tidegate query \"SELECT event_type, count(*) FROM silver.events GROUP BY 1\" --data {data}"));
    if !args.once {
        say(&format!("After the history comes live traffic, about {} events a second; Ctrl-C ends with the report", args.rate));
    }
    say("");
}

fn farewell(folder: &Folder, address: SocketAddr) {
    let kept = !folder.is_temporary();
    let data = if kept { folder.path().display().to_string() } else { "./tidegate-demo-data".to_owned() };
    say(&format!("\nThe API was at http://{address}; `tidegate serve` brings one up again."));
    if kept {
        say("To go on from here:");
    } else {
        say("The data of this run is removed. To keep it and go on from there:");
        say(&format!("  tidegate demo --once --data {data}"));
    }
    say(&format!("  tidegate experiment {} --data {data}", experiment::ID));
    say(&format!("  tidegate query \"SELECT * FROM gold.activity_by_day ORDER BY event_date, events DESC\" --data {data}"));
    say(&format!("  tidegate query \"SELECT stage, code, field, message FROM dead_letters LIMIT 10\" --data {data}"));
    say(&format!("  tidegate audit --data {data}"));
    say(&format!("  tidegate serve --data {data}"));
}
