//! Processes divide the partitions among themselves.

use std::collections::BTreeSet;

use journal::Journal as _;
use journal::kafka::{Config, Kafka};

use crate::support::{Broker, eventually};

/// Waits until each has a share, the shares do not overlap, and together they are everything.
async fn divided(members: &[&Kafka], partitions: u32) -> Vec<BTreeSet<u32>> {
    let shares: Vec<_> = members.iter().map(|member| member.share()).collect();
    eventually(async || {
        let shares: Vec<BTreeSet<u32>> = shares.iter().map(|share| (**share.borrow()).clone()).collect();
        let sum: usize = shares.iter().map(BTreeSet::len).sum();
        let union: BTreeSet<u32> = shares.iter().flatten().copied().collect();
        let is_divided = sum == partitions as usize && union.len() == sum && shares.iter().all(|share| !share.is_empty());
        is_divided.then_some(shares)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_the_partitions_and_hand_them_over() {
    let broker = Broker::shared();
    // A session that outlasts the test: what is handed over was let go of, not missed.
    let config = Config { partitions: 6, session_timeout: std::time::Duration::from_secs(120), ..broker.config() };
    let first = Kafka::open(config.clone()).await.unwrap();
    assert!(first.is_shared());
    assert_eq!(divided(&[&first], 6).await, [(0..6).collect()]);

    let second = Kafka::open(config.clone()).await.unwrap();
    let third = Kafka::open(config).await.unwrap();
    let sizes: Vec<usize> = divided(&[&first, &second, &third], 6).await.iter().map(BTreeSet::len).collect();
    assert_eq!(sizes, [2, 2, 2]);

    drop(second);
    divided(&[&first, &third], 6).await;
    drop(first);
    assert_eq!(divided(&[&third], 6).await, [(0..6).collect()]);
}
