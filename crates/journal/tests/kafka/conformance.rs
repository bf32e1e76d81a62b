//! It passes the suite that every journal passes.

use std::sync::Arc;

use journal::Journal;
use journal::conformance::{Fixture, run};
use journal::kafka::{Config, Kafka};

use crate::support::Broker;

struct InTopic(Config);

#[async_trait::async_trait]
impl Fixture for InTopic {
    async fn open(&mut self) -> Arc<dyn Journal> {
        Arc::new(Kafka::open(self.0.clone()).await.unwrap())
    }

    fn record_bytes_max(&self) -> usize {
        self.0.record_bytes_max
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_passes_the_suite() {
    let broker = Broker::shared();
    run(|_| async { Box::new(InTopic(broker.config())) as Box<dyn Fixture> }).await;
}

#[tokio::test]
async fn it_passes_the_suite_on_one_thread() {
    let broker = Broker::shared();
    run(|_| async { Box::new(InTopic(Config { partitions: 2, fetch_bytes_max: 3 << 20, ..broker.config() })) as Box<dyn Fixture> }).await;
}
