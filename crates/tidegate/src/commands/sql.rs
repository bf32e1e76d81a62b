//! `tidegate sql`: a shell for statements.

use std::io::{self, IsTerminal as _, Read as _};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum as _};
use console::Reader;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{CompletionType, Config, Editor};

use super::{LakeArgs, query, say};
use crate::output::{Format, text};

mod assist;
mod split;

use assist::Assist;
use split::split;

/// What is read from standard input at most, in bytes.
const INPUT_BYTES_MAX: u64 = 16 << 20;
const HISTORY_LINES_MAX: usize = 1_000;
const PROMPT: &str = "tidegate> ";
const HELP: &str = "\
A statement ends with ';' and may have several lines. Tab completes, the arrow up goes back, Ctrl-C ends what runs.
  \\d              the tables and views there are
  \\d NAME         the columns of one
  \\f FORMAT       how rows are shown: table, json, ndjson, csv
  \\?              this
  \\q or Ctrl-D    the end
";

/// Ask the tables with SQL, statement after statement
///
/// The same as `tidegate query`, as a shell: with completion, a history, and \d for what there is. Each statement sees the tables as they are when it begins. Without a
/// terminal, the statements come from standard input, and the first that fails is the last.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate sql
  tidegate sql --lake s3://bucket/lake
  tidegate sql --format csv < report.sql > report.csv")]
pub(crate) struct SqlArgs {
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    lake: LakeArgs,
}

pub(crate) async fn run(args: SqlArgs) -> anyhow::Result<bool> {
    let mut shell = Shell { reader: args.lake.reader().await?, format: args.format };
    if io::stdin().is_terminal() { shell.converse().await } else { shell.obey().await }
}

struct Shell {
    reader: Reader,
    format: Format,
}

impl Shell {
    /// Statements from standard input.
    async fn obey(&mut self) -> anyhow::Result<bool> {
        let mut input = String::new();
        io::stdin().lock().take(INPUT_BYTES_MAX + 1).read_to_string(&mut input).context("cannot read statements from standard input")?;
        if input.len() as u64 > INPUT_BYTES_MAX {
            bail!("standard input has more than {INPUT_BYTES_MAX} bytes of statements; give them in parts");
        }
        let (statements, rest) = split(&input);
        for statement in statements.into_iter().chain([rest]).filter(|statement| !statement.trim().is_empty()) {
            query::answer(&self.reader, statement, self.format).await?;
        }
        Ok(true)
    }

    /// Statements from the person at the terminal.
    async fn converse(&mut self) -> anyhow::Result<bool> {
        let config =
            Config::builder().completion_type(CompletionType::List).max_history_size(HISTORY_LINES_MAX)?.auto_add_history(true).build();
        let mut editor: Editor<Assist, DefaultHistory> = Editor::with_config(config)?;
        editor.set_helper(Some(Assist::new(self.words().await?)));
        let history = history_file();
        // A first time has none.
        drop(history.as_ref().map(|path| editor.load_history(path)));
        say("Statements end with ';'. \\? is help, \\q the end.");
        loop {
            let line = tokio::task::block_in_place(|| editor.readline(PROMPT));
            let entered = match line {
                Ok(line) => self.enter(&line).await,
                Err(ReadlineError::Interrupted) => ControlFlow::Continue(()),
                Err(ReadlineError::Eof) => ControlFlow::Break(()),
                Err(error) => return Err(error.into()),
            };
            if entered.is_break() {
                break;
            }
        }
        if let Some(path) = history {
            let kept = path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(ReadlineError::from);
            if let Err(error) = kept.and_then(|()| editor.save_history(&path)) {
                say(&format!("the history could not be kept in {}: {error}", path.display()));
            }
        }
        Ok(true)
    }

    /// Whatever was entered: a command of the shell, or statements.
    async fn enter(&mut self, input: &str) -> ControlFlow<()> {
        let trimmed = input.trim();
        if let Some(command) = trimmed.strip_prefix('\\') {
            return self.command(command).await;
        }
        if matches!(trimmed.trim_end_matches(';').to_lowercase().as_str(), "quit" | "exit") {
            return ControlFlow::Break(());
        }
        let (statements, rest) = split(input);
        for statement in statements.into_iter().chain([rest]).filter(|statement| !statement.trim().is_empty()) {
            self.show(statement).await;
        }
        ControlFlow::Continue(())
    }

    async fn command(&mut self, command: &str) -> ControlFlow<()> {
        let mut words = command.trim_end_matches(';').split_whitespace();
        match (words.next().unwrap_or_default(), words.next()) {
            ("q" | "quit", _) => return ControlFlow::Break(()),
            ("?" | "h" | "help", _) => say(HELP.trim_end()),
            ("d" | "dt", None) => match self.reader.tables().await {
                Ok(tables) => drop(text(&format!("{}\n", tables.join("\n")))),
                Err(error) => say(&format!("error: {error}")),
            },
            ("d", Some(name)) => self.show(&format!("DESCRIBE {name}")).await,
            ("f" | "format", Some(name)) => match Format::from_str(name, true) {
                Ok(format) => self.format = format,
                Err(_) => say(&format!("error: there is no format {name}; use table, json, ndjson or csv")),
            },
            _ => say(&format!("error: there is no \\{command}; \\? lists what there is")),
        }
        ControlFlow::Continue(())
    }

    /// The answer, or what is wrong; Ctrl-C ends it.
    async fn show(&self, statement: &str) {
        let began = Instant::now();
        let answered = tokio::select! {
            answered = query::answer(&self.reader, statement, self.format) => answered,
            _ = tokio::signal::ctrl_c() => {
                say("cancelled");
                return;
            }
        };
        match answered {
            Ok(()) if self.format == Format::Table => say(&format!("{:.3} s", began.elapsed().as_secs_f64())),
            Ok(()) => {}
            Err(error) => say(&format!("error: {error:#}")),
        }
    }

    /// What completion offers: tables, their columns, functions.
    async fn words(&self) -> anyhow::Result<Vec<String>> {
        let mut words = self.reader.tables().await?;
        words.extend(self.reader.columns().await?);
        words.extend(self.reader.functions());
        Ok(words)
    }
}

/// Below `XDG_STATE_HOME`, as the XDG Base Directory Specification says; none where there is no home either.
fn history_file() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("tidegate").join("sql_history"))
}
