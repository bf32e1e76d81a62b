//! Where a test keeps its lake.

use std::path::PathBuf;
use std::sync::Arc;

use deltalake::logstore::ObjectStoreRef;
use deltalake::logstore::object_store::ObjectStoreExt as _;
use deltalake::logstore::object_store::memory::InMemory;
use lake::{Environment, Lake, Options, S3Options};
use object_store::aws::AmazonS3Builder;
use servers::S3;
use url::Url;

pub(crate) const BUCKET: &str = "lake";
pub(crate) const PREFIX: &str = "in/a folder";

/// A folder, or a bucket of a server of its own; gone with the value.
pub(crate) struct Place {
    server: Option<S3>,
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn folder() -> Self {
        Self { server: None, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn bucket() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = S3::start(folder.path()).unwrap();
        server.bucket(BUCKET).unwrap();
        Self { server: Some(server), folder }
    }

    pub(crate) fn server(&mut self) -> &mut S3 {
        self.server.as_mut().unwrap()
    }

    pub(crate) fn url(&self) -> &str {
        self.server.as_ref().unwrap().url()
    }

    pub(crate) fn location(&self) -> String {
        match &self.server {
            Some(_) => format!("s3://{BUCKET}/{PREFIX}"),
            None => self.folder.path().to_str().unwrap().to_owned(),
        }
    }

    /// The keys for the server, and where it is.
    pub(crate) fn environment(&self) -> Environment {
        self.variables().into_iter().collect()
    }

    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        self.server.iter().flat_map(S3::environment).collect()
    }

    pub(crate) fn variable(&self, name: &str) -> String {
        self.variables().into_iter().find(|(given, _)| given == name).unwrap().1
    }

    pub(crate) async fn lake(&self) -> Lake {
        self.lake_with(Options::default()).await
    }

    pub(crate) async fn lake_with(&self, options: Options) -> Lake {
        Lake::open_in(&self.location(), options, &self.environment()).await.unwrap()
    }

    /// The lake, by way of a proxy before the server, with little patience.
    pub(crate) async fn lake_by(&self, proxy: &servers::Proxy) -> Lake {
        let millis = std::time::Duration::from_millis;
        let s3 = S3Options {
            endpoint: Some(format!("http://{}", proxy.address())),
            retries_max: 2,
            request_timeout: millis(2_000),
            ..S3Options::default()
        };
        self.lake_with(Options { s3, commit_error_pause: millis(20), ..Options::default() }).await
    }

    /// Where the files of the lake lie: the server keeps objects as plain files.
    pub(crate) fn files(&self) -> PathBuf {
        match &self.server {
            Some(_) => self.folder.path().join("buckets").join(BUCKET).join(PREFIX),
            None => self.folder.path().to_owned(),
        }
    }

    /// The entity tag of an object.
    pub(crate) async fn tag(&self, object: &str) -> String {
        let (_, store) = self.store();
        store.head(&object.into()).await.unwrap().e_tag.unwrap()
    }

    /// A store of its own to put faults before, and the URL of a lake in it: in memory where there is no server.
    pub(crate) fn store(&self) -> (Url, ObjectStoreRef) {
        let Some(server) = &self.server else {
            return (Url::parse("memory:///lake").unwrap(), Arc::new(InMemory::new()));
        };
        let store = AmazonS3Builder::new()
            .with_endpoint(server.url())
            .with_access_key_id(self.variable("AWS_ACCESS_KEY_ID"))
            .with_secret_access_key(self.variable("AWS_SECRET_ACCESS_KEY"))
            .with_bucket_name(BUCKET)
            .with_allow_http(true);
        let store = store.build().unwrap();
        (Url::parse(&format!("s3://{BUCKET}/lake")).unwrap(), Arc::new(store))
    }
}
