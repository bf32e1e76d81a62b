//! Stores that fail or lie, and crashes.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use deltalake::Path;
use deltalake::logstore::ObjectStoreRef;
use deltalake::logstore::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use futures::TryStreamExt as _;
use futures::stream::BoxStream;
use lake::{Commit, ErrorKind, Lake, Options, Table};

use crate::common::*;

on_every_store! {
    a_commit_whose_answer_was_lost_is_made_once,
    a_store_that_fails_for_a_while_is_sat_out,
    a_commit_refused_for_what_is_not_there_is_made_again,
    an_unsettled_commit_that_was_taken_is_settled_by_calling_again,
    an_unsettled_commit_that_was_not_taken_is_settled_by_calling_again,
    after_an_unsettled_commit_the_progress_says_where_to_go_on,
    a_call_dropped_while_it_waits_is_settled_by_the_next,
    a_failed_upload_leaves_no_version_and_no_file,
    files_of_a_crashed_commit_are_no_rows,
    a_damaged_log_is_named,
    a_log_whose_newest_file_is_gone_is_that_of_an_older_table,
    a_data_file_that_is_gone_is_missing,
}

/// What the next commits meet.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Commits that are taken, and answered with an error.
    pub(crate) lies: AtomicUsize,
    /// Commits that are not taken, and answered with an error.
    pub(crate) refusals: AtomicUsize,
    /// Commits that are not taken, because something is said to be there which is not.
    pub(crate) denials: AtomicUsize,
    /// Commits that never get an answer, and are taken.
    pub(crate) silences: AtomicUsize,
    /// Data files whose upload fails.
    pub(crate) uploads: AtomicUsize,
    /// Requests for versions of the log that fail.
    pub(crate) reads: AtomicUsize,
}

fn due(counter: &AtomicUsize) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn failure() -> Error {
    Error::Generic { store: "faulty", source: "connection reset".into() }
}

fn is_commit(path: &Path) -> bool {
    path.as_ref().contains("_delta_log/") && path.as_ref().ends_with(".json")
}

#[derive(Debug)]
struct Faulty(ObjectStoreRef, Arc<Faults>);

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if is_commit(location) {
            if due(&self.1.refusals) {
                return Err(failure());
            }
            if due(&self.1.denials) {
                return Err(Error::AlreadyExists { path: location.to_string(), source: "409 Conflict".into() });
            }
            let result = self.0.put_opts(location, payload, options).await?;
            if due(&self.1.lies) {
                return Err(failure());
            }
            if due(&self.1.silences) {
                std::future::pending::<()>().await;
            }
            return Ok(result);
        }
        if location.as_ref().contains("part-") && due(&self.1.uploads) {
            return Err(failure());
        }
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if is_commit(location) && !options.head && due(&self.1.reads) {
            return Err(failure());
        }
        self.0.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

pub(crate) struct Rig {
    pub(crate) lake: Lake,
    store: Arc<Faulty>,
    pub(crate) faults: Arc<Faults>,
    _place: Place,
}

impl Rig {
    pub(crate) fn new(place: Place) -> Self {
        let faults = Arc::new(Faults::default());
        let (root, store) = place.store();
        let store = Arc::new(Faulty(store, Arc::clone(&faults)));
        let options = Options { commit_error_pause: std::time::Duration::from_millis(1), ..Options::default() };
        let lake = Lake::with_store(root, Arc::clone(&store) as _, options).unwrap();
        Self { lake, store, faults, _place: place }
    }

    pub(crate) async fn table(&self) -> Table {
        self.lake.table(&spec()).await.unwrap()
    }

    async fn data_files(&self) -> usize {
        let all: Vec<ObjectMeta> = self.store.list(None).try_collect().await.unwrap();
        all.iter().filter(|file| file.location.as_ref().contains("part-")).count()
    }
}

async fn a_commit_whose_answer_was_lost_is_made_once(place: Place) {
    let rig = Rig::new(place);
    let mut table = rig.table().await;
    for (round, commit) in [progress(&[("a", 3)]), Commit::default()].into_iter().enumerate() {
        rig.faults.lies.store(1, Ordering::SeqCst);
        let made = table.append(vec![day_rows(round as i64 * 3, 3)], commit).await.unwrap();
        assert_eq!(made.version, round as i64 + 1);
    }
    assert_eq!(visible(&rig.lake).await, (0..6).collect::<Vec<_>>());
    assert_eq!((table.version(), rig.data_files().await), (2, 2));
}

