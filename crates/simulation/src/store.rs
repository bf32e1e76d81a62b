//! An object store in memory, as each process sees it.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use deltalake::Path;
use deltalake::logstore::object_store::memory::InMemory;
use deltalake::logstore::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use crate::locked;
use crate::plant::{COPY, Plant};
use crate::schedule::{Fate, Kind, Part, Process, Schedule};

/// So many of the newest objects are not in a listing that is stale.
const RECENT: usize = 3;

/// What is stored, of which nothing is ever lost.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    objects: Arc<InMemory>,
    recent: Arc<Mutex<VecDeque<Path>>>,
    plant: Option<Plant>,
}

impl Bucket {
    pub(crate) fn new(plant: Option<Plant>) -> Self {
        Self { objects: Arc::new(InMemory::new()), recent: Arc::default(), plant }
    }

    /// The objects themselves, which never fail.
    pub(crate) fn objects(&self) -> Arc<InMemory> {
        Arc::clone(&self.objects)
    }

    /// As a process sees it.
    pub(crate) fn seen_by(&self, process: &Process, schedule: &Schedule) -> Handle {
        Handle { bucket: self.clone(), process: process.clone(), schedule: schedule.clone() }
    }

    fn note(&self, location: &Path) {
        let mut recent = locked(&self.recent);
        recent.push_back(location.clone());
        while recent.len() > RECENT {
            recent.pop_front();
        }
    }

    fn put(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let (mut payload, mut options) = (payload, options);
        if let Some(plant) = self.plant
            && is_log(location)
        {
            let text = String::from_utf8_lossy(&Bytes::from(payload.clone())).into_owned();
            if let Some(tampered) = plant.tampered(location.as_ref(), &text) {
                self.copy_for(location, &tampered)?;
                payload = PutPayload::from(tampered);
            }
            if plant == Plant::OverwrittenCommit && !location.as_ref().ends_with("00000.json") {
                options.mode = PutMode::Overwrite;
            }
        }
        let put = now(self.objects.put_opts(location, payload, options))?;
        self.note(location);
        Ok(put)
    }

    /// Makes the copies of files that a commit names.
    fn copy_for(&self, location: &Path, text: &str) -> Result<()> {
        let Some((table, _)) = location.as_ref().split_once("_delta_log/") else { return Ok(()) };
        for action in text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
            let Some(path) = action.pointer("/add/path").and_then(serde_json::Value::as_str).filter(|path| path.contains(COPY)) else {
                continue;
            };
            let (from, to) = (format!("{table}{}", path.replacen(COPY, "part-", 1)), format!("{table}{path}"));
            now(self.objects.copy(&Path::parse(from)?, &Path::parse(to)?))?;
        }
        Ok(())
    }

    fn list(&self, prefix: Option<&Path>, fate: Fate) -> Result<Vec<ObjectMeta>> {
        let mut all: Vec<ObjectMeta> = now(self.objects.list(prefix).try_collect())?;
        if fate == Fate::Stale {
            let recent = locked(&self.recent);
            all.retain(|object| !recent.contains(&object.location));
        }
        Ok(all)
    }
}

/// What an operation on memory comes to, which never waits.
fn now<T>(operation: impl Future<Output = Result<T>>) -> Result<T> {
    operation.now_or_never().unwrap_or_else(|| Err(failure()))
}

fn failure() -> Error {
    Error::Generic { store: "simulated", source: "the connection was reset".into() }
}

fn is_log(location: &Path) -> bool {
    location.as_ref().contains("_delta_log/") && location.as_ref().ends_with(".json")
}

/// The store as one process sees it.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    bucket: Bucket,
    process: Process,
    schedule: Schedule,
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulated")
    }
}

impl Handle {
    async fn ask<T: Send + 'static>(
        &self,
        kind: Kind,
        label: &str,
        effect: impl FnOnce(&Bucket, Fate) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let bucket = self.bucket.clone();
        let answer = move |fate| match fate {
            Fate::FailedBefore => Err(failure()),
            Fate::FailedAfter => {
                effect(&bucket, fate)?;
                Err(failure())
            }
            Fate::FailedPartly(_) | Fate::Stale | Fate::Done => effect(&bucket, fate),
        };
        self.schedule.request(&self.process, Part::Store, kind, label, answer).await
    }
}

#[async_trait]
impl ObjectStore for Handle {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let kind = if location.as_ref().contains("_delta_log/") { Kind::Write } else { Kind::PartialWrite };
        let to = location.clone();
        let effect = move |bucket: &Bucket, fate| match fate {
            Fate::FailedPartly(number) => {
                // A file of rows that is torn: nobody knows of it but who failed to write it.
                let bytes = Bytes::from(payload);
                let length = usize::try_from(number).unwrap_or_default() % bytes.len().max(1);
                bucket.put(&to, PutPayload::from(bytes.slice(..length)), options)?;
                Err(failure())
            }
            _ => bucket.put(&to, payload, options),
        };
        self.ask(kind, &format!("put {location}"), effect).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let to = location.clone();
        let effect = move |bucket: &Bucket, _| now(bucket.objects.put_multipart_opts(&to, options));
        self.ask(Kind::Read, &format!("put {location} in parts"), effect).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let of = location.clone();
        let label = format!("{} {location}", if options.head { "head" } else { "get" });
        self.ask(Kind::Read, &label, move |bucket, _| now(bucket.objects.get_opts(&of, options))).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (of, ranges) = (location.clone(), ranges.to_vec());
        let effect = move |bucket: &Bucket, _| now(bucket.objects.get_ranges(&of, &ranges));
        self.ask(Kind::Read, &format!("get parts of {location}"), effect).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let delete = move |location: Result<Path>| {
            let this = this.clone();
            async move {
                let location = location?;
                let of = location.clone();
                let effect = move |bucket: &Bucket, _| now(bucket.objects.delete(&of));
                this.ask(Kind::Write, &format!("delete {location}"), effect).await?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let label = format!("list {}", prefix.clone().unwrap_or_default());
            this.ask(Kind::Listing, &label, move |bucket, fate| bucket.list(prefix.as_ref(), fate)).await
        };
        let flat = |listed: Result<Vec<ObjectMeta>>| match listed {
            Ok(all) => stream::iter(all.into_iter().map(Ok)).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        };
        stream::once(listed).flat_map(flat).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let of = prefix.cloned();
        let label = format!("list {} by folder", prefix.cloned().unwrap_or_default());
        self.ask(Kind::Read, &label, move |bucket, _| now(bucket.objects.list_with_delimiter(of.as_ref()))).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (one, other) = (from.clone(), to.clone());
        let effect = move |bucket: &Bucket, _| now(bucket.objects.copy_opts(&one, &other, options));
        self.ask(Kind::Write, &format!("copy {from} to {to}"), effect).await
    }
}
