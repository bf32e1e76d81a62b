//! `tidegate audit-log`: what was done by administrators, and whether the record of it was changed.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{DataArgs, say};
use crate::output::{self, Format};

/// See who did what: keys, tokens, readers, erasures, replays, and whatever else changes what others rely on
///
/// Each act is kept before it is done, in audit.log in the data folder. The file is only added to, and each entry is sealed by the digest of the one before: an entry that was altered, taken out, put in
/// or moved is found. That the end was cut off is found where a digest was noted elsewhere; the log of the server has each.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
Examples:
  tidegate audit-log list
  tidegate audit-log verify                     prints the newest digest; note it where nobody can change it
  tidegate audit-log verify --noted 3f9a…       whether what was noted then is still there"
)]
pub(crate) struct AuditLogArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List all acts, the oldest first
    List {
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        #[command(flatten)]
        data: DataArgs,
    },
    /// Look whether it was changed. Exit code 1 if so
    Verify {
        /// A digest that was noted before, whole
        #[arg(long, value_name = "DIGEST")]
        noted: Option<String>,
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        #[command(flatten)]
        data: DataArgs,
    },
}

pub(crate) fn run(args: AuditLogArgs) -> anyhow::Result<bool> {
    match args.action {
        Action::List { format, data } => list(format, &data),
        Action::Verify { noted, format, data } => verify(noted.as_deref(), format, &data),
    }
}

fn list(format: Format, data: &DataArgs) -> anyhow::Result<bool> {
    let log = data.load(Vec::new())?.settings.audit_log();
    let mut rows = output::stdout(format, ["number", "at", "by", "act", "on", "detail"].map(str::to_owned).into())?;
    let mut written = Ok(true);
    let verified = log.verify(None, |entry, _| {
        let act = &entry.act;
        let detail = if act.detail.is_empty() { Value::Null } else { Value::from(act.detail.clone()) };
        // A table shows text.
        let detail = if format == Format::Table && !detail.is_null() { json!(detail.to_string()) } else { detail };
        if matches!(written, Ok(true)) {
            written = rows.write(vec![json!(entry.number), json!(entry.at), json!(act.by), json!(act.act), json!(act.on), detail]);
        }
    })?;
    written?;
    rows.finish()?;
    if let Some((line, what)) = &verified.broken {
        say(&format!("{}: line {line} is not to be trusted, nor what follows: {what}", log.path().display()));
    }
    Ok(verified.is_sound())
}

fn verify(noted: Option<&str>, format: Format, data: &DataArgs) -> anyhow::Result<bool> {
    let log = data.load(Vec::new())?.settings.audit_log();
    let verified = log.verify(noted, |_, _| ())?;
    let (line, what) = verified.broken.clone().unzip();
    let mut rows =
        output::stdout(format, ["sound", "entries", "newest_digest", "broken_line", "problem", "has_noted"].map(str::to_owned).into())?;
    rows.write(vec![
        json!(verified.is_sound()),
        json!(verified.head.number),
        json!(verified.head.digest),
        json!(line),
        json!(what),
        if noted.is_some() { json!(verified.has_noted) } else { Value::Null },
    ])?;
    rows.finish()?;
    if !verified.has_noted {
        say("what was noted is not in it: entries were cut off, or the whole log is another one");
    }
    Ok(verified.is_sound())
}
