use std::time::{Duration, SystemTime};

use arrow::array::RecordBatch;
use lake::{Commit, Compaction, ErrorKind, Options};

use crate::common::*;

on_every_store! {
    compaction_keeps_the_rows_and_their_order,
    compaction_and_writers_do_not_stop_each_other,
    two_compactions_of_the_same_files_end_in_one,
    vacuum_takes_orphans_and_replaced_files_after_their_time,
    progress_and_rows_outlive_the_log,
    large_writes_become_several_files,
    clustering_sorts_rows_and_changes_none,
}

fn small() -> Compaction {
    Compaction { min_files: 4, ..Compaction::default() }
}

async fn compaction_keeps_the_rows_and_their_order(place: Place) {
    let lake = place.lake().await;
    let mut writer = lake.table(&spec()).await.unwrap();
    for n in 0..9 {
        writer.append(vec![rows(n * 2, &[MONDAY, MONDAY + 1])], progress(&[("a", n + 1)])).await.unwrap();
    }
    let before = lake.session().await.unwrap();
    let old_files = writer.added(0, 9).await.unwrap();

    let mut janitor = lake.table(&spec()).await.unwrap();
    let done = janitor.compact(&small()).await.unwrap();
    assert_eq!((done.files_before, done.files_after, done.given_up), (18, 2, false));
    assert!(done.bytes_after < done.bytes_before);
    assert_eq!(visible(&lake).await, (0..18).collect::<Vec<_>>());
    assert_eq!(janitor.compact(&small()).await.unwrap().files_before, 0, "there is nothing left to do");

    // Who reads by version sees each row once, whether a file was compacted since or not.
    assert!(janitor.added(9, janitor.version()).await.unwrap().is_empty());
    assert_eq!(numbers(&janitor.read(&old_files, None).await.unwrap()).len(), 18);
    assert_eq!(count(&before, "select count(*) from bronze.events").await, 18, "a reader of the older version reads on");

    // The writer was not told, and goes on.
    writer.append(vec![day_rows(18, 1)], progress(&[("a", 10)])).await.unwrap();
    let session = lake.session().await.unwrap();
    let monday = query(&session, "select n from bronze.events where day = '2026-11-23'").await;
    let compacted: Vec<i64> = numbers(&monday).into_iter().filter(|n| *n < 18).collect();
    assert_eq!(compacted, (0..9).map(|n| n * 2).collect::<Vec<_>>(), "rows stand in the order of their files");
}

async fn compaction_and_writers_do_not_stop_each_other(place: Place) {
    let lake = place.lake().await;
    let mut writer = lake.table(&spec()).await.unwrap();
    let janitor = tokio::spawn({
        let lake = lake.clone();
        async move {
            let mut table = lake.table(&spec()).await.unwrap();
            let mut files = 0;
            for _ in 0..15 {
                files += table.compact(&small()).await.unwrap().files_before;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            files
        }
    });
    for n in 0..60 {
        writer.append(vec![day_rows(n, 1)], progress(&[("a", n + 1)])).await.unwrap();
    }
    assert!(janitor.await.unwrap() > 0);
    assert_eq!(visible(&lake).await, (0..60).collect::<Vec<_>>());
    writer.refresh().await.unwrap();
    assert_eq!(all_added(&writer).await, (0..60).collect::<Vec<_>>());
}

async fn two_compactions_of_the_same_files_end_in_one(place: Place) {
    let lake = place.lake().await;
    let mut writer = lake.table(&spec()).await.unwrap();
    for n in 0..8 {
        writer.append(vec![day_rows(n, 1)], Commit::default()).await.unwrap();
    }
    let runs = (0..4).map(|_| {
        let lake = lake.clone();
        tokio::spawn(async move { lake.table(&spec()).await.unwrap().compact(&small()).await.unwrap() })
    });
    let done: Vec<_> = futures::future::join_all(runs).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(done.iter().filter(|done| done.files_after == 1).count(), 1, "{done:?}");
    assert_eq!(visible(&lake).await, (0..8).collect::<Vec<_>>());
    assert_eq!(data_files(&place).len(), 9, "who gave up left no file");
}

async fn vacuum_takes_orphans_and_replaced_files_after_their_time(place: Place) {
    let lake = place.lake().await;
    let mut table = lake.table(&spec()).await.unwrap();
    for n in 0..4 {
        table.append(vec![day_rows(n, 1)], Commit::default()).await.unwrap();
    }
    table.compact(&small()).await.unwrap();
    let orphan = place.files().join("bronze/events/day=2026-11-23/part-of-a-crashed-commit.zstd.parquet");
    let unnamed = place.files().join("bronze/events/_delta_log/00000000000000000006.json.0f.tmp");
    let unfinished = place.files().join("bronze/events/day=2026-11-23/part-1.zstd.parquet.0f.tmp");
    for left in [&orphan, &unnamed, &unfinished] {
        std::fs::write(left, "x").unwrap();
    }

    assert_eq!(table.vacuum(Duration::from_secs(3600), None).await.unwrap(), 0);
    assert_eq!(data_files(&place).len(), 7);
    assert_eq!(table.vacuum(Duration::ZERO, Some(1)).await.unwrap(), 0, "a stage that has yet to read version 1 finds its files");
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(table.vacuum(Duration::ZERO, None).await.unwrap(), 7);
    assert_eq!(data_files(&place).len(), 1);
    assert!(![&orphan, &unnamed, &unfinished].iter().any(|left| left.exists()));
    assert_eq!(visible(&lake).await, [0, 1, 2, 3]);
    let newest = &table.history(1).await.unwrap()[0];
    assert_eq!((newest.what.as_str(), newest.by.as_deref()), ("vacuum", None), "a vacuum of ours is told from others'");
    table.append(vec![day_rows(4, 1)], progress(&[("a", 1)])).await.unwrap();
    assert_eq!(visible(&lake).await, [0, 1, 2, 3, 4]);
}

/// Makes the log look a month old, all but its newest versions.
fn age_log(place: &Place, before: i64) {
    let log = place.files().join("bronze/events/_delta_log");
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    for entry in std::fs::read_dir(log).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.split('.').next().and_then(|version| version.parse::<i64>().ok()).is_some_and(|version| version < before) {
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        }
    }
}

