//! Sources, their write keys and what came of each.

use ::console::pages::sources::{Done, Key, Volume, page as drawn};
use ::console::pages::{Page, Visitor};
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use contract::{SourceName, Timestamp};
use ingest::WriteKey;
use serde::Deserialize;
use telemetry::clock::{Clock as _, SystemClock};

use super::access::Change;
use super::{Asking, Pages, Refused, show};

pub(super) async fn page(State(pages): Asking, Extension(visitor): Extension<Visitor>) -> Response {
    show(pages.sources(None, &visitor).await)
}

#[derive(Debug, Deserialize)]
pub(super) struct Adding {
    source: String,
    #[serde(default)]
    origins: String,
}

pub(super) async fn add(State(pages): Asking, Change { asked, visitor, by }: Change<Adding>) -> Result<Response, Refused> {
    let origins = asked.origins.split_whitespace().map(str::to_owned).collect();
    let key = WriteKey::generate();
    let done = match SourceName::try_from(asked.source.trim().to_owned()) {
        Ok(name) => match pages.settings.key_file().add(name.clone(), &key, origins, now()) {
            Ok(_) => {
                tracing::info!(by, source = name.as_str(), "a write key was made in the console");
                Done::Added(name.as_str().to_owned(), key.reveal().to_owned())
            }
            Err(error) => Done::Refused(error.to_string()),
        },
        Err(error) => Done::Refused(error.to_string()),
    };
    Ok(show(pages.sources(Some(done), &visitor).await))
}

#[derive(Debug, Deserialize)]
pub(super) struct Revoking {
    source: String,
}

pub(super) async fn revoke(State(pages): Asking, Change { asked, visitor, by }: Change<Revoking>) -> Result<Response, Refused> {
    let done = match SourceName::try_from(asked.source) {
        Ok(name) => match pages.settings.key_file().revoke(&name, now()) {
            Ok(keys) => {
                tracing::info!(by, source = name.as_str(), keys, "write keys were revoked in the console");
                Done::Revoked(name.as_str().to_owned(), keys)
            }
            Err(error) => Done::Refused(error.to_string()),
        },
        Err(error) => Done::Refused(error.to_string()),
    };
    Ok(show(pages.sources(Some(done), &visitor).await))
}

fn now() -> Timestamp {
    Timestamp(SystemClock.now_micros())
}

impl Pages {
    async fn sources(&self, done: Option<Done>, visitor: &Visitor) -> Page {
        let keys = self.settings.key_file().list().map_err(|error| error.to_string());
        let keys = keys.map(|keys| {
            let key = |entry: ingest::keys::Entry| Key {
                source: entry.name.as_str().to_owned(),
                digest: entry.digest.short(),
                created_at: super::second(entry.created_at),
                revoked_at: entry.revoked_at.map(super::second),
                origins: entry.allowed_origins,
            };
            keys.into_iter().map(key).collect::<Vec<Key>>()
        });
        let volume = |(source, line): (String, ::console::pages::overview::Line)| Volume {
            source,
            accepted: line.accepted,
            refused: line.refused,
            late: line.late,
        };
        let volumes: Vec<Volume> = self.overview().await.sources.into_iter().map(volume).collect();
        drawn(keys.as_deref().map_err(String::as_str), &volumes, done.as_ref(), visitor)
    }
}
