//! A person is erased: nothing of them is left, the books balance, and nothing brings them back.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::DataType;
use contract::{Timestamp, Verdict};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pipeline::erasure::{self, Report, Request};
use pipeline::replay::Replay;
use pipeline::{Compared, diff};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::place::{Arriving, Place, RECEIVED};

const ALICE: &str = "alice@example.org";
const BOB: &str = "bob@example.org";

fn of(id: &str, user: &str, more: &str) -> Arriving {
    let payload = format!(
        r#"{{"event_id":"{id}","event_type":"page_view","event_time":"2026-11-23T09:59:30Z","user_id":"{user}","properties":{{"more":"{more}"}}}}"#
    );
    Arriving::with(id, &payload)
}

fn anonymous(id: &str, anonymous_id: &str, more: &str) -> Arriving {
    Arriving::with(
        id,
        &format!(
            r#"{{"event_id":"{id}","event_type":"page_view","event_time":"2026-11-23T09:59:30Z","anonymous_id":"{anonymous_id}"{more}}}"#
        ),
    )
}

fn exposure(id: &str, user: &str) -> Arriving {
    let properties = r#"{"experiment_id":"checkout","variation_id":"control"}"#;
    Arriving::with(
        id,
        &format!(
            r#"{{"event_id":"{id}","event_type":"feature_exposure","event_time":"2026-11-22T09:59:30Z","user_id":"{user}","properties":{properties}}}"#
        ),
    )
}

fn request(user: &str) -> Request {
    Request { users: vec![user.to_owned()], ..Request::default() }
}

/// Erases as the command does where no server runs.
async fn erase(place: &Place, request: &Request) -> Report {
    let lake = place.lake().await;
    let found = erasure::find(&lake, request).await.unwrap();
    let mut begun = erasure::begin(&lake, &found, Timestamp(RECEIVED), [7; 32]).await.unwrap();
    while !begun.waiting(&lake).await.unwrap().is_over() {
        place.drain(place.journal().await).await;
    }
    begun.finish(&lake, &place.config).await.unwrap()
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, files) } else { files.push(path) }
    }
}

/// The files in which one of these texts is: as bytes, and, in Parquet files, in the values too.
fn files_with(place: &Place, needles: &[&str]) -> Vec<String> {
    let mut files = Vec::new();
    files_below(place.path(), &mut files);
    // Not as the end of another name.
    let begins =
        |bytes: &[u8], at: usize| at.checked_sub(1).and_then(|at| bytes.get(at)).is_none_or(|before| !before.is_ascii_alphanumeric());
    let is_in_with = |bytes: &[u8], needle: &str| {
        bytes.windows(needle.len()).enumerate().any(|(at, window)| window == needle.as_bytes() && begins(bytes, at))
    };
    let is_in = |bytes: &[u8]| needles.iter().any(|needle| is_in_with(bytes, needle));
    let holds = |path: &PathBuf| {
        is_in(&std::fs::read(path).unwrap()) || (path.extension().is_some_and(|of| of == "parquet") && is_in_values(path, &is_in))
    };
    files.iter().filter(|path| holds(path)).map(|path| path.display().to_string()).collect()
}

fn is_in_values(path: &Path, is_in: &impl Fn(&[u8]) -> bool) -> bool {
    let mut batches = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    batches.any(|batch| {
        let batch = batch.unwrap();
        batch.columns().iter().any(|column| match column.data_type() {
            DataType::Utf8 => column.as_string::<i32>().iter().flatten().any(|text| is_in(text.as_bytes())),
            DataType::Binary => column.as_binary::<i32>().iter().flatten().any(is_in),
            // The statistics of a checkpoint among them.
            DataType::Struct(_) | DataType::Map(..) | DataType::List(_) => is_in(format!("{column:?}").as_bytes()),
            _ => false,
        })
    })
}

async fn rebuild_and_compare(place: &Place, into: &str) -> Compared {
    let lake = place.lake().await;
    let replay = Replay { into: into.to_owned(), from: None, to: None, index_folder: place.path().join(into) };
    replay.run(&lake, &place.config, &|_| {}).await.unwrap();
    let compared = diff(&lake, "silver", into, &place.config).await.unwrap();
    assert_eq!(compared.differences.len(), 0, "{:?}", compared.differences);
    replay.cut_over(&lake, &place.config, &|_| {}).await.unwrap();
    compared
}

