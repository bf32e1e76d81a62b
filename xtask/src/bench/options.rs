//! What `cargo xtask bench` is told.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

pub(crate) const USAGE: &str = "\
Usage: cargo xtask bench [--scenario NAME]... [--rounds N] [--seconds N] [--events N] [--out DIR] [--write-figures]
       cargo xtask bench --list

  --scenario NAME  one of those that --list names; may be given again. Without any, all
  --rounds N       how often each side is measured, in turns (5)
  --seconds N      how long each load lasts (10); the delay is measured for 60 times as long, once
  --events N       events of the stages that are measured (1000000)
  --out DIR        where reports and logs go, in place of what is there (bench below the target folder)
  --write-figures  put the table and the picture of this run in the place of those in docs/performance.md as well
  --list           the scenarios, and what each compares";

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// By name; all where there is none.
    pub(crate) scenarios: Vec<String>,
    pub(crate) rounds: u32,
    pub(crate) seconds: u32,
    pub(crate) events: u32,
    pub(crate) out: Option<PathBuf>,
    pub(crate) writes_figures: bool,
    pub(crate) lists: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { scenarios: Vec::new(), rounds: 5, seconds: 10, events: 1_000_000, out: None, writes_figures: false, lists: false }
    }
}

impl Options {
    /// # Errors
    ///
    /// Says what is wrong, and what there is.
    pub(crate) fn parse(arguments: &[String], scenarios: &[&str]) -> Result<Self> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().with_context(|| format!("{argument} needs a value\n\n{USAGE}"));
            let number = |text: &String| -> Result<u32> {
                let number = text.parse::<u32>().ok().filter(|number| *number > 0);
                number.with_context(|| format!("{argument} needs a number from 1 on, not {text:?}\n\n{USAGE}"))
            };
            match argument.as_str() {
                "--scenario" => {
                    let name = value()?;
                    if !scenarios.contains(&name.as_str()) {
                        bail!("{name} is no scenario; there are {}", scenarios.join(", "));
                    }
                    options.scenarios.push(name.clone());
                }
                "--rounds" => options.rounds = number(value()?)?,
                "--seconds" => options.seconds = number(value()?)?,
                "--events" => options.events = number(value()?)?,
                "--out" => options.out = Some(PathBuf::from(value()?)),
                "--write-figures" => options.writes_figures = true,
                "--list" => options.lists = true,
                other => bail!("{other} is no option\n\n{USAGE}"),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&arguments, &["silver", "bronze"])
    }

    #[test]
    fn options_are_read() {
        assert_eq!(parse("").unwrap(), Options::default());
        let all = "--scenario silver --scenario bronze --rounds 3 --seconds 4 --events 5 --out d --write-figures --list";
        let expect = Options {
            scenarios: vec!["silver".to_owned(), "bronze".to_owned()],
            rounds: 3,
            seconds: 4,
            events: 5,
            out: Some(PathBuf::from("d")),
            writes_figures: true,
            lists: true,
        };
        assert_eq!(parse(all).unwrap(), expect);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |line: &str, expect: &str| {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.starts_with(expect), "{line}: {error}");
        };
        check("--scenario gold", "gold is no scenario; there are silver, bronze");
        check("--rounds", "--rounds needs a value");
        check("--rounds 0", "--rounds needs a number from 1 on, not \"0\"");
        check("--seconds many", "--seconds needs a number");
        check("fast", "fast is no option");
    }
}
