//! What reads meet that no journal of our own making would hold.

use std::time::Duration;

use journal::kafka::{Config, Kafka};
use journal::{Error, Journal as _, Offsets};
use rdkafka::admin::AdminOptions;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::support::{Broker, MUCH, drain, eventually, number, record};

async fn of_one_partition(broker: &Broker) -> Kafka {
    Kafka::open(Config { partitions: 1, ..broker.config() }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_removed_is_an_error() {
    let broker = Broker::shared();
    let journal = of_one_partition(&broker).await;
    for range in [0..10, 10..20] {
        journal.append(range.map(record).collect()).await.unwrap();
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&journal.config().topic, 0, Offset::Offset(7)).unwrap();
    broker.admin().delete_records(&list, &AdminOptions::new()).await.unwrap();

    assert_eq!(journal.start().await.unwrap(), Offsets::from([(0, 7)]));
    let read = journal.read(&Offsets::from([(0, 6)]), MUCH).await;
    assert!(matches!(read, Err(Error::Trimmed { partition: 0, asked: 6, start: 7 })), "{read:?}");
    // A wait does not outlast what it waits for in vain.
    tokio::time::timeout(Duration::from_secs(10), journal.wait(&Offsets::from([(0, 6)]))).await.unwrap();
    let found: Vec<u64> = drain(&journal, Offsets::from([(0, 7)])).await.iter().map(|stored| number(&stored.record)).collect();
    assert_eq!(found, (7..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_the_end_is_nothing_until_there_is_something() {
    let broker = Broker::shared();
    let journal = of_one_partition(&broker).await;
    journal.append(vec![record(1)]).await.unwrap();
    let behind = Offsets::from([(0, 3)]);
    assert!(journal.read(&behind, MUCH).await.unwrap().is_empty());
    journal.append((2..=5).map(record).collect()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), journal.wait(&behind)).await.unwrap();
    // The reader may have to find its feet first.
    let found: Vec<u64> = drain(&journal, behind).await.iter().map(|stored| number(&stored.record)).collect();
    assert_eq!(found, [4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_is_a_record_too() {
    let broker = Broker::shared();
    let journal = of_one_partition(&broker).await;
    let topic = journal.config().topic.clone();
    journal.append(vec![record(1)]).await.unwrap();
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", broker.server.bootstrap());
    let foreign: BaseProducer = settings.set("transactional.id", &topic).create().unwrap();
    let patience = Duration::from_secs(20);
    foreign.init_transactions(patience).unwrap();
    foreign.begin_transaction().unwrap();
    foreign.send(BaseRecord::<str, str>::to(&topic).partition(0).key("short").payload("theirs")).unwrap();
    foreign.send(BaseRecord::<str, str>::to(&topic).partition(0)).unwrap();
    foreign.commit_transaction(patience).unwrap();

    eventually(async || (journal.end().await.unwrap() == Offsets::from([(0, 4)])).then_some(())).await;

    // The marker of the transaction has an offset and is no record: the end is reached all the same.
    let found = journal.read(&Offsets::from([(0, 0)]), MUCH).await.unwrap();
    let values: Vec<&[u8]> = found.iter().map(|stored| &stored.record.value[..]).collect();
    assert_eq!(values, [&record(1).value[..], b"theirs", b""]);
    assert!(found.iter().skip(1).all(|stored| stored.record.key == [0; 16] && stored.record.header.is_empty()), "{found:?}");
    assert!(journal.read(&Offsets::from([(0, 3)]), MUCH).await.unwrap().is_empty());
    journal.append(vec![record(2)]).await.unwrap();
    let found = journal.read(&Offsets::from([(0, 3)]), MUCH).await.unwrap();
    assert_eq!(found.iter().map(|stored| (stored.offset, number(&stored.record))).collect::<Vec<_>>(), [(4, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_may_read_at_different_places() {
    let broker = Broker::shared();
    let journal = of_one_partition(&broker).await;
    journal.append((0..50).map(record).collect()).await.unwrap();
    let read = async |from: u64| {
        let found = journal.read(&Offsets::from([(0, from)]), MUCH).await.unwrap();
        assert_eq!(found.iter().map(|stored| number(&stored.record)).collect::<Vec<_>>(), (from..50).collect::<Vec<_>>());
    };
    for _ in 0..3 {
        tokio::join!(read(0), read(30), read(49), read(50));
    }
    let behind = Offsets::from([(0, 50)]);
    let waiting = async {
        tokio::time::timeout(Duration::from_secs(10), journal.wait(&behind)).await.unwrap();
    };
    let appending = async {
        read(10).await;
        journal.append(vec![record(50)]).await.unwrap();
    };
    tokio::join!(waiting, appending);
}
