//! `tidegate token`: who may sign in to the console.

use clap::{Args, Subcommand, ValueEnum};
use console::access::{Role, TokenFileError};
use contract::Timestamp;
use serde_json::{Value, json};
use telemetry::clock::{Clock as _, SystemClock};

use super::{DataArgs, say};
use crate::acts;
use crate::misuse::Misuse;
use crate::output::{self, Format};

/// Say who may sign in to the console
///
/// As long as there is no token, and no provider in the settings, the console asks nobody who they are, answers this machine only, and changes nothing. A server that runs
/// sees a change at once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate token add anna --role admin
  tidegate serve --console 127.0.0.1:8097
  tidegate token list
  tidegate token revoke anna")]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token for somebody, in the place of one they have, and print it
    ///
    /// It is shown this once; only a digest of it is kept.
    Add {
        /// Whose it is: letters, digits, '_', '-', '.' and '@'
        name: String,
        /// What they may do
        #[arg(long, value_enum, default_value_t = RoleArg::Read)]
        role: RoleArg,
        #[command(flatten)]
        data: DataArgs,
    },
    /// List all tokens, by the start of their digests
    List {
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        #[command(flatten)]
        data: DataArgs,
    },
    /// End somebody's token, and sign them out
    Revoke {
        /// Whose it is
        name: String,
        #[command(flatten)]
        data: DataArgs,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleArg {
    /// See everything
    Read,
    /// And change write keys, begin replays, put dead letters through
    Admin,
}

pub(crate) fn run(args: TokenArgs) -> anyhow::Result<bool> {
    match args.action {
        Action::Add { name, role, data } => add(&name, role, &data),
        Action::List { format, data } => list(format, &data),
        Action::Revoke { name, data } => revoke(&name, &data),
    }?;
    Ok(true)
}

fn add(name: &str, role: RoleArg, data: &DataArgs) -> anyhow::Result<()> {
    let settings = data.load(Vec::new())?.settings;
    let file = settings.token_file();
    let role = match role {
        RoleArg::Read => Role::Read,
        RoleArg::Admin => Role::Admin,
    };
    let act = acts::tell(&settings, None, "token.add", name, json!({"role": role.as_str()}))?;
    let token = act.done(file.add(name, role, Timestamp(SystemClock.now_micros()))).map_err(told)?;
    output::text(&format!("{token}\n"))?;
    say(&format!(
        "This is the token of {name}, who may {}; a digest of it is in {}. It is shown this once.",
        role.as_str(),
        file.path().display()
    ));
    Ok(())
}

fn list(format: Format, data: &DataArgs) -> anyhow::Result<()> {
    let tokens = data.load(Vec::new())?.settings.token_file().list()?;
    let mut rows = output::stdout(format, ["name", "role", "token", "created_at"].map(str::to_owned).into())?;
    for entry in tokens {
        if !rows.write(vec![json!(entry.name), json!(entry.role.as_str()), json!(entry.short()), json!(entry.created_at)])? {
            break;
        }
    }
    rows.finish()?;
    Ok(())
}

fn revoke(name: &str, data: &DataArgs) -> anyhow::Result<()> {
    let settings = data.load(Vec::new())?.settings;
    let act = acts::tell(&settings, None, "token.revoke", name, Value::Null)?;
    act.done(settings.token_file().revoke(name)).map_err(told)?;
    say(&format!("The token of {name} is none any more, and whoever signed in with it is signed out."));
    Ok(())
}

fn told(error: TokenFileError) -> anyhow::Error {
    match error {
        TokenFileError::Name(_) => Misuse(error.to_string()).into(),
        other => other.into(),
    }
}
