//! Objects that other programs put into a bucket, to be read: found as the lake finds its own, with the same keys.

use deltalake::logstore::ObjectStoreRef;
use deltalake::logstore::object_store::path::Path;
use deltalake::logstore::object_store::{Error as StoreError, ObjectStoreExt as _};
use futures::TryStreamExt as _;
use tokio::io::AsyncWriteExt as _;

use crate::environment::Environment;
use crate::error::Error;
use crate::s3::{self, S3Options};

/// What lies at `s3://bucket/prefix`.
#[derive(Debug, Clone)]
pub struct Objects {
    store: ObjectStoreRef,
    bucket: String,
    prefix: Path,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// `s3://bucket/key`.
    pub url: String,
    /// How large it is.
    pub bytes: u64,
    key: Path,
}

impl Objects {
    /// Opens what lies there, with the AWS variables of this process. Nothing is written.
    ///
    /// # Errors
    /// As [`crate::Lake::open`]; `Fatal` also where the location is none on S3.
    pub async fn open(location: &str, options: &S3Options) -> Result<Self, Error> {
        if !s3::is_here(location)? {
            return Err(Error::Setting(format!("`{location}` is no place on S3: give s3://bucket/prefix or s3://bucket/key")));
        }
        let opened = s3::open(location, options, &Environment::of_process()).await?;
        let prefix = Path::from_url_path(opened.root.path()).map_err(|error| Error::Setting(format!("{location}: {error}")))?;
        Ok(Self { store: opened.store(), bucket: opened.root.host_str().unwrap_or_default().to_owned(), prefix })
    }

    /// The object of exactly this key, or else all below it, in the order of their keys.
    ///
    /// # Errors
    /// `Retry` when the store fails.
    pub async fn list(&self) -> Result<Vec<Object>, Error> {
        let failed = |error| Error::object("list the objects", error);
        match self.store.head(&self.prefix).await {
            Ok(found) => return Ok(vec![self.object(found.location, found.size)]),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(failed(error)),
        }
        let listed = self.store.list(Some(&self.prefix)).map_ok(|found| self.object(found.location, found.size));
        let mut objects: Vec<Object> = listed.try_collect().await.map_err(failed)?;
        objects.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(objects)
    }

    fn object(&self, key: Path, bytes: u64) -> Object {
        Object { url: format!("s3://{}/{key}", self.bucket), bytes, key }
    }

    /// Copies an object into a local file.
    ///
    /// # Errors
    /// `Retry` when the store or the disk fails.
    pub async fn download(&self, object: &Object, file: std::fs::File) -> Result<(), Error> {
        let failed = |error| Error::object("read an object", error);
        let written = |error: std::io::Error| Error::store("write what was read of an object", error);
        let mut parts = self.store.get(&object.key).await.map_err(failed)?.into_stream();
        let mut file = tokio::fs::File::from_std(file);
        while let Some(part) = parts.try_next().await.map_err(failed)? {
            file.write_all(&part).await.map_err(written)?;
        }
        file.flush().await.map_err(written)
    }
}
