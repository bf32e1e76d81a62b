//! `tidegate doctor`: whether what the settings name is there and does what is needed, and how to mend what does not.

use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use journal::kafka::Kafka;
use lake::Lake;
use listener::tls::{self, Files};
use pipeline::Glance;
use serde::Serialize;
use serde_json::json;
use telemetry::clock::{Clock as _, SystemClock};

use super::DataArgs;
use crate::output::{self, Format};
use crate::settings::{JournalKind, Settings};
use crate::{platform, settings};

/// How long one check may take.
const CHECK_MAX: Duration = Duration::from_secs(60);
/// A clock that is off by so much gives wrong times of receipt.
const CLOCK_OFF_MILLIS: u64 = 5_000;
/// A certificate that expires within so many seconds is told of: a week, as by the alert.
const EXPIRES_SOON_SECONDS: i64 = 7 * 86_400;
/// With less than so many times what must stay free, the disk is told of.
const FREE_TIMES: u64 = 4;

/// Check whether what the settings name is there and does what is needed, and say how to mend what does not
///
/// Reads the settings, tracking plan, models, experiments and the certificate; tries out the data folder, the journal (or Kafka and its topic), and the lake's store: to create an object, to be refused when it is
/// created again, to list, read and delete it; compares clocks; looks at the tables. Changes nothing, and works beside a running server. Exit code 1 where something has to be mended.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate doctor
  tidegate doctor --config /etc/tidegate.toml --format json")]
pub(crate) struct DoctorArgs {
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    data: DataArgs,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Passed,
    /// It works, and could be better.
    Warning,
    /// It does not work until this is mended.
    Failed,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "✓ passed",
            Self::Warning => "! warning",
            Self::Failed => "✕ failed",
        })
    }
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check {
    name: &'static str,
    state: State,
    /// What was found.
    found: String,
    /// What to do about it; nothing where it passed.
    mend: String,
}

impl Check {
    fn passed(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Passed, found: found.into(), mend: String::new() }
    }

    fn warning(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, state: State::Warning, found: found.into(), mend: mend.into() }
    }

    fn failed(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, state: State::Failed, found: found.into(), mend: mend.into() }
    }
}

pub(crate) async fn run(args: DoctorArgs) -> anyhow::Result<bool> {
    let checks = match args.data.load(Vec::new()) {
        Ok(loaded) => examine(&loaded.settings).await,
        Err(error) => vec![unreadable(&error)],
    };
    let mut rows = output::stdout(args.format, ["check", "state", "found", "what to do"].map(str::to_owned).into())?;
    for Check { name, state, found, mend } in &checks {
        let state = if args.format == Format::Table { json!(state.to_string()) } else { json!(state) };
        rows.write(vec![json!(name), state, json!(found), json!(mend)])?;
    }
    rows.finish()?;
    Ok(checks.iter().all(|check| check.state != State::Failed))
}

fn unreadable(error: &settings::Error) -> Check {
    Check::failed("settings", error.to_string(), "mend it; `tidegate config` shows all settings, with where each comes from")
}

