//! Tidegate: the binary.
//!
//! Here are configuration, subcommands, and the platform in one process. What is done with events is in the other crates; a command does no more than ask them and
//! print. Exit codes: 0, 1 when it failed, 2 when it was misused.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

mod acts;
mod backfill;
mod bench;
mod chaos;
mod cli;
mod codegen;
mod commands;
mod demo;
mod jobs;
mod key_files;
mod micro;
mod misuse;
mod output;
mod platform;
mod send;
mod settings;

use cli::{Cli, Command};

/// Batches are made on one thread and dropped on another: the C library's allocator keeps twice as much for itself.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const FAILED: u8 = 1;
const MISUSED: u8 = 2;

/// What threads of the runtime may have on their stack; planning a query recurses. It is only reserved, not used up.
const STACK_BYTES: usize = 8 * 1024 * 1024;
/// How long work that nobody waits for any more may take to notice.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => told(&error),
    }
}

/// Runs the command. `false`: it did what it could and said what is wrong.
fn run(command: Command) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build()?;
    let outcome = runtime.block_on(Box::pin(dispatch(command)));
    runtime.shutdown_timeout(LEAVE_TIMEOUT);
    outcome
}

async fn dispatch(command: Command) -> anyhow::Result<bool> {
    if !matches!(command, Command::Serve(_)) {
        commands::log_quietly()?;
    }
    match command {
        Command::Demo(args) => Box::pin(demo::run(args)).await,
        Command::Serve(args) => commands::serve::run(args).await,
        Command::Micro(args) => micro::run(args).await,
        Command::Source(args) => commands::source::run(args),
        Command::Backfill(args) => Box::pin(commands::backfill::run(args)).await,
        Command::Send(args) => commands::send::run(args).await,
        Command::Query(args) => Box::pin(commands::query::run(args)).await,
        Command::Sql(args) => Box::pin(commands::sql::run(args)).await,
        Command::Reader(args) => commands::reader::run(args),
        Command::Token(args) => commands::token::run(args),
        Command::AuditLog(args) => commands::audit_log::run(args),
        Command::Audit(args) => Box::pin(commands::audit::run(args)).await,
        Command::Trace(args) => commands::trace::run(args).await,
        Command::DeadLetters(args) => commands::dead_letters::run(args).await,
        Command::Recover(args) => Box::pin(commands::recover::run(args)).await,
        Command::Replay(args) => Box::pin(commands::replay::run(args)).await,
        Command::Diff(args) => commands::diff::run(args).await,
        Command::Gold(args) => Box::pin(commands::gold::run(args)).await,
        Command::Compact(args) => Box::pin(commands::compact::run(args)).await,
        Command::Restore(args) => Box::pin(commands::restore::run(args)).await,
        Command::Expire(args) => Box::pin(commands::expire::run(args)).await,
        Command::Erase(args) => Box::pin(commands::erase::run(args)).await,
        Command::Plan(args) => commands::plan::run(args),
        Command::Experiment(args) => Box::pin(commands::experiment::run(args)).await,
        Command::Config(args) => commands::config::run(&args),
        Command::Doctor(args) => Box::pin(commands::doctor::run(args)).await,
        Command::Metrics(args) => commands::metrics::run(&args),
        Command::Tables(args) => commands::tables::run(&args),
        Command::Completions(args) => commands::completions::run(&args),
        Command::Commands(args) => commands::command_line::run(&args),
        Command::Journal(args) => Box::pin(commands::journal::run(args)).await,
        Command::Engine(args) => commands::engine::run(args).await,
        Command::Spark(args) => Box::pin(commands::spark::run(args)).await,
        Command::Chaos(args) => Box::pin(chaos::run(args)).await,
        Command::Bench(args) => Box::pin(bench::run(args)).await.map(|()| true),
    }
}

/// Prints the error with its causes.
fn told(error: &anyhow::Error) -> ExitCode {
    let is_reader_gone = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(is_reader_gone) {
        // Such as `tidegate query … | head`: it has what it wanted.
        return ExitCode::SUCCESS;
    }
    let mut text = String::from("error: ");
    let mut last = String::new();
    for (depth, cause) in error.chain().map(ToString::to_string).enumerate() {
        // Many errors say what their cause says; once is enough.
        if depth > 0 && last.contains(&cause) {
            continue;
        }
        if depth > 0 {
            text.push_str(": ");
        }
        text.push_str(&cause);
        last = cause;
    }
    commands::say(&text);
    let is_misuse = error.chain().any(|cause| cause.is::<settings::Error>() || cause.is::<misuse::Misuse>());
    ExitCode::from(if is_misuse { MISUSED } else { FAILED })
}
