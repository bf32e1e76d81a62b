//! The embedded journal passes the suite that every journal passes.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::sync::Arc;

use journal::Journal;
use journal::conformance::{Fixture, run};
use journal::embedded::{Config, Embedded};
use tempfile::TempDir;

struct InDirectory {
    directory: TempDir,
    config: Config,
}

#[async_trait::async_trait]
impl Fixture for InDirectory {
    async fn open(&mut self) -> Arc<dyn Journal> {
        Arc::new(Embedded::open(self.directory.path(), self.config.clone()).await.unwrap())
    }

    fn record_bytes_max(&self) -> usize {
        self.config.record_bytes_max
    }
}

async fn passes(config: Config) {
    run(|_| {
        let config = config.clone();
        async { Box::new(InDirectory { directory: tempfile::tempdir().unwrap(), config }) as Box<dyn Fixture> }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_default_settings() {
    passes(Config::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_small_segments_and_many_partitions() {
    passes(Config { partitions: 16, segment_bytes: 20_000, record_bytes_max: 300_000, group_bytes_max: 10_000, ..Config::default() }).await;
}

#[tokio::test]
async fn on_one_thread() {
    passes(Config { partitions: 2, segment_bytes: 1, record_bytes_max: 1 << 20, ..Config::default() }).await;
}
