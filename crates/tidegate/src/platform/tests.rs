//! One process on a free port with its own folder, asked over HTTP.

use std::path::Path;
use std::sync::Arc;

use contract::Timestamp;
use ingest::keys::Scope;
use reqwest::Client;
use serde_json::Value;
use telemetry::clock::SystemClock;
use tempfile::TempDir;

use super::Platform;
use crate::settings::{Role, Settings};

const KEY: &str = "tg_test_key";
const EVENT: &str = r#"{"event_id":"e1","event_type":"page_view","anonymous_id":"a1"}"#;

fn settings(folder: &Path) -> Settings {
    let mut settings = Settings { data: folder.to_owned(), ..Settings::default() };
    settings.server.listen = "127.0.0.1:0".to_owned();
    settings
}

async fn started(folder: &Path) -> Platform {
    let platform = Box::pin(Platform::start(&settings(folder), Arc::new(SystemClock))).await.unwrap();
    platform.key_file().add("web".parse().unwrap(), &KEY.parse().unwrap(), Scope::default(), Timestamp(0)).unwrap();
    platform
}

async fn get(platform: &Platform, path: &str) -> (u16, String) {
    let answer = Client::builder().no_proxy().build().unwrap().get(format!("http://{}{path}", platform.address())).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn post(platform: &Platform) -> (u16, Value) {
    let client = Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("http://{}/v1/events", platform.address())).bearer_auth(KEY).body(EVENT);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_is_in_silver_when_the_stop_returns() {
    let folder = TempDir::new().unwrap();
    let platform = Box::pin(started(folder.path())).await;
    assert_eq!(get(&platform, "/healthz").await, (200, r#"{"status":"ok"}"#.to_owned()));
    assert_eq!(get(&platform, "/readyz").await, (200, r#"{"status":"ready"}"#.to_owned()));
    assert_eq!(get(&platform, "/nowhere").await.0, 404);
    let (status, answer) = post(&platform).await;
    assert_eq!((status, &answer["accepted"]), (200, &Value::from(1)));
    let (_, metrics) = get(&platform, "/metrics").await;
    for name in ["tidegate_build_info{version=", "tidegate_journal_appended_records_total", "tidegate_ingest_request_seconds_bucket"] {
        assert!(metrics.contains(name), "{name} is not in\n{metrics}");
    }
    let status = platform.status();
    let lake = lake::Lake::open(&settings(folder.path()).lake_location(), lake::Options::default()).await.unwrap();
    platform.stop().await.unwrap();
    assert_eq!((status.get().bronze, status.get().silver), (1, 1));
    let session = lake.session().await.unwrap();
    let rows = session.sql("SELECT event_id FROM silver.events").await.unwrap().collect().await.unwrap();
    assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_one_on_the_same_folder_is_told_who_has_it() {
    let folder = TempDir::new().unwrap();
    let platform = Box::pin(started(folder.path())).await;
    let error = Box::pin(Platform::start(&settings(folder.path()), Arc::new(SystemClock))).await.unwrap_err().to_string();
    assert!(error.contains("is in use by") && error.contains("stop it, or choose another directory"), "{error}");
    platform.stop().await.unwrap();
    let again = Box::pin(Platform::start(&settings(folder.path()), Arc::new(SystemClock))).await.unwrap();
    again.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_only_what_is_asked_for() {
    let folder = TempDir::new().unwrap();
    let mut only = settings(folder.path());
    only.server.roles = vec![Role::Ingest];
    let platform = Box::pin(Platform::start(&only, Arc::new(SystemClock))).await.unwrap();
    platform.key_file().add("web".parse().unwrap(), &KEY.parse().unwrap(), Scope::default(), Timestamp(0)).unwrap();
    assert_eq!(post(&platform).await.0, 200);
    platform.stop().await.unwrap();

    only.server.roles = vec![Role::Pipeline];
    let platform = Box::pin(Platform::start(&only, Arc::new(SystemClock))).await.unwrap();
    assert_eq!(post(&platform).await.0, 404);
    assert_eq!(get(&platform, "/readyz").await.0, 200);
    let status = platform.status();
    platform.stop().await.unwrap();
    assert_eq!(status.get().silver, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_taken_is_said_so() {
    let folder = TempDir::new().unwrap();
    let platform = Box::pin(started(folder.path())).await;
    let other = TempDir::new().unwrap();
    let mut taken = settings(other.path());
    taken.server.listen = platform.address().to_string();
    let error = Box::pin(Platform::start(&taken, Arc::new(SystemClock))).await.unwrap_err().to_string();
    assert!(error.contains("something else listens there"), "{error}");
    platform.stop().await.unwrap();
}