async fn examine(settings: &Settings) -> Vec<Check> {
    let roles: Vec<String> = settings.server.roles.iter().map(ToString::to_string).collect();
    let mut checks = vec![
        Check::passed("version", format!("tidegate {}, {} {}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH)),
        Check::passed("settings", format!("can be used; roles {}", roles.join(", "))),
        plan(settings),
        definitions(settings),
        data_folder(&settings.data),
        disk(settings),
        write_keys(settings),
    ];
    checks.extend(settings.server.tls.files().map(|files| certificate(&files, SystemClock.now_micros().div_euclid(1_000_000))));
    checks.push(within("journal", journal(settings)).await);
    if let Some(folder) = settings.lake_folder().filter(|folder| !folder.exists()) {
        checks.push(Check::passed("lake", format!("{} is made by the first start", folder.display())));
        return checks;
    }
    match tokio::time::timeout(CHECK_MAX, Lake::open(&settings.lake_location(), settings.lake.options.clone())).await {
        Ok(Ok(lake)) => {
            checks.extend(store(&lake).await);
            checks.push(within("tables", tables(&lake, settings)).await);
        }
        Ok(Err(error)) => checks.push(Check::failed("lake", error.to_string(), "mend lake.location, [lake.s3] or the AWS variables")),
        Err(_) => checks.push(too_slow("lake")),
    }
    checks
}

async fn within(name: &'static str, check: impl Future<Output = Check>) -> Check {
    tokio::time::timeout(CHECK_MAX, check).await.unwrap_or_else(|_| too_slow(name))
}

fn too_slow(name: &'static str) -> Check {
    let seconds = CHECK_MAX.as_secs();
    Check::failed(name, format!("no answer within {seconds} s"), "see whether the address is right and what is between here and there")
}

fn plan(settings: &Settings) -> Check {
    match platform::plan(settings.plan.file.as_deref()) {
        Ok(plan) => Check::passed("tracking plan", format!("version {}, {} event types", plan.version(), plan.types().count())),
        Err(error) => Check::failed("tracking plan", format!("{error:#}"), "`tidegate plan check FILE` names all that is wrong"),
    }
}

fn definitions(settings: &Settings) -> Check {
    let found = settings.pipeline.models().and_then(|models| Ok((models, settings.pipeline.experiments()?)));
    match found {
        Ok((models, experiments)) => {
            Check::passed("models and experiments", format!("{} tables of Gold, {} experiments", models.iter().count(), experiments.len()))
        }
        Err(error) => Check::failed(
            "models and experiments",
            error.to_string(),
            "mend the file; `tidegate experiment check FOLDER` names all that is wrong with experiments",
        ),
    }
}

fn data_folder(data: &Path) -> Check {
    const NAME: &str = "data folder";
    let shown = std::path::absolute(data).unwrap_or_else(|_| data.to_owned()).display().to_string();
    if !data.exists() {
        return Check::passed(NAME, format!("{shown} is not there yet; the first start makes it"));
    }
    let written = tempfile::NamedTempFile::new_in(data).and_then(|mut file| {
        file.write_all(b"tidegate doctor")?;
        file.as_file().sync_all()
    });
    match written {
        Ok(()) => Check::passed(NAME, format!("{shown} can be written and synced")),
        Err(error) => Check::failed(
            NAME,
            format!("{shown} cannot be written: {error}"),
            "give the user of the process the right to write there, or set `data`",
        ),
    }
}

fn disk(settings: &Settings) -> Check {
    const NAME: &str = "disk";
    let place = settings.data.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let wanted = match settings.journal.kind {
        JournalKind::Embedded => settings.journal.embedded.disk_free_bytes_min,
        JournalKind::Kafka => settings.journal.spool.disk_free_bytes_min,
    };
    let found = match rustix::fs::statvfs(place) {
        Ok(found) => found,
        Err(error) => {
            return Check::warning(NAME, format!("what it has left cannot be told: {error}"), "see whether the data folder is mounted");
        }
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let told = format!("{} MiB free", free >> 20);
    if free < wanted {
        let mend = format!("the gate takes nothing below {} MiB (disk_free_bytes_min): make room", wanted >> 20);
        Check::failed(NAME, told, mend)
    } else if free < wanted.saturating_mul(FREE_TIMES) {
        Check::warning(NAME, told, format!("the gate stops taking events at {} MiB: make room", wanted >> 20))
    } else {
        Check::passed(NAME, told)
    }
}

fn write_keys(settings: &Settings) -> Check {
    const NAME: &str = "write keys";
    match settings.key_file().list() {
        Ok(entries) => match entries.iter().filter(|entry| entry.revoked_at.is_none()).count() {
            0 => Check::warning(NAME, "no source has one", "`tidegate source add NAME` makes one; no restart is needed"),
            count => Check::passed(NAME, format!("{count} that hold")),
        },
        Err(error) => Check::failed(NAME, error.to_string(), "mend or restore the file; without it the gate knows no source"),
    }
}

/// The pair of `[server.tls]` at a time, in seconds since 1970.
fn certificate(files: &Files, now: i64) -> Check {
    const NAME: &str = "certificate";
    let pair = match files.read().and_then(|texts| texts.pair(files)) {
        Ok(pair) => pair,
        Err(error) => {
            return Check::failed(
                NAME,
                error.to_string(),
                "put a pair there that belongs together; without it `tidegate serve` does not start",
            );
        }
    };
    if let Err(error) = pair.check(files, now) {
        return Check::failed(NAME, error.to_string(), "have it renewed; until then clients refuse it");
    }
    let found = format!("belongs to its key, valid until {}", tls::day(pair.valid_until));
    if pair.valid_until - now < EXPIRES_SOON_SECONDS {
        Check::warning(NAME, found, "have it renewed; a running server takes the new one by itself")
    } else if files.is_key_open() {
        Check::warning(
            NAME,
            format!("{} can be read by others than its owner", files.key.display()),
            "take the right from them (chmod 600)",
        )
    } else {
        Check::passed(NAME, found)
    }
}

async fn journal(settings: &Settings) -> Check {
    const NAME: &str = "journal";
    if settings.journal.kind == JournalKind::Embedded {
        let folder = settings.journal_folder();
        let served = if platform::control::socket(&settings.data).exists() { ", a server runs on it or was killed" } else { "" };
        let state = if folder.is_dir() { "is there" } else { "is made by the first start" };
        return Check::passed(NAME, format!("embedded, {} {state}{served}", folder.display()));
    }
    let config = &settings.journal.kafka;
    match Kafka::probe(config).await {
        Ok(found) => match found.topic {
            Some((partitions, replicas)) if replicas < 2 && found.brokers > 1 => Check::warning(
                NAME,
                format!("topic {}: {partitions} partitions on one broker each, of {}", config.topic, found.brokers),
                "a broker that is lost takes events with it that were answered with success: give the topic 3 replicas and min.insync.replicas = 2",
            ),
            Some((partitions, replicas)) => Check::passed(
                NAME,
                format!("topic {}: {partitions} partitions, {replicas} replicas, {} brokers", config.topic, found.brokers),
            ),
            None if config.create_topic => {
                Check::passed(NAME, format!("{} brokers; topic {} is made by the first start", found.brokers, config.topic))
            }
            None => Check::failed(NAME, format!("there is no topic {}", config.topic), "make it, or set journal.kafka.create_topic"),
        },
        Err(error) => {
            let mend = if error.is_passing() {
                "see whether the brokers run and journal.kafka.brokers names them as they are reached from here"
            } else {
                "mend what it says, in [journal.kafka] or in the cluster"
            };
            Check::failed(NAME, error.to_string(), mend)
        }
    }
}

async fn store(lake: &Lake) -> Vec<Check> {
    let found = match tokio::time::timeout(CHECK_MAX, lake.probe()).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            let mend = "give the keys s3:GetObject, PutObject, DeleteObject and ListBucket below the lake's prefix, or the user of the process the right to write the folder; the store \
                        must take If-None-Match";
            return vec![Check::failed("lake", error.to_string(), mend)];
        }
        Err(_) => return vec![too_slow("lake")],
    };
    let off = found.clock_ahead_millis;
    let clock = if off.unsigned_abs() > CLOCK_OFF_MILLIS {
        let found =
            format!("the store's clock is {:.0} s {} this machine's", off.abs() as f64 / 1e3, if off > 0 { "ahead of" } else { "behind" });
        Check::warning(
            "clock",
            found,
            "have both follow NTP: received_at and the watermark are by this machine's clock, and S3 refuses requests that are 15 minutes off",
        )
    } else {
        Check::passed("clock", "agrees with the store's to a few seconds")
    };
    vec![Check::passed("lake", format!("{}: creates, refuses to create again, lists, reads and deletes", lake.location())), clock]
}

async fn tables(lake: &Lake, settings: &Settings) -> Check {
    const NAME: &str = "tables";
    let Ok(models) = settings.pipeline.models() else {
        return Check::warning(NAME, "not looked at, because the models cannot be read", "mend the models first");
    };
    let standing = match Glance::new(lake.clone(), &models).look().await {
        Ok(standing) => standing,
        Err(error) => {
            return Check::failed(
                NAME,
                error.to_string(),
                "see whether the tables were changed by another program; `tidegate restore` takes that back",
            );
        }
    };
    if let Some(finding) = standing.findings.first() {
        return Check::failed(NAME, finding.text(), "`tidegate audit` tells which events it is about");
    }
    let now = SystemClock.now_micros();
    if standing.received.is_some_and(|received| received > now + 60_000_000) {
        return Check::warning(
            NAME,
            "Silver has events that were received later than it is now",
            "this machine's clock was ahead once, or is behind now: have it follow NTP",
        );
    }
    match standing.tables.len() {
        0 => Check::passed(NAME, "none yet; the first start makes them"),
        count => Check::passed(
            NAME,
            format!("{count}, and the books balance: {} received, {} in Silver", standing.total.received, standing.total.silver),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn examined(settings: &Settings) -> Vec<(&'static str, State)> {
        examine(settings).await.into_iter().map(|check| (check.name, check.state)).collect()
    }

    #[tokio::test]
    async fn a_new_folder_is_sound_but_for_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { data: folder.path().to_owned(), ..Settings::default() };
        let found = examined(&settings).await;
        let worse: Vec<_> = found.iter().filter(|(_, state)| *state != State::Passed).collect();
        assert_eq!(worse, [&("write keys", State::Warning)], "{found:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it makes nothing");
        std::fs::create_dir(folder.path().join("lake")).unwrap();
        let found = examined(&settings).await;
        assert!(found.contains(&("lake", State::Passed)) && found.contains(&("clock", State::Passed)), "{found:?}");
        let left: Vec<_> = std::fs::read_dir(folder.path().join("lake"))
            .unwrap()
            .flatten()
            .flat_map(|entry| std::fs::read_dir(entry.path()))
            .flatten()
            .collect();
        assert!(left.is_empty(), "what was tried out is gone: {left:?}");
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let plan = folder.path().join("plan.yaml");
        std::fs::write(&plan, "version: 1\ntypes: [").unwrap();
        std::fs::write(folder.path().join("sources.json"), "{").unwrap();
        std::fs::write(folder.path().join("lake"), "a file where the folder is to be").unwrap();
        let mut settings = Settings { data: folder.path().to_owned(), ..Settings::default() };
        settings.plan.file = Some(plan);
        settings.journal.kind = JournalKind::Kafka;
        settings.journal.kafka.brokers = vec!["127.0.0.1:1".to_owned()];
        settings.journal.spool.disk_free_bytes_min = u64::MAX / 8;
        let found = examined(&settings).await;
        for name in ["tracking plan", "disk", "write keys", "journal", "lake"] {
            assert!(found.contains(&(name, State::Failed)), "{name}: {found:?}");
        }
    }
}
