//! `tidegate source`: write keys.

use std::time::Duration;

use clap::{Args, Subcommand};
use contract::{SourceName, Timestamp};
use ingest::keys::Scope;
use ingest::{KeyFile, WriteKey};
use serde_json::{Value, json};
use telemetry::clock::{Clock as _, SystemClock};

use super::{DataArgs, say};
use crate::acts;
use crate::key_files;
use crate::misuse::Misuse;
use crate::output::{self, Format};
use crate::settings::Settings;

/// Make, list, rotate and revoke write keys
///
/// A source is who sends: a web site, an app, a service. A server that runs sees a change within a second.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  KEY=$(tidegate source add web)
  tidegate source add shop --origin https://www.example.com --origin https://shop.example.com
  tidegate source add till --event-type sale --event-type 'refund_*' --rate 50
  tidegate source add billing --signed          a key, and the secret to sign requests with
  tidegate source rotate shop --overlap 7d     a new key; those before end in a week
  tidegate source list
  tidegate source revoke web")]
pub(crate) struct SourceArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Give a source a write key, and print it
    ///
    /// The key is shown this once; only a digest of it is kept. A source may have several keys.
    Add {
        /// Name of the source: letters, digits, '_', '-' and '.'
        name: String,
        /// The key, if it is to be this one; it is only as good as it is hard to guess
        #[arg(long)]
        key: Option<String>,
        /// Origin of web pages that may send with it, such as https://www.example.com; may be given again. Without any, all may
        #[arg(long = "origin", value_name = "ORIGIN")]
        origins: Vec<String>,
        /// Type of events that may be sent with it, or the beginning of names and *, such as 'checkout_*'; may be given again. Without any, all may
        #[arg(long = "event-type", value_name = "TYPE")]
        event_types: Vec<String>,
        /// Events a second that may be sent with it [default: what ingest.events_per_second_max gives each source]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        rate: Option<u32>,
        /// Whether each request must be signed. The secret to sign with is printed on a second line: for servers, which can keep one
        #[arg(long)]
        signed: bool,
        #[command(flatten)]
        data: DataArgs,
    },
    /// Give a source a new key, and let those it has end after a while
    ///
    /// The new key may do what the newest one may. Until the others end both are taken, so that clients can be given the new one meanwhile.
    Rotate {
        /// Name of the source
        name: String,
        /// How long the keys it has are still taken
        #[arg(long, value_name = "TIME", default_value = "7d", value_parser = humantime::parse_duration)]
        overlap: Duration,
        /// The new key, if it is to be this one; it is only as good as it is hard to guess
        #[arg(long)]
        key: Option<String>,
        #[command(flatten)]
        data: DataArgs,
    },
    /// List all keys, by the start of their digests
    List {
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        #[command(flatten)]
        data: DataArgs,
    },
    /// Revoke the keys of a source at once
    Revoke {
        /// Name of the source
        name: String,
        /// Only this one, by the start of its digest, as `tidegate source list` shows it
        #[arg(long = "only", value_name = "DIGEST")]
        which: Option<String>,
        #[command(flatten)]
        data: DataArgs,
    },
}

pub(crate) fn run(args: SourceArgs) -> anyhow::Result<bool> {
    match args.action {
        Action::Add { name, key, origins, event_types, rate, signed, data } => {
            let scope = Scope { allowed_origins: origins, event_types, events_per_second_max: rate, signed };
            add(&name, key, scope, &data)
        }
        Action::Rotate { name, overlap, key, data } => rotate(&name, key, overlap, &data),
        Action::List { format, data } => list(format, &data),
        Action::Revoke { name, which, data } => revoke(&name, which.as_deref(), &data),
    }?;
    Ok(true)
}

fn add(name: &str, key: Option<String>, scope: Scope, data: &DataArgs) -> anyhow::Result<()> {
    let settings = data.load(Vec::new())?.settings;
    let file = settings.key_file();
    let (name, made) = (source_name(name)?, key.is_none());
    let key = write_key(key)?;
    scope.check().map_err(|error| Misuse(error.to_string()))?;
    let told = acts::tell(&settings, None, "source.add", name.as_str(), json!({"key": key.digest().short(), "scope": scope}))?;
    let secret = secret(&settings, &key, &scope)?;
    told.done(file.add(name.clone(), &key, scope, now()))?;
    tell(&name, &key, secret.as_deref(), made, &file)
}

