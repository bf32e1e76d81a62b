//! `tidegate completions`: what a shell completes our commands by. It is made from the definition that reads them, so it never lags behind.

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

use crate::cli::Cli;
use crate::output;

/// Print what a shell completes commands and options by
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(tidegate completions bash)                                   in ~/.bashrc
  tidegate completions zsh > ~/.zfunc/_tidegate                         where fpath has ~/.zfunc
  tidegate completions fish > ~/.config/fish/completions/tidegate.fish")]
pub(crate) struct CompletionsArgs {
    /// For which one
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<bool> {
    output::text(&script(args.shell)?)?;
    Ok(true)
}

fn script(shell: Shell) -> anyhow::Result<String> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "tidegate", &mut script);
    String::from_utf8(script).context("the script is no text")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use clap::ValueEnum as _;

    use super::*;

    /// What bash prints that is given a text; it must take all of it.
    fn bash(arguments: &[&str], text: &str) -> String {
        let mut bash = Command::new("bash");
        bash.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut bash = bash.spawn().unwrap();
        bash.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let done = bash.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    #[test]
    fn every_shell_has_a_script() {
        for shell in Shell::value_variants() {
            let script = script(*shell).unwrap();
            for expected in ["dead-letters", "rotate", "origin"] {
                assert!(script.contains(expected), "{shell}: {expected}");
            }
        }
    }

    #[test]
    fn bash_completes_by_its_script() {
        let script = script(Shell::Bash).unwrap();
        bash(&["-n"], &script);
        let asked = "COMP_WORDS=(tidegate source ro) COMP_CWORD=2; _tidegate tidegate ro source; echo \"${COMPREPLY[@]}\"";
        assert_eq!(bash(&["--norc"], &format!("{script}\n{asked}\n")).trim(), "rotate");
    }
}