async fn check_books(place: &Place) {
    let books = place.audit().await;
    assert!(books.balanced, "{:?}", books.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_person_is_left_before_and_after_a_replay() {
    let place = Place::new();
    place
        .feed(&[
            of("a1", ALICE, ""),
            of("a1", ALICE, ""),
            of("b1", BOB, ""),
            exposure("a2", ALICE),
            exposure("b2", BOB),
            of("a3", ALICE, "").judged(Verdict::Quarantined),
            of("a4", ALICE, "").judged(Verdict::Refused),
            of("b3", BOB, "").judged(Verdict::Refused),
            // The device was hers alone; the other one, both used.
            anonymous("a5", "device-of-alice", ""),
            anonymous("a6", "device-of-alice", &format!(r#","user_id":"{ALICE}""#)),
            anonymous("s1", "device-of-both", ""),
            anonymous("a7", "device-of-both", &format!(r#","user_id":"{ALICE}""#)),
            anonymous("b4", "device-of-both", &format!(r#","user_id":"{BOB}""#)),
            of("b5", BOB, "https://x.example/?invite=alice%40example.org"),
            of("b6", BOB, "malice@example.org is another"),
            // One id, two events: hers came first, and his.
            of("c1", ALICE, ""),
            of("c1", BOB, ""),
            of("c2", BOB, ""),
            of("c2", ALICE, ""),
        ])
        .await;
    assert!(files_with(&place, &[ALICE]).len() > 5, "the search finds what is there");
    let before = place.counts().await;
    let others = "SELECT event_id FROM silver.events ORDER BY 1";

    let report = erase(&place, &request(ALICE)).await;
    assert!(report.is_complete(), "{report:?}");
    let needles = [ALICE, "alice%40", "device-of-alice"];
    assert_eq!(files_with(&place, &needles), Vec::<String>::new());
    assert_eq!(place.counts().await.0, before.0, "Bronze keeps the place of each record");
    assert_eq!(place.texts(others).await, ["b1", "b2", "b4", "b6", "c2", "s1"]);
    assert_eq!(place.number("SELECT count(*) FROM silver.exposures").await, 1);
    assert_eq!(place.number("SELECT count(*) FROM dead_letters WHERE stage = 'gate' AND code = 'erased'").await, 1);
    // His event under an id that hers had taken stays what it was.
    assert_eq!(place.texts("SELECT event_id FROM dead_letters WHERE stage = 'silver'").await, ["c1"]);
    assert_eq!(place.number("SELECT sum(events) FROM gold.activity_by_day").await, 6);
    assert_eq!(place.number("SELECT count(*) FROM gold.sessions WHERE subject_id LIKE '%alice%'").await, 0);
    check_books(&place).await;

    assert_eq!(rebuild_and_compare(&place, "silver_v2").await.rows_right, 6);
    place.feed(&[]).await;
    assert_eq!(files_with(&place, &needles), Vec::<String>::new(), "after a replay too");
    check_books(&place).await;
    assert_eq!(place.texts(others).await, ["b1", "b2", "b4", "b6", "c2", "s1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn later_arrivals_are_kept_out_and_ids_stay_taken() {
    let place = Place::new();
    place.feed(&[of("a1", ALICE, ""), of("b1", BOB, "")]).await;
    assert!(erase(&place, &request(ALICE)).await.is_complete());
    // The journal had it before the gate knew, a copy of the erased event, another event under its id, and a refused one.
    let late = [of("a1", ALICE, ""), of("a9", ALICE, "new"), of("a1", BOB, ""), of("a8", ALICE, "").judged(Verdict::Refused)];
    place.feed(&late).await;
    assert_eq!(place.texts("SELECT event_id FROM silver.events").await, ["b1"]);
    assert_eq!(place.number("SELECT count(*) FROM bronze.events WHERE wire_format = 'erased' AND CAST(payload AS VARCHAR) = ''").await, 3);
    assert_eq!(place.texts("SELECT code FROM dead_letters ORDER BY 1").await, ["erased", "identity_conflict"]);
    check_books(&place).await;
    let books = place.audit().await;
    assert_eq!((books.total.silver, books.total.erased, books.total.dead_letters), (1, 3, 1));

    // Without the index, the identity is known from Bronze.
    std::fs::remove_dir_all(place.path().join("index")).unwrap();
    place.feed(&[of("a1", BOB, "again")]).await;
    assert_eq!(place.texts("SELECT event_id FROM silver.events").await, ["b1"]);
    check_books(&place).await;
    rebuild_and_compare(&place, "silver_v2").await;
    // What came after the erasure has not been in the journal since it was asked to forget; erased again, that goes too.
    assert!(erase(&place, &request(ALICE)).await.is_complete());
    assert_eq!(files_with(&place, &[ALICE]), Vec::<String>::new());
    check_books(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_forgets_what_a_gate_let_in_until_it_looked() {
    let mut place = Place::new();
    place.config.erasure_interval = Duration::from_secs(6);
    place.feed(&[of("a1", ALICE, ""), of("b1", BOB, "")]).await;
    let (lake, journal) = (place.lake().await, place.journal().await);
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(place.pipeline(Arc::clone(&journal)).await.unwrap().run(stopped));
    let found = erasure::find(&lake, &request(ALICE)).await.unwrap();
    let mut begun = erasure::begin(&lake, &found, Timestamp(RECEIVED), [7; 32]).await.unwrap();
    // By a gate that looked right before, and does so again in a moment.
    sleep(place.config.erasure_interval - Duration::from_millis(100)).await;
    place.append(&journal, &[of("a2", ALICE, ""), of("b2", BOB, "")]).await;
    assert!(begun.waiting(&lake).await.unwrap().partitions > 0, "the journal has still to forget");
    while !begun.waiting(&lake).await.unwrap().is_over() {
        sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.finish(&lake, &place.config).await.unwrap().is_complete());
    assert_eq!(files_with(&place, &[ALICE]), Vec::<String>::new());
    stop.send_replace(true);
    running.await.unwrap().unwrap();
    assert_eq!(place.texts("SELECT event_id FROM silver.events ORDER BY 1").await, ["b1", "b2"]);
    check_books(&place).await;
}

/// Events of few people under few ids, some erased in between: live and rebuilt are the same whatever the order.
#[tokio::test(flavor = "multi_thread")]
async fn live_and_rebuilt_agree_whoever_is_erased_when() {
    for seed in 0..2 {
        let mut rng = StdRng::seed_from_u64(seed);
        let place = Place::new();
        let people = ["ann@example.org", "ben@example.org", "cat@example.org"];
        let mut erased: Vec<&str> = Vec::new();
        for round in 0..4 {
            let event = |rng: &mut StdRng| {
                let (id, who) = (format!("e{}", rng.random_range(0..12)), people[rng.random_range(0..people.len())]);
                let verdict = [Verdict::Accepted, Verdict::Accepted, Verdict::Quarantined, Verdict::Refused][rng.random_range(0..4)];
                of(&id, who, "").judged(verdict)
            };
            let events: Vec<Arriving> = (0..rng.random_range(1..20)).map(|_| event(&mut rng)).collect();
            place.feed(&events).await;
            if round % 2 == 1 {
                let who = people[rng.random_range(0..people.len())];
                assert!(erase(&place, &request(who)).await.is_complete(), "seed {seed}");
                erased.push(who);
            }
        }
        check_books(&place).await;
        rebuild_and_compare(&place, "silver_v2").await;
        check_books(&place).await;
        for who in erased {
            assert!(erase(&place, &request(who)).await.is_complete());
            assert_eq!(files_with(&place, &[who]), Vec::<String>::new(), "seed {seed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_found_and_refused() {
    let place = Place::new();
    place.feed(&[anonymous("a", "d1", r#","user_id":"7""#), anonymous("b", "d1", ""), anonymous("c", "d2", r#","user_id":"8""#)]).await;
    let lake = place.lake().await;
    let found = erasure::find(&lake, &request("7")).await.unwrap();
    assert_eq!((found.anonymous.as_slice(), found.shared.len(), found.not_telling.len()), (&["d1".to_owned()][..], 0, 2));
    assert_eq!(erasure::count(&lake, &found.person).await.unwrap(), (2, 0));
    let named = Request { only_named: true, ..request("7") };
    assert!(erasure::find(&lake, &named).await.unwrap().anonymous.is_empty());
    for nobody in [Request::default(), request("")] {
        assert_eq!(erasure::find(&lake, &nobody).await.unwrap_err().kind(), pipeline::ErrorKind::Setting);
    }
    let report = erase(&place, &request("7")).await;
    assert!(report.is_complete() && report.seal() == report.seal() && report.digests.len() == 2);
    assert_eq!(place.texts("SELECT event_id FROM silver.events").await, ["c"]);
}
