//! Sources, their write keys and what came of each.

use ::console::pages::sources::{Done, Key, Shown, Volume, page as drawn};
use ::console::pages::{Page, Visitor};
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use contract::{SourceName, Timestamp};
use ingest::keys::Scope;
use ingest::{KeyFile, WriteKey};
use serde::Deserialize;
use serde_json::{Value, json};
use telemetry::clock::{Clock as _, SystemClock};

use super::access::Change;
use super::{Asking, Pages, Refused, show};
use crate::acts;
use crate::key_files;

/// How long the keys before are still taken after one was rotated here: a week.
const OVERLAP_MICROS: i64 = 7 * 24 * 3_600 * 1_000_000;

pub(super) async fn page(State(pages): Asking, Extension(visitor): Extension<Visitor>) -> Response {
    show(pages.sources(None, &visitor).await)
}

#[derive(Debug, Deserialize)]
pub(super) struct Adding {
    source: String,
    #[serde(default)]
    origins: String,
    #[serde(default)]
    event_types: String,
    #[serde(default)]
    rate: String,
    /// A box that is ticked has a value.
    #[serde(default)]
    signed: String,
}

pub(super) async fn add(State(pages): Asking, Change { asked, visitor, by }: Change<Adding>) -> Result<Response, Refused> {
    let key = WriteKey::generate();
    let made = named(&asked.source).and_then(|name| {
        let scope = scope(&asked)?;
        scope.check().map_err(|error| error.to_string())?;
        let detail = json!({"key": key.digest().short(), "scope": scope});
        let secret = pages.secret(&key, &scope)?;
        pages.act(&by, "source.add", &name, detail, |file| file.add(name.clone(), &key, scope, now()))?;
        Ok((name, secret))
    });
    let done = match made {
        Ok((name, secret)) => {
            tracing::info!(by, source = name.as_str(), "a write key was made in the console");
            Done::Added(name.as_str().to_owned(), Shown { key: key.reveal().to_owned(), secret })
        }
        Err(why) => Done::Refused(why),
    };
    Ok(show(pages.sources(Some(done), &visitor).await))
}

#[derive(Debug, Deserialize)]
pub(super) struct Revoking {
    source: String,
}

pub(super) async fn revoke(State(pages): Asking, Change { asked, visitor, by }: Change<Revoking>) -> Result<Response, Refused> {
    let revoked = named(&asked.source).and_then(|name| {
        let keys = pages.act(&by, "source.revoke", &name, Value::Null, |file| file.revoke(&name, None, now()))?;
        Ok((name, keys))
    });
    let done = match revoked {
        Ok((name, keys)) => {
            tracing::info!(by, source = name.as_str(), keys, "write keys were revoked in the console");
            Done::Revoked(name.as_str().to_owned(), keys)
        }
        Err(why) => Done::Refused(why),
    };
    Ok(show(pages.sources(Some(done), &visitor).await))
}

/// A new key, and an end for those there are.
pub(super) async fn rotate(State(pages): Asking, Change { asked, visitor, by }: Change<Revoking>) -> Result<Response, Refused> {
    let (key, now) = (WriteKey::generate(), now());
    let rotated = named(&asked.source).and_then(|name| {
        let until = Timestamp(now.0.saturating_add(OVERLAP_MICROS));
        let detail = json!({"key": key.digest().short(), "others_until": until.to_rfc3339()});
        let (entry, ending) = pages.act(&by, "source.rotate", &name, detail, |file| file.rotate(&name, &key, now, until))?;
        let secret = pages.secret(&key, &entry.scope)?;
        Ok((name, ending, until, secret))
    });
    let done = match rotated {
        Ok((name, ending, until, secret)) => {
            tracing::info!(by, source = name.as_str(), ending, "a write key was rotated in the console");
            Done::Rotated(name.as_str().to_owned(), Shown { key: key.reveal().to_owned(), secret }, super::second(until))
        }
        Err(why) => Done::Refused(why),
    };
    Ok(show(pages.sources(Some(done), &visitor).await))
}

fn named(source: &str) -> Result<SourceName, String> {
    source.trim().parse().map_err(|error: contract::id::InvalidSourceName| error.to_string())
}

fn scope(asked: &Adding) -> Result<Scope, String> {
    let names = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let rate = match asked.rate.trim() {
        "" => None,
        text => Some(text.parse().map_err(|_| format!("{text:?} is no number of events a second"))?),
    };
    Ok(Scope {
        allowed_origins: names(&asked.origins),
        event_types: names(&asked.event_types),
        events_per_second_max: rate,
        signed: !asked.signed.is_empty(),
    })
}

fn now() -> Timestamp {
    Timestamp(SystemClock.now_micros())
}

impl Pages {
    /// Changes the write keys for somebody, once the audit log has it.
    fn act<T>(
        &self,
        by: &str,
        act: &'static str,
        name: &SourceName,
        detail: Value,
        change: impl FnOnce(&KeyFile) -> Result<T, ingest::keys::Error>,
    ) -> Result<T, String> {
        let told = acts::tell(&self.settings, Some(by), act, name.as_str(), detail).map_err(|error| format!("{error:#}"))?;
        told.done(change(&self.settings.key_file())).map_err(|error| error.to_string())
    }

    /// What requests with a key are signed with, where they must be.
    fn secret(&self, key: &WriteKey, scope: &Scope) -> Result<Option<String>, String> {
        let made = scope.signed.then(|| key_files::signing(&self.settings)).transpose();
        made.map(|signing| signing.map(|signing| signing.secret(&key.digest()))).map_err(|error| format!("{error:#}"))
    }

    async fn sources(&self, done: Option<Done>, visitor: &Visitor) -> Page {
        let keys = self.settings.key_file().list().map_err(|error| error.to_string());
        let keys = keys.map(|keys| {
            let key = |entry: ingest::keys::Entry| Key {
                source: entry.name.as_str().to_owned(),
                digest: entry.digest.short(),
                created_at: super::second(entry.created_at),
                revoked_at: entry.revoked_at.map(super::second),
                ended: !entry.is_live(now()),
                origins: entry.scope.allowed_origins,
                event_types: entry.scope.event_types,
                rate: entry.scope.events_per_second_max,
                signed: entry.scope.signed,
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
