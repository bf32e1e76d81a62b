//! A listener with nothing behind it: the limit of what any gate behind it could take.

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use clap::Args;
use listener::Server;
use tokio::signal::unix::{SignalKind, signal};

use crate::{output, settings};

/// What the gate says where all is well.
const ANSWER: &str = r#"{"success":true,"accepted":1,"rejected":[]}"#;
/// The longest body that is read.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct EmptyArgs {
    /// Host and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: String,
}

/// Listens until it is stopped. The first line on standard output is the address.
pub(super) async fn run(args: EmptyArgs) -> anyhow::Result<()> {
    // Before it listens, so that a stop is never missed.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let router = Router::new().fallback(answer).layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    let server = Server::bind(&listener::Options { listen: args.listen, ..settings::Server::default().listener() }, None, router).await?;
    output::text(&format!("http://{}\n", server.address()))?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen for signals")?,
    }
    server.close().await?;
    Ok(())
}

/// Reads the body, and says yes.
async fn answer(body: Bytes) -> Response {
    drop(body);
    (StatusCode::OK, [(CONTENT_TYPE, "application/json")], ANSWER).into_response()
}
