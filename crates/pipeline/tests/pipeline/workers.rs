//! Several workers on one journal and one lake: whoever has which part of the work, and whoever believes so, every event is there once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use contract::Verdict;
use journal::{Error, Journal, Offsets, ReadLimit, Record, Share, Stored};
use medallion::tables::Engine;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;

use crate::place::{Arriving, Place};

const WORKERS: u32 = 3;

/// A part of a journal that is shared with others.
#[derive(Debug)]
struct Part {
    journal: Arc<dyn Journal>,
    share: watch::Sender<Share>,
}

impl Part {
    fn of(journal: &Arc<dyn Journal>, partitions: impl IntoIterator<Item = u32>) -> Arc<Self> {
        let (share, _) = watch::channel(Share::default());
        let part = Self { journal: Arc::clone(journal), share };
        part.set(partitions);
        Arc::new(part)
    }

    fn set(&self, partitions: impl IntoIterator<Item = u32>) {
        self.share.send_replace(Arc::new(partitions.into_iter().collect::<BTreeSet<u32>>()));
    }
}

#[async_trait::async_trait]
impl Journal for Part {
    fn generation(&self) -> u32 {
        self.journal.generation()
    }

    fn partitions(&self) -> u32 {
        self.journal.partitions()
    }

    async fn append(&self, records: Vec<Record>) -> Result<Vec<(u32, u64)>, Error> {
        self.journal.append(records).await
    }

    async fn read(&self, from: &Offsets, limit: ReadLimit) -> Result<Vec<Stored>, Error> {
        self.journal.read(from, limit).await
    }

    async fn wait(&self, from: &Offsets) {
        self.journal.wait(from).await;
    }

