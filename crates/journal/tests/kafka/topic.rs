//! A topic is made when it is missing, and looked at before it becomes the journal.

use journal::Journal as _;
use journal::kafka::{Config, Kafka, OpenError};

use crate::support::Broker;

async fn check_refused(config: Config, parts: &[&str]) {
    let error = Kafka::open(config).await.unwrap_err();
    assert!(!error.is_passing(), "a person has to act: {error}");
    assert!(parts.iter().all(|part| error.to_string().contains(part)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_lose_events_is_refused() {
    let broker = Broker::shared();
    let config = broker.config();
    broker.make_topic(&config.topic, 1, &[("cleanup.policy", "compact"), ("max.message.bytes", "9000000")]).await;
    check_refused(config.clone(), &[&config.topic, "cleanup.policy", "set it to delete"]).await;

    let config = broker.config();
    broker.make_topic(&config.topic, 1, &[]).await;
    check_refused(config.clone(), &["max.message.bytes", "journal.kafka.record_bytes_max"]).await;
    // What it says helps.
    Kafka::open(Config { record_bytes_max: 1_000_000, ..config }).await.unwrap();

    check_refused(Config { create_topic: false, ..broker.config() }, &["does not exist", "journal.kafka.create_topic"]).await;
    check_refused(Config { replication_factor: Some(3), ..broker.config() }, &["journal.kafka.replication_factor"]).await;
    check_refused(Config { brokers: vec![], ..broker.config() }, &["set journal.kafka.brokers"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_may_start_at_once() {
    let broker = Broker::shared();
    let config = Config { partitions: 5, ..broker.config() };
    let opening: Vec<_> = (0..6).map(|_| tokio::spawn(Kafka::open(config.clone()))).collect();
    for opened in opening {
        assert_eq!(opened.await.unwrap().unwrap().partitions(), 5);
    }
    // A topic that exists has as many partitions as it has.
    assert_eq!(Kafka::open(Config { partitions: 2, ..config }).await.unwrap().partitions(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_do_not_answer_may_answer_later() {
    let port = servers::free_port().unwrap();
    let config = Config { brokers: vec![format!("127.0.0.1:{port}")], ..Config::default() };
    let error = Kafka::open(config).await.unwrap_err();
    assert!(matches!(error, OpenError::Journal(_)) && error.is_passing(), "{error}");
}
