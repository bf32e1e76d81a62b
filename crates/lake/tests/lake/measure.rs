//! What a commit costs. Run with `cargo test --release -p lake -- --ignored --nocapture measure`; `LAKE_MEASURE_DIR` chooses the disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deltalake::logstore::object_store::local::LocalFileSystem;
use lake::{Compaction, Lake, Options};

use crate::common::*;

fn folder() -> tempfile::TempDir {
    let parent = std::env::var("LAKE_MEASURE_DIR").unwrap_or_else(|_| ".".to_owned());
    tempfile::tempdir_in(parent).unwrap()
}

fn report(what: &str, times: &mut [Duration]) -> String {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0;
    let mean = times.iter().sum::<Duration>().as_secs_f64() * 1000.0 / times.len() as f64;
    format!("{what}: mean {mean:.2} ms, p50 {:.2}, p90 {:.2}, p99 {:.2}, max {:.2}", at(0.5), at(0.9), at(0.99), at(1.0))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measure_a_thousand_small_commits() {
    let folder = folder();
    let synced = Lake::open(folder.path().to_str().unwrap(), Options::default()).await.unwrap();
    let plain = Lake::with_store(synced.location().join("plain").unwrap(), Arc::new(LocalFileSystem::new()), Options::default()).unwrap();
    for (name, lake, compacted) in [("synced", synced.clone(), false), ("synced, compacted", synced, true), ("not synced", plain, false)] {
        let spec = lake::TableSpec { name: if compacted { "bronze.compacted" } else { "bronze.events" }.to_owned(), ..spec() };
        let mut table = lake.table(&spec).await.unwrap();
        let mut janitor = lake.table(&spec).await.unwrap();
        let batch = day_rows(0, 1000);
        let mut times = Vec::new();
        for n in 0..1000 {
            let started = Instant::now();
            table.append(vec![batch.clone()], progress(&[("a", n + 1)])).await.unwrap();
            times.push(started.elapsed());
            if compacted && n % 60 == 59 {
                janitor.compact(&Compaction::default()).await.unwrap();
            }
        }
        println!("{}", report(&format!("{name}: commits 1 to 100"), &mut times[..100].to_vec()));
        println!("{}", report(&format!("{name}: commits 901 to 1000"), &mut times[900..].to_vec()));
        let started = Instant::now();
        let session = lake.session().await.unwrap();
        println!("{name}: session {:.1} ms", started.elapsed().as_secs_f64() * 1000.0);
        let started = Instant::now();
        let rows = count(&session, &format!("select count(*) from {} where n >= 500", spec.name)).await;
        println!("{name}: scan of {rows} rows {:.1} ms", started.elapsed().as_secs_f64() * 1000.0);
        let started = Instant::now();
        let mut reopened = lake.table(&spec).await.unwrap();
        reopened.progress("a").await.unwrap();
        println!("{name}: open and progress {:.1} ms", started.elapsed().as_secs_f64() * 1000.0);
        let started = Instant::now();
        reopened.checkpoint().await.unwrap();
        println!("{name}: checkpoint {:.1} ms", started.elapsed().as_secs_f64() * 1000.0);
    }
}