fn rotate(name: &str, key: Option<String>, overlap: Duration, data: &DataArgs) -> anyhow::Result<()> {
    let settings = data.load(Vec::new())?.settings;
    let file = settings.key_file();
    let (name, made) = (source_name(name)?, key.is_none());
    let (key, now) = (write_key(key)?, now());
    let micros = i64::try_from(overlap.as_micros()).map_err(|_| Misuse("--overlap is too long".to_owned()))?;
    let until = Timestamp(now.0.saturating_add(micros));
    let detail = json!({"key": key.digest().short(), "others_until": until.to_rfc3339()});
    let told = acts::tell(&settings, None, "source.rotate", name.as_str(), detail)?;
    let (entry, ending) = told.done(file.rotate(&name, &key, now, until))?;
    tell(&name, &key, secret(&settings, &key, &entry.scope)?.as_deref(), made, &file)?;
    let (keys, end) = if ending == 1 { ("1 key", "ends") } else { (&*format!("{ending} keys"), "end") };
    say(&format!("{keys} that it had before {end} at {}, and may be revoked sooner.", until.to_rfc3339()));
    Ok(())
}

fn write_key(given: Option<String>) -> Result<WriteKey, Misuse> {
    given.map_or_else(|| Ok(WriteKey::generate()), WriteKey::try_from).map_err(|error| Misuse(error.to_string()))
}

/// What requests with a key are signed with, where they must be.
fn secret(settings: &Settings, key: &WriteKey, scope: &Scope) -> anyhow::Result<Option<String>> {
    scope.signed.then(|| anyhow::Ok(key_files::signing(settings)?.secret(&key.digest()))).transpose()
}

/// Prints a key, alone on standard output, or with its secret on a second line, and what it is on standard error.
fn tell(name: &SourceName, key: &WriteKey, secret: Option<&str>, made: bool, file: &KeyFile) -> anyhow::Result<()> {
    let secret = secret.map(|secret| format!("{secret}\n")).unwrap_or_default();
    output::text(&format!("{}\n{secret}", key.reveal()))?;
    let once = if made { " It is shown this once." } else { "" };
    let once = if secret.is_empty() { once.to_owned() } else { format!(" The second line is the secret to sign requests with.{once}") };
    say(&format!("This is the write key of the source {name}, kept as a digest in {}.{once}", file.path().display()));
    Ok(())
}

fn list(format: Format, data: &DataArgs) -> anyhow::Result<()> {
    let keys = data.load(Vec::new())?.settings.key_file().list()?;
    let columns = ["source", "key", "created_at", "revoked_at", "origins", "event_types", "events_per_second", "signed"].map(str::to_owned);
    let mut rows = output::stdout(format, columns.into())?;
    for entry in keys {
        let revoked_at = entry.revoked_at.map_or(Value::Null, |at| json!(at.to_rfc3339()));
        let any = |names: &[String]| if names.is_empty() { json!("any") } else { json!(names.join(" ")) };
        let (scope, rate) = (&entry.scope, entry.scope.events_per_second_max);
        let cells = [
            json!(entry.name.as_str()),
            json!(entry.digest.short()),
            json!(entry.created_at.to_rfc3339()),
            revoked_at,
            any(&scope.allowed_origins),
            any(&scope.event_types),
            rate.map_or(Value::Null, |rate| json!(rate)),
            json!(scope.signed),
        ];
        if !rows.write(cells.to_vec())? {
            break;
        }
    }
    rows.finish()?;
    Ok(())
}

fn revoke(name: &str, which: Option<&str>, data: &DataArgs) -> anyhow::Result<()> {
    let settings = data.load(Vec::new())?.settings;
    let told = acts::tell(&settings, None, "source.revoke", name, json!({"only": which}))?;
    let revoked = told.done(settings.key_file().revoke(&source_name(name)?, which, now()))?;
    say(&format!("Revoked {revoked} {} of the source {name}.", if revoked == 1 { "key" } else { "keys" }));
    Ok(())
}

fn source_name(name: &str) -> Result<SourceName, Misuse> {
    name.parse().map_err(|error: contract::id::InvalidSourceName| Misuse(error.to_string()))
}

fn now() -> Timestamp {
    Timestamp(SystemClock.now_micros())
}
