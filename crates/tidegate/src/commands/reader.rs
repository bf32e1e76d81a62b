//! `tidegate reader`: who may read over the Postgres port.

use clap::{Args, Subcommand};
use console::postgres::ReaderFileError;
use contract::Timestamp;
use serde_json::{Value, json};
use telemetry::clock::{Clock as _, SystemClock};

use super::{DataArgs, say};
use crate::acts;
use crate::misuse::Misuse;
use crate::output::{self, Format};

/// Say who may read over the Postgres port
///
/// A reader is a person or a tool, such as Grafana, that reads the tables with psql or any other Postgres client from a server started with --postgres. A server that runs
/// sees a change at once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  export PGPASSWORD=$(tidegate reader add grafana)
  tidegate serve --postgres 127.0.0.1:8098 &
  psql -h 127.0.0.1 -p 8098 -U grafana tidegate -c 'SELECT count(*) FROM silver.events'
  tidegate reader list
  tidegate reader revoke grafana")]
pub(crate) struct ReaderArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a reader, or give one another password, and print the password
    ///
    /// The password is shown this once; only what proves it is kept.
    Add {
        /// Name of the reader: letters, digits, '_', '-' and '.'
        name: String,
        /// The password, if it is to be this one; it is only as good as it is hard to guess
        #[arg(long)]
        password: Option<String>,
        #[command(flatten)]
        data: DataArgs,
    },
    /// List all readers
    List {
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        #[command(flatten)]
        data: DataArgs,
    },
    /// Remove a reader
    Revoke {
        /// Name of the reader
        name: String,
        #[command(flatten)]
        data: DataArgs,
    },
}

pub(crate) fn run(args: ReaderArgs) -> anyhow::Result<bool> {
    match args.action {
        Action::Add { name, password, data } => add(&name, password, &data),
        Action::List { format, data } => list(format, &data),
        Action::Revoke { name, data } => revoke(&name, &data),
    }?;
    Ok(true)
}

fn add(name: &str, password: Option<String>, data: &DataArgs) -> anyhow::Result<()> {
    let settings = data.load(Vec::new())?.settings;
    let file = settings.reader_file();
    let made = password.is_none();
    let act = acts::tell(&settings, None, "reader.add", name, Value::Null)?;
    let password = act.done(file.add(name, password, Timestamp(SystemClock.now_micros()))).map_err(told)?;
    output::text(&format!("{password}\n"))?;
    let once = if made { " It is shown this once." } else { "" };
    say(&format!("This is the password of the reader {name}; what proves it is in {}.{once}", file.path().display()));
    Ok(())
}

fn list(format: Format, data: &DataArgs) -> anyhow::Result<()> {
    let readers = data.load(Vec::new())?.settings.reader_file().list()?;
    let mut rows = output::stdout(format, vec!["reader".to_owned(), "created_at".to_owned()])?;
    for entry in readers {
        if !rows.write(vec![json!(entry.name), json!(entry.created_at)])? {
            break;
        }
    }
    rows.finish()?;
    Ok(())
}

fn revoke(name: &str, data: &DataArgs) -> anyhow::Result<()> {
    let settings = data.load(Vec::new())?.settings;
    let act = acts::tell(&settings, None, "reader.revoke", name, Value::Null)?;
    act.done(settings.reader_file().revoke(name)).map_err(told)?;
    say(&format!("The reader {name} may read no more; connections that are open stay open until they end."));
    Ok(())
}

fn told(error: ReaderFileError) -> anyhow::Error {
    match error {
        ReaderFileError::Name(_) | ReaderFileError::Password => Misuse(error.to_string()).into(),
        other => other.into(),
    }
}