async fn a_store_that_fails_for_a_while_is_sat_out(place: Place) {
    let rig = Rig::new(place);
    let mut table = rig.table().await;
    rig.faults.refusals.store(3, Ordering::SeqCst);
    assert_eq!(table.append(vec![day_rows(0, 3)], progress(&[("a", 3)])).await.unwrap().version, 1);
    assert_eq!(visible(&rig.lake).await, [0, 1, 2]);
}

/// S3 answers 409 to a commit that meets another one which it is still busy with.
async fn a_commit_refused_for_what_is_not_there_is_made_again(place: Place) {
    let rig = Rig::new(place);
    let mut table = rig.table().await;
    rig.faults.denials.store(3, Ordering::SeqCst);
    assert_eq!(table.append(vec![day_rows(0, 3)], progress(&[("a", 3)])).await.unwrap().version, 1);
    assert_eq!((rig.faults.denials.load(Ordering::SeqCst), visible(&rig.lake).await), (0, vec![0, 1, 2]));
}

/// The commit is taken, and no answer and no look into the log tells so until the writer has given up.
async fn an_unsettled_commit_that_was_taken_is_settled_by_calling_again(place: Place) {
    let rig = Rig::new(place);
    settle_by_calling_again(&rig, || {
        rig.faults.lies.store(1, Ordering::SeqCst);
        rig.faults.reads.store(4, Ordering::SeqCst);
    })
    .await;
}

async fn an_unsettled_commit_that_was_not_taken_is_settled_by_calling_again(place: Place) {
    let rig = Rig::new(place);
    settle_by_calling_again(&rig, || rig.faults.refusals.store(5, Ordering::SeqCst)).await;
}

async fn settle_by_calling_again(rig: &Rig, spoil: impl Fn()) {
    let mut table = rig.table().await;
    assert_eq!(table.progress("a").await.unwrap(), None);
    spoil();
    let call = || (vec![day_rows(0, 3)], progress(&[("a", 3)]));
    let (batches, commit) = call();
    let error = table.append(batches, commit).await.unwrap_err();
    assert!(matches!(error, lake::Error::Unsettled { .. }) && error.kind() == ErrorKind::Retry, "{error}");
    let (batches, commit) = call();
    let made = table.append(batches, commit).await.unwrap();
    assert_eq!((made.version, made.rows), (1, 3));
    assert_eq!(visible(&rig.lake).await, [0, 1, 2]);
    table.append(vec![day_rows(3, 1)], progress(&[("a", 4)])).await.unwrap();
    assert_eq!(visible(&rig.lake).await, [0, 1, 2, 3]);
}

async fn after_an_unsettled_commit_the_progress_says_where_to_go_on(place: Place) {
    let rig = Rig::new(place);
    let mut table = rig.table().await;
    assert_eq!(table.progress("a").await.unwrap(), None);
    rig.faults.lies.store(1, Ordering::SeqCst);
    rig.faults.reads.store(4, Ordering::SeqCst);
    table.append(vec![day_rows(0, 3)], progress(&[("a", 3)])).await.unwrap_err();
    // Whoever decides anew without asking is fenced: these rows overlap with those that were taken.
    let refused = table.append(vec![day_rows(0, 5)], progress(&[("a", 5)])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Fenced);
    table.refresh().await.unwrap();
    assert_eq!(table.progress("a").await.unwrap(), Some(3));
    table.append(vec![day_rows(3, 2)], progress(&[("a", 5)])).await.unwrap();
    assert_eq!(visible(&rig.lake).await, (0..5).collect::<Vec<_>>());
}

async fn a_call_dropped_while_it_waits_is_settled_by_the_next(place: Place) {
    let rig = Rig::new(place);
    let mut table = rig.table().await;
    rig.faults.silences.store(1, Ordering::SeqCst);
    let call = table.append(vec![day_rows(0, 3)], progress(&[("a", 3)]));
    assert!(tokio::time::timeout(std::time::Duration::from_millis(300), call).await.is_err());
    let made = table.append(vec![day_rows(0, 3)], progress(&[("a", 3)])).await.unwrap();
    assert_eq!((made.version, made.rows), (1, 3));
    assert_eq!(visible(&rig.lake).await, [0, 1, 2]);
}

