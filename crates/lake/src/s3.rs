//! A lake in a bucket of S3, or of a store that speaks it.
//!
//! A commit creates its file of the log only where there is none (`If-None-Match`): no lock, no other service. Requests are tried again by the store below
//! this file; what an answer that was lost means for a commit is settled above it, by the commit's id.

use std::sync::Arc;

use deltalake::logstore::ObjectStoreRef;
use deltalake::logstore::object_store::Error as StoreError;
use deltalake::logstore::object_store::path::Path;
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use url::Url;

use crate::environment::Environment;
use crate::error::Error;

mod bucket;
mod credentials;
mod options;
mod target;
#[cfg(test)]
mod tests;

use bucket::Bucket;
pub use options::S3Options;
use target::Target;

/// What the lake does in a bucket, as policies name it.
const PERMISSIONS: &str = "s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload";

/// A bucket that answered.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    pub(crate) root: Url,
    bucket: Arc<Bucket>,
    place: Arc<str>,
    /// How Hadoop is told to come here.
    pub(crate) hadoop: Arc<[(String, String)]>,
}

/// Whether a location is one on S3. Names that other tools have for it are refused with ours.
///
/// # Errors
/// `Fatal` for a name of another tool.
pub(crate) fn is_here(location: &str) -> Result<bool, Error> {
    match location.split_once("://") {
        Some(("s3", _)) => Ok(true),
        Some((scheme @ ("s3a" | "s3n" | "S3"), _)) => {
            Err(Error::Setting(format!("lake.location begins with {scheme}://, which is another tool's name for it: use s3://")))
        }
        _ => Ok(false),
    }
}

/// Finds the bucket and the keys, and asks the bucket whether it is there.
///
/// # Errors
/// `Fatal` when a setting is wrong, keys are missing or refused, or there is no such bucket; `Retry` when the store does not answer.
pub(crate) async fn open(location: &str, options: &S3Options, environment: &Environment) -> Result<Opened, Error> {
    let target = Target::of(location, options, environment, credentials::region_of_profile(options).await)?;
    let keys = credentials::find(options, environment, &target.region).await?;
    let lake = Path::from_url_path(target.root.path()).map_err(|error| Error::Setting(format!("lake.location: {error}")))?;
    let store = build(&target, options).with_credentials(keys).build().map_err(|error| Error::store("use S3", error))?;
    look(&store, &lake, &target).await?;
    let bucket = Arc::new(Bucket::new(store, lake, options));
    Ok(Opened { place: target.place().into(), hadoop: target.hadoop().into(), root: target.root, bucket })
}

impl Opened {
    /// Rooted at the bucket.
    pub(crate) fn store(&self) -> ObjectStoreRef {
        Arc::clone(&self.bucket) as ObjectStoreRef
    }

    /// Makes sure that commits can be made here; asked once, before the first table is written to.
    ///
    /// # Errors
    /// `Fatal` when the store would let writers overwrite each other or these keys may not write; `Retry` when it does not answer.
    pub(crate) async fn prove(&self) -> Result<(), Error> {
        self.bucket.prove().await.map_err(|error| match error {
            StoreError::NotSupported { source } => {
                Error::Setting(format!("{} cannot hold the lake, writers would overwrite each other's commits: {source}", self.place))
            }
            error @ (StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. }) => refused(&self.place, &error),
            error => Error::store("write to the lake", error),
        })
    }
}

fn build(target: &Target, options: &S3Options) -> AmazonS3Builder {
    let client = ClientOptions::new()
        .with_allow_http(target.allow_http)
        .with_timeout(options.request_timeout)
        .with_connect_timeout(options.connect_timeout);
    let retries = usize::try_from(options.retries_max).unwrap_or(usize::MAX);
    let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: retries, retry_timeout: options.retry_timeout };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&target.bucket)
        .with_region(&target.region)
        .with_virtual_hosted_style_request(target.virtual_hosted)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_client_options(client)
        .with_retry(retry);
    if let Some(endpoint) = &target.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    builder
}

/// Lists one object at most: the cheapest question whose answer tells a bucket that is missing from one that is empty.
async fn look(store: &AmazonS3, lake: &Path, target: &Target) -> Result<(), Error> {
    let one = PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() };
    let Err(error) = store.list_paginated(Some(lake.as_ref()), one).await else { return Ok(()) };
    let (bucket, place) = (&target.bucket, target.place());
    let text = error.to_string();
    let elsewhere = ["redirect", "<Code>PermanentRedirect</Code>", "<Code>AuthorizationHeaderMalformed</Code>"];
    // The library keeps the status of a list to itself; it is in the text, with what S3 said.
    Err(if text.contains("<Code>NoSuchBucket</Code>") {
        Error::Setting(format!("the bucket `{bucket}` does not exist at {place}: make it, or mend lake.location"))
    } else if elsewhere.iter().any(|sign| text.contains(*sign)) {
        // What S3 answers in another region than the bucket's differs from region to region.
        let region = &target.region;
        Error::Setting(format!("the bucket `{bucket}` is not in the region {region}: set AWS_REGION or lake.s3.region to its own"))
    } else if text.contains("status code: 40") {
        refused(&place, &error)
    } else {
        Error::store(format!("reach the bucket `{bucket}` at {place}"), error)
    })
}

/// Says what S3 said, of which the library shows a page of XML.
fn refused(place: &str, error: &StoreError) -> Error {
    let text = error.to_string();
    let said = |tag: &str| text.split_once(&format!("<{tag}>"))?.1.split_once("</").map(|(said, _)| said.to_owned());
    let why = [said("Code"), said("Message")].into_iter().flatten().collect::<Vec<_>>().join(": ");
    Error::Setting(format!("{place} refuses these keys ({why}): check them and their policy; the lake needs {PERMISSIONS}"))
}
