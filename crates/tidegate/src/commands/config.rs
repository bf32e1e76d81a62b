//! `tidegate config`: the settings in force.

use clap::{Args, ValueEnum};

use super::DataArgs;
use crate::{output, settings};

/// Print the settings in force, with secrets hidden, and where those that are not the defaults came from
///
/// What it prints as TOML is a settings file: `tidegate config > tidegate.toml` is a start.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[arg(long, value_enum, default_value_t)]
    format: SettingsFormat,
    #[command(flatten)]
    data: DataArgs,
}

/// How settings are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum SettingsFormat {
    /// A settings file
    #[default]
    Toml,
    /// For programs: `settings`, and `from` by key
    Json,
}

pub(crate) fn run(args: &ConfigArgs) -> anyhow::Result<bool> {
    let loaded = args.data.load(Vec::new())?;
    let text = match args.format {
        SettingsFormat::Toml => settings::to_toml(&loaded)?,
        SettingsFormat::Json => format!("{}\n", serde_json::to_string_pretty(&settings::to_json(&loaded)?)?),
    };
    output::text(&text)?;
    Ok(true)
}
