//! `tidegate plan`: tracking plans looked at before they are used.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use contract::plan::diff::{Change, Effect, diff};
use contract::{Plan, SourceName};
use serde_json::json;

use super::say;
use crate::codegen::{Language, generate};
use crate::output::{self, Format};
use crate::platform;

/// Look at tracking plans before they are used
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Tell everything that is wrong with plans, with line and column
    ///
    /// Exit code 1 when something is.
    #[command(after_help = "\
Example, for a pipeline that looks at each change of the plan:
  tidegate plan check plan.yaml && git show main:plan.yaml > old.yaml && tidegate plan diff old.yaml plan.yaml")]
    Check {
        /// Plans, YAML or JSON
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Tell what changes from one plan to another, and what it breaks
    ///
    /// For producers a change is compatible when every event that was valid still is; what cannot be shown to be so is called breaking. For queries it is compatible when no column
    /// changes what it is. Exit code 1 when something breaks.
    Diff {
        /// The plan that is used now
        #[arg(value_name = "OLD")]
        old: PathBuf,
        /// The plan that is to be
        #[arg(value_name = "NEW")]
        new: PathBuf,
        /// Succeed also when something breaks
        #[arg(long)]
        allow_breaking: bool,
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Write source code in which a call that breaks the plan does not compile
    ///
    /// One method or struct for each event type, with types for its properties, on top of the SDK; and the rules of the plan, by which the SDK checks events before it sends them. It is
    /// printed, or written to a file with --out.
    #[command(after_help = "\
Examples:
  tidegate plan codegen plan.yaml --lang python --out events.py
  tidegate plan codegen plan.yaml --lang typescript --source web --out src/events.ts
  tidegate plan codegen plan.yaml --lang rust --out src/events.rs")]
    Codegen {
        /// The plan, YAML or JSON [default: the built-in one]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// The language
        #[arg(long, value_enum)]
        lang: Language,
        /// The source that the code will send as: what the plan does with its events that break it, the SDK does too [default: what the plan does with those of every source]
        #[arg(long, value_name = "NAME")]
        source: Option<SourceName>,
        /// Where it is written to
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

pub(crate) fn run(args: PlanArgs) -> anyhow::Result<bool> {
    match args.action {
        Action::Check { files, format } => check(&files, format),
        Action::Diff { old, new, allow_breaking, format } => compare(&old, &new, allow_breaking, format),
        Action::Codegen { file, lang, source, out } => write(file.as_deref(), lang, source.as_ref(), out.as_deref()),
    }
}

fn read(path: &Path) -> anyhow::Result<(String, String)> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    Ok((text, name))
}

fn write(file: Option<&Path>, language: Language, source: Option<&SourceName>, out: Option<&Path>) -> anyhow::Result<bool> {
    let plan = platform::plan(file)?;
    // Not the whole path: the same plan gives the same code on every machine.
    let name = file.and_then(Path::file_name).map_or_else(|| "built_in.yaml".into(), |name| name.to_string_lossy());
    let code = generate(language, &plan, &name, source)?;
    match out {
        Some(path) => std::fs::write(path, code).with_context(|| format!("cannot write {}", path.display()))?,
        None => output::text(&code)?,
    }
    Ok(true)
}

fn check(files: &[PathBuf], format: Format) -> anyhow::Result<bool> {
    let mut problems = Vec::new();
    for file in files {
        let (text, name) = read(file)?;
        match Plan::check(&text, &name) {
            Ok(plan) => say(&format!("{name}: version {}, {} event types, sound", plan.version(), plan.types().count())),
            Err(found) => problems.extend(found.into_iter().map(|problem| (name.clone(), problem))),
        }
    }
    if format == Format::Table {
        for (_, problem) in &problems {
            output::text(&format!("{problem}\n"))?;
        }
    } else {
        let mut rows = output::stdout(format, ["file", "line", "column", "path", "message"].map(str::to_owned).into())?;
        for (name, problem) in &problems {
            let (line, column) = problem.line_and_column().unzip();
            if !rows.write(vec![json!(name), json!(line), json!(column), json!(problem.path()), json!(problem.message())])? {
                break;
            }
        }
        rows.finish()?;
    }
    if !problems.is_empty() {
        say(&format!("error: {} problems", problems.len()));
    }
    Ok(problems.is_empty())
}

fn compare(old: &Path, new: &Path, allow_breaking: bool, format: Format) -> anyhow::Result<bool> {
    let (old, new) = (read(old)?, read(new)?);
    let changes = diff((&old.0, &old.1), (&new.0, &new.1))?;
    let mut rows = output::stdout(format, ["path", "line", "producers", "queries", "change"].map(str::to_owned).into())?;
    for Change { path, line_and_column, what, producers, queries } in &changes {
        let line = line_and_column.map(|(line, _)| line);
        if !rows.write(vec![json!(path), json!(line), json!(producers.to_string()), json!(queries.to_string()), json!(what)])? {
            break;
        }
    }
    rows.finish()?;
    let breaks = |effect: fn(&Change) -> Effect| changes.iter().filter(|change| effect(change) == Effect::Breaking).count();
    let (producers, queries) = (breaks(|change| change.producers), breaks(|change| change.queries));
    if producers + queries == 0 {
        say(&format!("{} changes, nothing breaks", changes.len()));
        return Ok(true);
    }
    say(&format!("{} changes, {producers} break something for producers and {queries} for queries", changes.len()));
    Ok(allow_breaking)
}