async fn a_failed_upload_leaves_no_version_and_no_file(place: Place) {
    let rig = Rig::new(place);
    let mut table = rig.table().await;
    rig.faults.uploads.store(1, Ordering::SeqCst);
    let error = table.append(vec![rows(0, &[MONDAY, MONDAY + 1, MONDAY + 2])], progress(&[("a", 3)])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert_eq!((rig.data_files().await, table.refresh().await.unwrap()), (0, 0));
    table.append(vec![rows(0, &[MONDAY, MONDAY + 1, MONDAY + 2])], progress(&[("a", 3)])).await.unwrap();
    assert_eq!(visible(&rig.lake).await, [0, 1, 2]);
}

/// A crash after the data files and before the commit: a new process begins from the progress there is.
async fn files_of_a_crashed_commit_are_no_rows(place: Place) {
    let rig = Rig::new(place);
    let mut table = rig.table().await;
    table.append(vec![day_rows(0, 2)], progress(&[("a", 2)])).await.unwrap();
    rig.faults.refusals.store(usize::MAX, Ordering::SeqCst);
    let call = table.append(vec![day_rows(2, 2)], progress(&[("a", 4)]));
    assert!(tokio::time::timeout(std::time::Duration::from_millis(5), call).await.is_err() || rig.data_files().await == 2);
    rig.faults.refusals.store(0, Ordering::SeqCst);
    drop(table);

    let mut table = rig.table().await;
    assert_eq!(table.progress("a").await.unwrap(), Some(2));
    assert_eq!(visible(&rig.lake).await, [0, 1]);
    table.append(vec![day_rows(2, 2)], progress(&[("a", 4)])).await.unwrap();
    assert_eq!(visible(&rig.lake).await, [0, 1, 2, 3]);
}

async fn a_damaged_log_is_named(place: Place) {
    let rig = Rig::new(place);
    let mut table = rig.table().await;
    table.append(vec![day_rows(0, 2)], Commit::default()).await.unwrap();
    let path = Path::from("lake/bronze/events/_delta_log/00000000000000000001.json");
    rig.store.put(&path, "{\"add\":{\"pa".into()).await.unwrap();
    let error = table.added(0, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fatal);
    assert!(error.to_string().contains("version 1 of bronze.events"), "{error}");
}

async fn a_log_whose_newest_file_is_gone_is_that_of_an_older_table(place: Place) {
    let rig = Rig::new(place);
    let mut table = rig.table().await;
    table.append(vec![day_rows(0, 2)], progress(&[("a", 1)])).await.unwrap();
    table.append(vec![day_rows(2, 2)], progress(&[("a", 2)])).await.unwrap();
    let path = Path::from("lake/bronze/events/_delta_log/00000000000000000002.json");
    rig.store.delete(&path).await.unwrap();
    // Nothing in it tells: whoever has read more has to.
    let mut reopened = rig.table().await;
    assert_eq!((reopened.version(), reopened.progress("a").await.unwrap()), (1, Some(1)));
    assert_eq!(visible(&rig.lake).await, [0, 1]);
    // A handle that had read it does not go on from an older one unnoticed.
    let refused = table.append(vec![day_rows(4, 2)], progress(&[("a", 3)])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Fenced, "{refused}");
    assert_eq!(visible(&rig.lake).await, [0, 1]);
}

async fn a_data_file_that_is_gone_is_missing(place: Place) {
    let rig = Rig::new(place);
    let mut table = rig.table().await;
    table.append(vec![day_rows(0, 2)], Commit::default()).await.unwrap();
    let files = table.added(0, 1).await.unwrap();
    let path = Path::from(format!("lake/bronze/events/{}", files[0].path));
    rig.store.put(&path, "PAR1 not really PAR1".into()).await.unwrap();
    assert_eq!(table.read(&files, None).await.unwrap_err().kind(), ErrorKind::Fatal);
    rig.store.delete(&path).await.unwrap();
    assert_eq!(table.read(&files, None).await.unwrap_err().kind(), ErrorKind::Missing);
}
