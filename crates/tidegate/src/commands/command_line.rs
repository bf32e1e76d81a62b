//! `tidegate commands`: the whole command line, for the reference and for man. It is not among the commands that are listed.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::builder::StyledStr;
use clap::{Arg, Args, Command, CommandFactory as _};

use crate::cli::Cli;
use crate::output;

/// Print the whole command line
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct CommandsArgs {
    /// As the page of the reference
    #[arg(long)]
    markdown: bool,
    /// As pages for man, one a command, in this folder
    #[arg(long, value_name = "DIR")]
    man: Option<PathBuf>,
}

pub(crate) fn run(args: &CommandsArgs) -> anyhow::Result<bool> {
    if args.markdown {
        output::text(&markdown())?;
    }
    if let Some(folder) = &args.man {
        man(folder).with_context(|| format!("pages for man cannot be written to {}", folder.display()))?;
    }
    Ok(true)
}

/// Writes a page for each command that is listed, such as `tidegate-source-add.1`. Nothing that lies there is removed.
fn man(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command(), folder)
}

/// All commands as sections of the reference.
fn markdown() -> String {
    let mut root = Cli::command();
    // Gives the commands below it their full names, and what is common to all.
    root.build();
    shown_below(&root).into_iter().map(section).collect::<Vec<_>>().join("\n")
}

/// The commands below one that are listed, each with those below itself behind it.
fn shown_below(command: &Command) -> Vec<&Command> {
    let shown = command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help");
    shown.flat_map(|below| std::iter::once(below).chain(shown_below(below))).collect()
}

fn section(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    // `tidegate source` stands at the second level, `tidegate source add` at the third.
    let level = name.split(' ').count().clamp(2, 6);
    let about = command.get_long_about().or(command.get_about()).map(text).unwrap_or_default();
    let usage = text(&command.clone().render_usage());
    let usage = usage.trim().trim_start_matches("Usage:");
    let mut page = format!("{} `{name}`\n\n{}\n\n```text\n", "#".repeat(level), plain(&about));
    for line in usage.lines().map(str::trim).filter(|line| !line.is_empty()) {
        page.push_str(line);
        page.push('\n');
    }
    page.push_str("```\n");
    let options: Vec<&Arg> =
        command.get_arguments().filter(|arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str())).collect();
    if !options.is_empty() {
        page.push_str("\n| argument | |\n|---|---|\n");
        for option in options {
            page.push_str(&row(option));
        }
    }
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        // To a string, this cannot fail.
        let written = write!(page, "\n```text\n{}\n```\n", text(after).trim());
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    page
}

/// One argument: how it is written, and what it does, with its default, its values and its variable.
fn row(arg: &Arg) -> String {
    let names: Vec<String> = arg.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>")).collect();
    let takes_value = arg.get_action().takes_values();
    let written = match (arg.get_long(), arg.get_short()) {
        (Some(long), _) if takes_value => format!("--{long} {}", names.join(" ")),
        (Some(long), _) => format!("--{long}"),
        (None, Some(short)) => format!("-{short}"),
        (None, None) => names.join(" "),
    };
    let mut said = vec![arg.get_long_help().or(arg.get_help()).map(text).unwrap_or_default().trim().trim_end_matches('.').to_owned()];
    let values: Vec<String> =
        arg.get_possible_values().iter().filter(|value| !value.is_hide_set()).map(|value| format!("`{}`", value.get_name())).collect();
    if takes_value && !values.is_empty() {
        said.push(format!("One of {}", values.join(", ")));
    }
    let defaults: Vec<String> = arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    if takes_value && !defaults.is_empty() {
        said.push(format!("Default: {}", defaults.join(", ")));
    }
    if let Some(variable) = arg.get_env() {
        said.push(format!("Or the variable `{}`", variable.to_string_lossy()));
    }
    if arg.is_required_set() {
        said.push("Required".to_owned());
    }
    let said: Vec<String> = said.into_iter().filter(|part| !part.is_empty()).map(|part| cell(&part)).collect();
    format!("| `{}` | {} |\n", written.replace('|', "\\|"), said.join(". "))
}

fn text(styled: &StyledStr) -> String {
    styled.to_string()
}

/// Text in which nothing is taken for markup.
fn plain(text: &str) -> String {
    text.trim().replace('<', "\\<")
}

/// The same in a cell of a table.
fn cell(text: &str) -> String {
    plain(text).split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The reference holds what the program prints.
    #[test]
    fn the_reference_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/commands.md");
        let reference = fs::read_to_string(path).unwrap();
        assert!(
            reference.contains(&markdown()),
            "put what `tidegate commands --markdown` prints into docs/reference/commands.md:\n{}",
            markdown()
        );
    }

    #[test]
    fn every_command_and_option_is_there_with_what_it_does() {
        let page = markdown();
        for expected in [
            "## `tidegate serve`\n",
            "### `tidegate source add`\n",
            "| `--key <KEY>` |",
            "Or the variable `TIDEGATE_URL`",
            "Default: `500`",
        ] {
            assert!(page.contains(expected), "{expected}\n{page}");
        }
        assert!(!page.contains("`tidegate commands`") && !page.contains("`tidegate help`"));
    }

    #[test]
    fn every_command_has_a_page_for_man() {
        let folder = tempfile::tempdir().unwrap();
        let pages = folder.path().join("man");
        man(&pages).unwrap();
        let mut root = Cli::command();
        root.build();
        let page = |command: &Command| format!("{}.1", command.get_bin_name().unwrap().replace(' ', "-"));
        let mut expected: BTreeSet<String> = shown_below(&root).into_iter().map(page).collect();
        expected.insert("tidegate.1".to_owned());
        let found: BTreeSet<String> =
            fs::read_dir(&pages).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(found, expected);
        let page = fs::read_to_string(pages.join("tidegate-source-add.1")).unwrap();
        assert!(page.contains(".SH SYNOPSIS") && page.contains("origin"), "{page}");
    }
}
