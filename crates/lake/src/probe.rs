//! What the store of a lake can do, tried out.

use bytes::Bytes;
use deltalake::logstore::object_store::path::Path;
use deltalake::logstore::object_store::{Error as StoreError, ObjectStoreExt as _, PutMode};
use futures::TryStreamExt as _;
use uuid::Uuid;

use crate::commit::now_millis;
use crate::error::Error;
use crate::lake::Lake;

/// Where objects are tried out, below the lake. No table can have this name.
const FOLDER: &str = "_probe";
const CONTENT: &[u8] = b"Tidegate tried out what this store can do, and could not delete this object.\n";

/// What was found out about a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// How far the store's clock is ahead of this process's, in milliseconds: to a second or so, and with the time that the request took.
    pub clock_ahead_millis: i64,
}

impl Lake {
    /// Tries out all that the lake needs of its store, with an object of its own: to create it, to be refused when it is created again, to list, to read and to delete it.
    ///
    /// # Errors
    /// `Retry` with what could not be done, and what the store said.
    pub async fn probe(&self) -> Result<Probe, Error> {
        let store = self.root_store()?;
        let folder = Path::from(FOLDER);
        let object = folder.clone().join(Uuid::now_v7().to_string());
        let failed = |doing: &str| {
            let doing = format!("{doing} {object} in {}", self.location());
            move |error: StoreError| Error::store(doing, error)
        };
        store.put_opts(&object, CONTENT.into(), PutMode::Create.into()).await.map_err(failed("create"))?;
        let rest = async {
            match store.put_opts(&object, CONTENT.into(), PutMode::Create.into()).await {
                Err(StoreError::AlreadyExists { .. }) => {}
                Ok(_) => {
                    let source = "it creates an object that is there (it ignores If-None-Match): two writers would overwrite each other";
                    return Err(failed("be refused to create again")(StoreError::NotSupported { source: source.into() }));
                }
                Err(error) => return Err(failed("be refused to create again")(error)),
            }
            let listed: Vec<_> = store.list(Some(&folder)).try_collect().await.map_err(failed("list"))?;
            let Some(found) = listed.into_iter().find(|found| found.location == object) else {
                return Err(failed("list")(StoreError::NotFound { path: object.to_string(), source: "it is not in the list".into() }));
            };
            let read: Bytes = store.get(&object).await.map_err(failed("read"))?.bytes().await.map_err(failed("read"))?;
            if read != CONTENT {
                return Err(failed("read")(StoreError::NotSupported { source: "it has another content than was written".into() }));
            }
            Ok(Probe { clock_ahead_millis: found.last_modified.timestamp_millis() - now_millis() })
        };
        let outcome = rest.await;
        store.delete(&object).await.map_err(failed("delete"))?;
        outcome
    }
}
