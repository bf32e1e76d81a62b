//! `tidegate source`: write keys.

use clap::{Args, Subcommand};
use contract::{SourceName, Timestamp};
use ingest::WriteKey;
use serde_json::{Value, json};
use telemetry::clock::{Clock as _, SystemClock};

use super::{DataArgs, say};
use crate::misuse::Misuse;
use crate::output::{self, Format};

/// Make, list and revoke write keys
///
/// A source is who sends: a web site, an app, a service. A server that runs sees a change within a second.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  KEY=$(tidegate source add web)
  tidegate source add shop --origin https://www.example.com --origin https://shop.example.com
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
    /// Revoke all keys of a source
    Revoke {
        /// Name of the source
        name: String,
        #[command(flatten)]
        data: DataArgs,
    },
}

pub(crate) fn run(args: SourceArgs) -> anyhow::Result<bool> {
    match args.action {
        Action::Add { name, key, origins, data } => add(&name, key, origins, &data),
        Action::List { format, data } => list(format, &data),
        Action::Revoke { name, data } => revoke(&name, &data),
    }?;
    Ok(true)
}

fn add(name: &str, key: Option<String>, origins: Vec<String>, data: &DataArgs) -> anyhow::Result<()> {
    let file = data.load(Vec::new())?.settings.key_file();
    let name = source_name(name)?;
    let made = key.is_none();
    let key = key.map_or_else(|| Ok(WriteKey::generate()), WriteKey::try_from).map_err(|error| Misuse(error.to_string()))?;
    file.add(name.clone(), &key, origins, now())?;
    output::text(&format!("{}\n", key.reveal()))?;
    let once = if made { " It is shown this once." } else { "" };
    say(&format!("This is the write key of the source {name}, kept as a digest in {}.{once}", file.path().display()));
    Ok(())
}

fn list(format: Format, data: &DataArgs) -> anyhow::Result<()> {
    let keys = data.load(Vec::new())?.settings.key_file().list()?;
    let columns = ["source", "key", "created_at", "revoked_at", "origins"].map(str::to_owned);
    let mut rows = output::stdout(format, columns.into())?;
    for entry in keys {
        let revoked_at = entry.revoked_at.map_or(Value::Null, |at| json!(at.to_rfc3339()));
        let origins = if entry.allowed_origins.is_empty() { "any".to_owned() } else { entry.allowed_origins.join(" ") };
        let cells =
            vec![json!(entry.name.as_str()), json!(entry.digest.short()), json!(entry.created_at.to_rfc3339()), revoked_at, json!(origins)];
        if !rows.write(cells)? {
            break;
        }
    }
    rows.finish()?;
    Ok(())
}

fn revoke(name: &str, data: &DataArgs) -> anyhow::Result<()> {
    let file = data.load(Vec::new())?.settings.key_file();
    let revoked = file.revoke(&source_name(name)?, now())?;
    say(&format!("Revoked {revoked} {} of the source {name}.", if revoked == 1 { "key" } else { "keys" }));
    Ok(())
}

fn source_name(name: &str) -> Result<SourceName, Misuse> {
    name.parse().map_err(|error: contract::id::InvalidSourceName| Misuse(error.to_string()))
}

fn now() -> Timestamp {
    Timestamp(SystemClock.now_micros())
}
