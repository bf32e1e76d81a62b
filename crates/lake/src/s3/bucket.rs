//! A bucket as an object store for the lake: large files go up in parts, and that an object is created only where there is none is proven, not believed.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use deltalake::logstore::object_store::path::Path;
use deltalake::logstore::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3;
use tokio::sync::OnceCell;

/// Written once into a lake, and then again and again in vain.
const WITNESS: &str = "_created_once";
const WITNESS_TEXT: &str =
    "This object shows that the store creates an object only where there is none of its name. Tidegate's commits count on that.\n";

/// A bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    inner: AmazonS3,
    /// The folder of the lake.
    lake: Path,
    multipart_from_bytes: usize,
    part_bytes: usize,
    part_uploads_max: usize,
    proven: OnceCell<()>,
}

impl Bucket {
    pub(super) fn new(inner: AmazonS3, lake: Path, options: &super::S3Options) -> Self {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let (multipart_from_bytes, part_bytes) = (size(options.multipart_from_bytes), size(options.part_bytes));
        Self { inner, lake, multipart_from_bytes, part_bytes, part_uploads_max: options.part_uploads_max, proven: OnceCell::new() }
    }

    /// Makes sure, once, that the store creates an object only where there is none: commits are nothing else. A store that takes `If-None-Match` for a
    /// header it need not know would let two writers overwrite each other, and nobody would see it.
    pub(super) async fn prove(&self) -> Result<()> {
        self.proven.get_or_try_init(|| self.create_twice()).await.map(|_| ())
    }

    async fn create_twice(&self) -> Result<()> {
        let witness = self.lake.clone().join(WITNESS);
        for _ in 0..2 {
            match self.inner.put_opts(&witness, WITNESS_TEXT.into(), PutMode::Create.into()).await {
                Err(Error::AlreadyExists { .. }) => return Ok(()),
                created => drop(created?),
            }
        }
        Err(Error::NotSupported { source: "it creates an object that is there (it ignores If-None-Match)".into() })
    }

    /// Sends a file in parts. Nobody sees it before all are there; what was sent of one that failed is taken away, where the store still answers.
    async fn put_parts(&self, location: &Path, payload: PutPayload, options: PutMultipartOptions) -> Result<PutResult> {
        let mut bytes = whole(payload);
        let mut upload = self.inner.put_multipart_opts(location, options).await?;
        let mut parts = Vec::with_capacity(bytes.len().div_ceil(self.part_bytes));
        while !bytes.is_empty() {
            let part = bytes.split_to(self.part_bytes.min(bytes.len()));
            parts.push(upload.put_part(part.into()));
        }
        let sent = futures::stream::iter(parts).buffer_unordered(self.part_uploads_max).try_collect::<()>().await;
        let done = match sent {
            Ok(()) => upload.complete().await,
            Err(error) => Err(error),
        };
        if done.is_err()
            && let Err(error) = upload.abort().await
        {
            tracing::warn!(%location, %error, "the parts of a file that was given up stay until the bucket's lifecycle rule takes them");
        }
        done
    }
}

/// One piece, without a copy where it is one already.
fn whole(payload: PutPayload) -> Bytes {
    Bytes::from(payload)
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if options.mode == PutMode::Overwrite && payload.content_length() >= self.multipart_from_bytes {
            let PutOptions { tags, attributes, extensions, .. } = options;
            return self.put_parts(location, payload, PutMultipartOptions { tags, attributes, extensions }).await;
        }
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