async fn progress_and_rows_outlive_the_log(place: Place) {
    let options = Options { checkpoint_interval: 10, ..Options::default() };
    let lake = place.lake_with(options).await;
    let mut table = lake.table(&spec()).await.unwrap();
    let mut left_behind = lake.table(&spec()).await.unwrap();
    table.append(vec![day_rows(100, 1)], progress(&[("early", 1)])).await.unwrap();
    for n in 0..25 {
        table.append(vec![day_rows(n, 1)], progress(&[("a", n + 1)])).await.unwrap();
    }
    age_log(&place, 20);
    for n in 25..35 {
        table.append(vec![day_rows(n, 1)], progress(&[("a", n + 1)])).await.unwrap();
    }
    let hour = Duration::from_secs(3600);
    assert_eq!(table.trim_log(hour, Some(5)).await.unwrap(), 0, "a stage has yet to read version 5");
    table.added(4, 5).await.unwrap();
    // Versions 0 to 18 and the checkpoint of 9, but not the checkpoint of 19, from which the table is loaded.
    assert_eq!(table.trim_log(hour, None).await.unwrap(), 20);
    assert_eq!(table.trim_log(hour, None).await.unwrap(), 0);

    let mut reopened = lake.reader("bronze.events").await.unwrap().unwrap();
    assert_eq!(reopened.progress("early").await.unwrap(), Some(1));
    assert_eq!(reopened.progress("a").await.unwrap(), Some(35));
    assert_eq!(visible(&lake).await.len(), 36);
    let missing = reopened.added(0, 5).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Missing);
    assert!(missing.to_string().contains("trimmed"), "{missing}");
    let missing = reopened.provider_at(5).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Missing, "{missing}");
    assert_eq!(reopened.added(30, reopened.version()).await.unwrap().len() as i64, reopened.version() - 30);

    // A handle whose next version was cleaned away must not "create" it far behind what readers read.
    assert_eq!(left_behind.version(), 0);
    let refused = left_behind.append(vec![day_rows(0, 1)], progress(&[("a", 1)])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Fenced);
    left_behind.append(vec![day_rows(200, 1)], progress(&[("new", 1)])).await.unwrap();
    assert_eq!(left_behind.version(), reopened.version() + 1);
    assert_eq!(visible(&lake).await.len(), 37);
}

async fn large_writes_become_several_files(place: Place) {
    let options = Options { file_rows_max: 1000, ..Options::default() };
    let lake = place.lake_with(options).await;
    let mut table = lake.table(&spec()).await.unwrap();
    let batches: Vec<RecordBatch> = (0..5).map(|n| day_rows(n * 700, 700)).collect();
    let made = table.append(batches, Commit::default()).await.unwrap();
    assert_eq!((made.files, made.rows, made.version), (4, 3500, 1));
    assert_eq!(all_added(&table).await, (0..3500).collect::<Vec<_>>());
    let done = table.compact(&Compaction { min_files: 2, ..Compaction::default() }).await.unwrap();
    assert_eq!((done.files_before, done.files_after), (4, 4), "the bound on rows holds for compaction too");
}