    fn share(&self) -> watch::Receiver<Share> {
        self.share.subscribe()
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn start(&self) -> Result<Offsets, Error> {
        self.journal.start().await
    }

    async fn end(&self) -> Result<Offsets, Error> {
        self.journal.end().await
    }

    /// Kept: another worker may stand before these offsets.
    async fn trim(&self, _before: &Offsets) -> Result<(), Error> {
        Ok(())
    }

    async fn seal(&self) -> Result<Offsets, Error> {
        self.journal.seal().await
    }

    async fn forget(&self, before: &Offsets) -> Result<(), Error> {
        self.journal.forget(before).await
    }
}

/// Of all kinds, every tenth a copy of an earlier one.
fn events(count: u32) -> Vec<Arriving> {
    let event = |number: u32| {
        let id = format!("event-{}", if number % 10 == 9 { number - 5 } else { number });
        match number % 7 {
            0 => Arriving::exposure(&id, "ann", "control", "2026-11-23T09:10:00Z"),
            1 => Arriving::page(&id).judged(Verdict::Quarantined),
            2 => Arriving::page(&id).judged(Verdict::Refused),
            _ => Arriving::page(&id),
        }
    };
    (0..count).map(event).collect()
}

fn small(place: &mut Place) {
    place.config.batch_records_max = 40;
    place.config.silver_rows_max = 60;
    place.config.index.memtable_entries_max = 50;
}

async fn check(place: &Place, received: u64) {
    let books = place.audit().await;
    assert!(books.balanced, "{:?}", books.findings);
    assert_eq!((books.total.received, books.total.pending), (received, 0));
    assert_eq!(place.number("SELECT count(*) - count(DISTINCT event_id) FROM silver.events").await, 0);
    assert_eq!(place.number("SELECT count(*) - count(DISTINCT journal_partition * 1000000 + journal_offset) FROM dead_letters").await, 0);
    assert_eq!(
        place
            .number("SELECT count(*) - (SELECT count(*) FROM silver.exposures) FROM silver.events WHERE event_type = 'feature_exposure'")
            .await,
        0
    );
}

/// Runs until all is decided about, however long that takes.
async fn run_until_done(place: &Place, parts: &[Arc<Part>]) -> u64 {
    let (stop, running) = watch::channel(false);
    let mut statuses = Vec::new();
    let mut workers = Vec::new();
    for (number, part) in (0..).zip(parts) {
        let status = pipeline::Status::default();
        statuses.push(status.clone());
        let worker = place.observed(Arc::clone(part) as Arc<dyn Journal>, &format!("index-{number}"), status).await.unwrap();
        workers.push(tokio::spawn(worker.run(running.clone())));
    }
    let end: u64 = parts[0].end().await.unwrap().values().sum();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let books = place.audit().await;
        assert!(books.balanced, "{:?}", books.findings);
        if books.total.received == end && books.total.pending == 0 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{:?}", books.total);
    }
    stop.send_replace(true);
    for worker in workers {
        worker.await.unwrap().unwrap();
    }
    statuses.iter().map(|status| status.get().fenced).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_divide_the_work() {
    let mut place = Place::new();
    small(&mut place);
    let journal = place.journal().await;
    let events = events(1_500);
    for part in events.chunks(100) {
        place.append(&journal, part).await;
    }
    let parts: Vec<_> =
        (0..WORKERS).map(|worker| Part::of(&journal, (0..journal.partitions()).filter(move |p| p % WORKERS == worker))).collect();
    let fenced = run_until_done(&place, &parts).await;
    // The first commits to Bronze and to the dead letters all want to move the lake into its generation.
    assert!(fenced <= 2 * u64::from(WORKERS - 1), "workers with different parts are not in each other's way: {fenced}");
    check(&place, 1_500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_believe_to_have_the_same_part_are_fenced() {
    let mut place = Place::new();
    small(&mut place);
    let journal = place.journal().await;
    for part in events(1_500).chunks(100) {
        place.append(&journal, part).await;
    }
    let parts: Vec<_> = (0..WORKERS).map(|_| Part::of(&journal, 0..journal.partitions())).collect();
    let fenced = run_until_done(&place, &parts).await;
    assert!(fenced > 0, "they were all as fast as the others, to the commit");
    check(&place, 1_500).await;
}

/// Workers come, go, are cut off, and get other parts all the time, some of them twice and some nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn parts_that_change_hands_lose_and_double_nothing() {
    let mut random = StdRng::seed_from_u64(2);
    let mut place = Place::new();
    small(&mut place);
    let journal = place.journal().await;
    let all = events(1_200);
    let mut cuts = 0;
    for part in all.chunks(60) {
        place.append(&journal, part).await;
        let parts: Vec<_> =
            (0..WORKERS).map(|_| Part::of(&journal, (0..journal.partitions()).filter(|_| random.random_ratio(1, 2)))).collect();
        let (_stop, running) = watch::channel(false);
        let mut workers = tokio::task::JoinSet::new();
        for (number, part) in (0..).zip(&parts) {
            let worker = place.worker(Arc::clone(part) as Arc<dyn Journal>, &format!("index-{number}")).await.unwrap();
            let (running, cut) = (running.clone(), Duration::from_micros(random.random_range(0..150_000)));
            workers.spawn(async move { tokio::time::timeout(cut, worker.run(running)).await });
        }
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_micros(random.random_range(0..40_000))).await;
            parts[random.random_range(0..parts.len())].set((0..journal.partitions()).filter(|_| random.random_ratio(1, 2)));
        }
        while let Some(ended) = workers.join_next().await {
            match ended.unwrap() {
                Ok(ended) => ended.unwrap(),
                Err(_) => cuts += 1,
            }
        }
        let books = place.audit().await;
        assert!(books.balanced, "after {cuts} cuts: {:?}", books.findings);
    }
    assert_eq!(cuts, 60, "they all must have been cut off");
    let parts = [Part::of(&journal, 0..journal.partitions())];
    run_until_done(&place, &parts).await;
    check(&place, 1_200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_generation_of_the_journal_is_refused_once_the_lake_has_gone_on() {
    let place = Place::new();
    place.feed(&events(10)).await;
    let journal = place.journal().await;
    let old = place.pipeline(Arc::clone(&journal)).await.unwrap();
    place.append(&journal, &[Arriving::page("left behind")]).await;
    drop(journal);

    let newer = journal::embedded::Config { generation: 2, disk_free_bytes_min: 0, ..Default::default() };
    let newer: Arc<dyn Journal> = Arc::new(journal::embedded::Embedded::open(place.path().join("newer"), newer).await.unwrap());
    place.append(&newer, &[Arriving::page("newer"), Arriving::page("event-3")]).await;
    let worker = place.worker(newer, "index-2").await.unwrap();
    let (_stop, stopped) = watch::channel(true);
    worker.run(stopped.clone()).await.unwrap();

    // The one that runs, and one that starts.
    let refused = old.run(stopped).await.unwrap_err().to_string();
    assert!(refused.contains("generation 2, this journal is generation 1"), "{refused}");
    let refused = place.pipeline(place.journal().await).await.unwrap_err().to_string();
    assert!(refused.contains("tidegate journal copy"), "{refused}");
    assert_eq!(place.texts("SELECT event_id FROM bronze.events WHERE event_id IN ('newer', 'left behind')").await, ["newer"]);
    assert!(place.audit().await.balanced);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_another_engine_owns_is_left_alone_until_it_is_handed_back() {
    use pipeline::engine::{Owners, hand_over, owners};
    let mut place = Place::new();
    small(&mut place);
    let lake = place.lake().await;
    let workers = Owners { bronze: Engine::Workers, silver: Engine::Workers };
    assert_eq!(owners(&lake).await.unwrap(), workers, "there are no tables yet");
    let journal = place.journal().await;
    place.append(&journal, &events(300)).await;
    let part = Part::of(&journal, 0..journal.partitions());
    let (stop, running) = watch::channel(false);
    let status = pipeline::Status::default();
    let worker = place.observed(Arc::clone(&part) as Arc<dyn Journal>, "index", status.clone()).await.unwrap();
    let worker = tokio::spawn(worker.run(running));
    let until = async |what: &str, received: u64| {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while (place.audit().await.total.received, place.audit().await.total.pending) != (received, 0) {
            assert!(tokio::time::Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    until("the worker owns the stream", 300).await;

    assert!(hand_over(&lake, Engine::Spark).await.unwrap());
    assert!(!hand_over(&lake, Engine::Spark).await.unwrap(), "it has been handed over");
    assert_eq!(owners(&lake).await.unwrap(), Owners { bronze: Engine::Spark, silver: Engine::Spark });
    let before = place.counts().await;
    place.append(&journal, &events(400)[300..]).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while status.get().fenced == 0 {
        assert!(tokio::time::Instant::now() < deadline, "the worker committed, or did not try");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (bronze, silver, _) = place.counts().await;
    assert_eq!((bronze, silver), (before.0, before.1), "a worker that waits takes nothing");

    assert!(hand_over(&lake, Engine::Workers).await.unwrap());
    until("it is handed back", 400).await;
    stop.send_replace(true);
    worker.await.unwrap().unwrap();
    assert_eq!(owners(&lake).await.unwrap(), workers);
    check(&place, 400).await;
}
