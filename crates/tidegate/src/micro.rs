//! `tidegate micro`: the gate with nothing but memory behind it, for other people's tests.
//!
//! It is the real gate: the same wire formats, plan, bounds and answers. What it has taken, and what not and why, can be asked for. Nothing is kept when it ends.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use clap::Args;
use contract::SourceName;
use ingest::keys::Source;
use ingest::{Gate, Keyring};
use listener::Server;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

mod memory;

use memory::Memory;

use crate::commands::say;
use crate::{output, platform, settings};

/// The source that every key is one of.
const SOURCE: &str = "micro";

/// Run a gate in memory for your own tests, and ask it what it got
///
/// Takes events exactly as `tidegate serve` does, from any write key, and keeps nothing when it ends. /micro/all counts them; /micro/good has the events that would be in Silver, each
/// once; /micro/bad those that would not, with what is wrong with them; /micro/reset forgets all of it. The first line on standard output is the address.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate micro
  tidegate micro --listen 127.0.0.1:0 --plan plan.yaml
  curl 127.0.0.1:8099/micro/all")]
pub(crate) struct MicroArgs {
    /// Host and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8099")]
    listen: String,
    /// The tracking plan, YAML or JSON [default: the built-in one]
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// So many events are kept; further ones are told to wait (429) until a reset
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    events_max: u64,
}

pub(crate) async fn run(args: MicroArgs) -> anyhow::Result<bool> {
    // Before it listens, so that a stop is never missed.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let plan = platform::plan(args.plan.as_deref())?;
    let config = ingest::Config::default();
    let memory = Arc::new(Memory::new(usize::try_from(args.events_max)?, config.json.clone()));
    let source = Source::of_any_key(SourceName::try_from(SOURCE.to_owned())?);
    let gate = Gate::builder(Arc::clone(&memory) as Arc<dyn journal::Sink>, Keyring::for_any_key(source));
    let gate = gate.plan(plan).config(config).build()?;
    let router = ingest::router(gate.clone()).merge(ingest::health_router(gate.clone())).merge(routes(memory)).fallback(ingest::not_found);
    let server = Server::bind(&listener::Options { listen: args.listen, ..settings::Server::default().listener() }, None, router).await?;
    output::text(&format!("http://{}\n", server.address()))?;
    if !server.address().ip().is_loopback() {
        say("warning: it listens beyond this machine, and shows what it was sent to anyone who asks");
    }
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen for signals")?,
    }
    gate.shutdown();
    gate.idle().await;
    server.close().await?;
    Ok(true)
}

fn routes(memory: Arc<Memory>) -> Router {
    let asked = |answer: fn(&Memory) -> Value| {
        let memory = Arc::clone(&memory);
        move || async move { json_of(&answer(&memory)) }
    };
    let reset = |memory: &Memory| {
        memory.reset();
        memory.counts()
    };
    Router::new()
        .route("/micro/all", get(asked(Memory::counts)))
        .route("/micro/good", get(asked(Memory::good)))
        .route("/micro/bad", get(asked(Memory::bad)))
        .route("/micro/reset", get(asked(reset)).post(asked(reset)))
}

/// Pages under test may ask, too.
fn json_of(value: &Value) -> Response {
    (StatusCode::OK, [(CONTENT_TYPE, "application/json"), (ACCESS_CONTROL_ALLOW_ORIGIN, "*")], value.to_string()).into_response()
}
