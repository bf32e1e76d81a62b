//! Random histories of writers, faults and maintenance. Whatever happens, the rows in the table are exactly those its progress tells of.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lake::{Compaction, ErrorKind, Table};
use proptest::prelude::*;

use crate::common::*;
use crate::faults::Rig;

const WRITERS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    /// A writer, which believes the rows from its position on to be its own, appends some. After an error whose outcome is unknown it either
    /// calls again or asks for the progress.
    Append {
        writer: usize,
        rows: usize,
        insists: bool,
    },
    /// The next commits are taken and answered with an error.
    Lie(usize),
    /// The next commits fail.
    Refuse(usize),
    /// The next looks into the log fail.
    Blind(usize),
    /// The next data file cannot be written.
    LoseUpload,
    /// A writer reads on, without asking for its progress.
    Refresh(usize),
    /// A writer's process ends, and begins again.
    Restart(usize),
    Compact,
    Trim,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..WRITERS, 1..5usize, any::<bool>()).prop_map(|(writer, rows, insists)| Step::Append { writer, rows, insists }),
        2 => (1..3usize).prop_map(Step::Lie),
        2 => (1..6usize).prop_map(Step::Refuse),
        2 => (1..6usize).prop_map(Step::Blind),
        1 => Just(Step::LoseUpload),
        2 => (0..WRITERS).prop_map(Step::Refresh),
        1 => (0..WRITERS).prop_map(Step::Restart),
        1 => Just(Step::Compact),
        1 => Just(Step::Trim),
    ]
}

struct Writer {
    table: Table,
    at: i64,
}

impl Writer {
    async fn start(rig: &Rig) -> Self {
        let mut table = rig.table().await;
        let at = table.progress("a").await.unwrap().unwrap_or(0);
        Self { table, at }
    }

    async fn append(&mut self, rows: usize, insists: bool) {
        let next = self.at + rows as i64;
        for _ in 0..3 {
            match self.table.append(vec![day_rows(self.at, rows)], progress(&[("a", next)])).await {
                Ok(_) => {
                    self.at = next;
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Retry && insists => {}
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::Retry | ErrorKind::Fenced | ErrorKind::Conflict), "{error}");
                    break;
                }
            }
        }
        self.ask().await;
    }

    /// Asks where to go on; while the store fails it stays where it is, and its next append has to be refused or be right.
    async fn ask(&mut self) {
        if self.table.refresh().await.is_ok()
            && let Ok(at) = self.table.progress("a").await
        {
            self.at = at.unwrap_or(0);
        }
    }
}

async fn run(place: Place, steps: Vec<Step>) {
    let rig = Rig::new(place);
    let calm = |counter: &AtomicUsize| counter.store(0, Ordering::SeqCst);
    let calm_all = || [&rig.faults.lies, &rig.faults.refusals, &rig.faults.reads, &rig.faults.uploads].into_iter().for_each(calm);
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        writers.push(Writer::start(&rig).await);
    }
    for step in steps {
        match step {
            Step::Append { writer, rows, insists } => writers[writer].append(rows, insists).await,
            Step::Lie(times) => rig.faults.lies.store(times, Ordering::SeqCst),
            Step::Refuse(times) => rig.faults.refusals.store(times, Ordering::SeqCst),
            Step::Blind(times) => rig.faults.reads.store(times, Ordering::SeqCst),
            Step::LoseUpload => rig.faults.uploads.store(1, Ordering::SeqCst),
            Step::Refresh(writer) => drop(writers[writer].table.refresh().await),
            Step::Restart(writer) => {
                calm_all();
                writers[writer] = Writer::start(&rig).await;
            }
            Step::Compact => {
                let policy = Compaction { min_files: 2, ..Compaction::default() };
                drop(rig.table_if_calm().await.unwrap().compact(&policy).await);
            }
            Step::Trim => {
                let table = rig.table_if_calm().await.unwrap();
                if table.checkpoint().await.is_ok() {
                    table.trim_log(Duration::ZERO, None).await.unwrap();
                }
            }
        }
    }
    calm_all();
    let told = rig.table().await.progress("a").await.unwrap().unwrap_or(0);
    assert_eq!(visible(&rig.lake).await, (0..told).collect::<Vec<_>>());
}

impl Rig {
    /// Opens the table with the faults set aside: they are meant for the writers.
    async fn table_if_calm(&self) -> Option<Table> {
        let counters = [&self.faults.refusals, &self.faults.reads];
        let kept = counters.map(|counter| counter.swap(0, Ordering::SeqCst));
        let table = self.lake.reader("bronze.events").await.unwrap();
        counters.into_iter().zip(kept).for_each(|(counter, kept)| counter.store(kept, Ordering::SeqCst));
        table
    }
}

fn check(place: Place, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(place, steps));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn rows_and_progress_are_one(steps in prop::collection::vec(step(), 1..40)) {
        check(Place::folder(), steps);
    }
}

proptest! {
    // A server is started for each.
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn rows_and_progress_are_one_on_s3(steps in prop::collection::vec(step(), 1..40)) {
        check(Place::bucket(), steps);
    }
}
