//! Work that takes long: seen here, and begun here by an admin as a process of its own, so that it takes nothing from the gate but its share of the machine.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use ::console::pages::Visitor;
use ::console::pages::jobs::{Job, State as Standing, page as drawn, part};
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use contract::Timestamp;
use futures::StreamExt as _;
use serde::Deserialize;
use telemetry::clock::{Clock as _, SystemClock};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::access::{Change, led_to};
use super::{Asking, Pages, Refused, second, show, stream, until};
use crate::jobs::{self, Told};

/// Between two looks at the jobs while a page is open.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Of what a process says that ends without having told of itself, so many bytes are kept.
const SAID_BYTES_MAX: u64 = 2_000;
/// Where the page is.
const PATH: &str = "/jobs";

/// What is begun here: one at a time.
#[derive(Debug)]
pub(super) struct Hub(Arc<Semaphore>);

impl Default for Hub {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

pub(super) async fn page(State(pages): Asking, Extension(visitor): Extension<Visitor>) -> Result<Response, Refused> {
    Ok(show(drawn(&pages.jobs().await?, None, &visitor)))
}

pub(super) async fn stream(State(pages): Asking) -> Response {
    let closing = pages.closing.clone();
    let parts = futures::stream::unfold((pages, String::new()), |(pages, before)| async move {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Ok(jobs) = pages.jobs().await else { continue };
            let part = part(&jobs).into_string();
            if part != before {
                return Some((stream::event("part", &part), (pages, part)));
            }
        }
    });
    stream::answer(parts.boxed(), &closing)
}

/// What is to become of a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Then {
    Keep,
    CutOver,
    Drop,
}

#[derive(Debug, Deserialize)]
pub(super) struct Replaying {
    into: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
    then: Then,
}

impl Replaying {
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["replay".to_owned(), format!("--into={}", self.into)];
        let days = [("from", &self.from), ("to", &self.to)];
        arguments.extend(days.into_iter().filter(|(_, day)| !day.is_empty()).map(|(name, day)| format!("--{name}={day}")));
        match self.then {
            Then::Keep => {}
            Then::CutOver => arguments.push("--cut-over".to_owned()),
            Then::Drop => arguments.push("--drop".to_owned()),
        }
        arguments
    }
}

pub(super) async fn replay(State(pages): Asking, Change { asked, visitor, by }: Change<Replaying>) -> Result<Response, Refused> {
    begin(&pages, asked.arguments(), &visitor, &by).await
}

/// Begins a command of this program with the settings of this process, and leads to where it is seen.
pub(super) async fn begin(pages: &Arc<Pages>, arguments: Vec<String>, visitor: &Visitor, by: &str) -> Result<Response, Refused> {
    let Ok(turn) = Arc::clone(&pages.jobs.0).try_acquire_owned() else {
        let page = drawn(&pages.jobs().await?, Some("Another job that was begun here still runs; one runs at a time."), visitor);
        let mut response = show(page);
        *response.status_mut() = StatusCode::CONFLICT;
        return Ok(response);
    };
    let id = jobs::new_id();
    let command = ::console::pages::shell(&arguments);
    tracing::info!(by, command, id, "a job was begun in the console");
    let program = std::env::current_exe().map_err(Refused::unavailable)?;
    let mut process = Command::new(program);
    process.args(arguments).arg("--data").arg(&pages.settings.data);
    if let Some(file) = &pages.settings.file {
        process.arg("--config").arg(file);
    }
    process.env(jobs::ID_VARIABLE, &id).env(jobs::BY_VARIABLE, by);
    process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = process.spawn().map_err(Refused::unavailable)?;
    let told = Told {
        id: id.clone(),
        command,
        by: Some(by.to_owned()),
        began: SystemClock.now_micros(),
        heard: SystemClock.now_micros(),
        state: Standing::Failed,
        what: String::new(),
        done: None,
    };
    tokio::spawn(until(pages.closing.subscribe(), attend(Arc::clone(pages), child, told, turn)));
    Ok(led_to(PATH))
}

/// Waits until it ends. One that could not even begin is told of here.
async fn attend(pages: Arc<Pages>, mut child: tokio::process::Child, told: Told, _turn: OwnedSemaphorePermit) {
    let mut said = Vec::new();
    if let Some(errors) = child.stderr.take() {
        let mut errors = errors;
        // Read to its end, for a full pipe would hold it up; the first of it says why.
        let read = async {
            (&mut errors).take(SAID_BYTES_MAX).read_to_end(&mut said).await?;
            tokio::io::copy(&mut errors, &mut tokio::io::sink()).await
        };
        if let Err(error) = read.await {
            tracing::debug!(%error, "what a job says cannot be read");
        }
    }
    let ended = child.wait().await;
    let is_told = jobs::list(&pages.settings.data).is_ok_and(|jobs| jobs.iter().any(|job| job.id == told.id));
    if !is_told {
        let is_sound = ended.is_ok_and(|status| status.success());
        let state = if is_sound { Standing::Done } else { Standing::Failed };
        let what = String::from_utf8_lossy(&said).trim().to_owned();
        if let Err(error) = jobs::note(&pages.settings.data, &Told { state, what, heard: SystemClock.now_micros(), ..told }) {
            tracing::warn!(%error, "what became of a job cannot be noted");
        }
    }
}

impl Pages {
    async fn jobs(&self) -> Result<Vec<Job>, Refused> {
        let data = self.settings.data.clone();
        let listed = tokio::task::spawn_blocking(move || jobs::list(&data)).await.map_err(Refused::unavailable)?;
        Ok(listed.map_err(Refused::unavailable)?.into_iter().map(shown).collect())
    }
}

fn shown(told: Told) -> Job {
    Job {
        began: second(Timestamp(told.began)),
        took: told.heard.saturating_sub(told.began),
        id: told.id,
        command: told.command,
        by: told.by,
        state: told.state,
        what: told.what,
        done: told.done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_a_command() {
        let asked = |from: &str, then| Replaying { into: "silver_rebuild".to_owned(), from: from.to_owned(), to: String::new(), then };
        assert_eq!(asked("", Then::CutOver).arguments(), ["replay", "--into=silver_rebuild", "--cut-over"]);
        assert_eq!(asked("2026-11-01", Then::Keep).arguments(), ["replay", "--into=silver_rebuild", "--from=2026-11-01"]);
        // Whatever somebody gives is a value, and no further flag.
        assert_eq!(asked("--drop", Then::Keep).arguments()[2], "--from=--drop");
    }
}