async fn clustering_sorts_rows_and_changes_none(place: Place) {
    let lake = place.lake().await;
    let mut writer = lake.table(&spec()).await.unwrap();
    // Numbers that fall, so that no file is in order by chance.
    for n in (0..6).rev() {
        writer.append(vec![rows(n * 4, &[MONDAY, MONDAY + 1, MONDAY, MONDAY + 1])], progress(&[("a", 6 - n)])).await.unwrap();
    }
    let mut janitor = lake.table(&spec()).await.unwrap();
    let due = janitor.not_clustered(&["n"]).await.unwrap();
    assert_eq!(due.iter().map(|values| values["day"].as_deref().unwrap()).collect::<Vec<_>>(), ["2026-11-23", "2026-11-24"]);
    for partition in &due {
        let done = janitor.cluster(&lake.bare_session().unwrap(), partition, &["n"], 1 << 20).await.unwrap();
        assert_eq!((done.files_before, done.files_after, done.given_up), (6, 1, false));
    }
    let session = lake.session().await.unwrap();
    let monday = numbers(&query(&session, "select n from bronze.events where day = '2026-11-23'").await);
    assert_eq!(monday, (0..12).map(|n| n * 2).collect::<Vec<_>>(), "rows stand in the order that was asked for");
    assert_eq!(visible(&lake).await, (0..24).collect::<Vec<_>>());
    assert!(janitor.not_clustered(&["n"]).await.unwrap().is_empty(), "there is nothing left to do");
    assert_eq!(janitor.not_clustered(&["id"]).await.unwrap().len(), 2, "another order is another matter");
    // Nobody who reads by version sees a row again; new rows make their day due.
    assert!(janitor.added(6, janitor.version()).await.unwrap().is_empty());
    writer.append(vec![day_rows(24, 1)], progress(&[("a", 7)])).await.unwrap();
    assert_eq!(janitor.not_clustered(&["n"]).await.unwrap(), due[..1]);
}

/// Deletes rows as another engine does: with the Delta library alone.
async fn delete(lake: &lake::Lake, condition: &str) {
    let location = lake.location().join("bronze/events/").unwrap();
    let table = deltalake::open_table(location).await.unwrap();
    table.delete().with_predicate(condition).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_did_is_taken_back_and_what_stages_did_stays() {
    let place = Place::folder();
    let lake = place.lake().await;
    let mut table = lake.table(&spec()).await.unwrap();
    table.append(vec![day_rows(0, 10)], progress(&[("a", 1)])).await.unwrap();
    let sound = table.version();
    delete(&lake, "n < 3").await;
    table.refresh().await.unwrap();
    table.append(vec![day_rows(10, 5)], progress(&[("a", 2)])).await.unwrap();
    delete(&lake, "n = 12").await;
    assert_eq!(visible(&lake).await.len(), 11);

    let history = table.history(10).await.unwrap();
    let by: Vec<Option<&str>> = history.iter().map(|version| version.by.as_deref().map(|by| by.split(':').next().unwrap())).collect();
    assert_eq!((history[0].what.as_str(), by.iter().filter(|by| by.is_some()).count()), ("DELETE", 2), "{history:?}");
    let told = table.restoration(sound).await.unwrap();
    assert_eq!((told.versions.len(), told.rows_back, told.rows_out), (2, 15, 11));
    let (done, made) = table.restore(sound, Commit::default()).await.unwrap();
    assert_eq!((done, made.is_some()), (told, true));
    assert_eq!(visible(&lake).await, (0..15).collect::<Vec<_>>());
    assert_eq!(table.progress("a").await.unwrap(), Some(2), "progress stays, for its rows do");
    // Once more from the same version: nothing is left to do, until others do something again.
    assert!(table.restore(sound, Commit::default()).await.unwrap().1.is_none());
    delete(&lake, "n = 7").await;
    assert!(table.restore(sound, Commit::default()).await.unwrap().1.is_some());
    assert_eq!(visible(&lake).await, (0..15).collect::<Vec<_>>());
    // Not beyond what is kept, and not past what was built on it.
    assert_eq!(table.restore(99, Commit::default()).await.unwrap_err().kind(), ErrorKind::Missing);
    let before = table.version();
    delete(&lake, "n = 1").await;
    table.refresh().await.unwrap();
    table.append(vec![day_rows(15, 1)], progress(&[("a", 3)])).await.unwrap();
    table.compact(&Compaction { min_files: 2, ..Compaction::default() }).await.unwrap();
    assert_eq!(table.restore(before, Commit::default()).await.unwrap_err().kind(), ErrorKind::Conflict);
    delete(&lake, "n = 2").await;
    table.purge().await.unwrap();
    let error = table.restore(table.version() - 3, Commit::default()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Missing | ErrorKind::Conflict), "{error}");
    assert_eq!(visible(&lake).await.len(), 14, "what cannot be taken back is left as it is");
}
