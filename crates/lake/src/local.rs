//! The local file system as an object store that survives a loss of power.
//!
//! `object_store`'s own local store renames a file into place without ever syncing it: after a loss of power an acknowledged commit may be gone, or be a
//! file of zero bytes that no reader of the table gets past. This store writes beside the target, syncs the bytes, only then gives them their name, and
//! syncs the folder before it answers. All reading is left to the local store.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use deltalake::logstore::object_store::local::LocalFileSystem;
use deltalake::logstore::object_store::path::Path;
use deltalake::logstore::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use uuid::Uuid;

/// Folders remembered as synced; when there are more the memory is emptied, which costs syncs but never safety.
const FOLDERS_MAX: usize = 4096;

/// The local file system, rooted at `/`, with every write synced before it is answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Durable {
    inner: Arc<LocalFileSystem>,
    folders: Arc<Folders>,
}

impl Durable {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Syncs a file that the inner store has finished under the name `from`, then gives it the name `to`.
    async fn publish(&self, from: &Path, to: &Path) -> Result<()> {
        let (from, to) = (self.inner.path_to_filesystem(from)?, self.inner.path_to_filesystem(to)?);
        self.blocking(move |folders| {
            File::open(&from)?.sync_all()?;
            fs::rename(&from, &to)?;
            folders.sync_parent(&to)
        })
        .await
    }

    async fn synced_parent(&self, location: &Path) -> Result<()> {
        let file = self.inner.path_to_filesystem(location)?;
        self.blocking(move |folders| folders.sync_parent(&file)).await
    }

    async fn blocking(&self, work: impl FnOnce(&Folders) -> io::Result<()> + Send + 'static) -> Result<()> {
        let folders = Arc::clone(&self.folders);
        tokio::task::spawn_blocking(move || work(&folders)).await?.map_err(generic)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Durable {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if matches!(options.mode, PutMode::Update(_)) || !options.attributes.is_empty() {
            return self.inner.put_opts(location, payload, options).await; // refuses both, and says so
        }
        let target = self.inner.path_to_filesystem(location)?;
        let create = matches!(options.mode, PutMode::Create);
        let folders = Arc::clone(&self.folders);
        let path = location.to_string();
        tokio::task::spawn_blocking(move || write(&target, &payload, create, &folders)).await?.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: error.into() },
            _ => generic(error),
        })?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let staged = Path::parse(format!("{location}.{}.tmp", Uuid::new_v4().simple()))?;
        let inner = self.inner.put_multipart_opts(&staged, options).await?;
        Ok(Box::new(Upload { inner, store: self.clone(), staged, target: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    /// Deletions are not synced: a file that comes back after a loss of power is an orphan, and vacuum takes it again.
    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    /// How readers find the newest versions of a log. The inner store looks at every file of the folder; after a day of a commit a second that takes
    /// seconds for each query, so here files before the offset cost no more than their name.
    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let flat = prefix.zip(offset.as_ref().rsplit_once('/')).filter(|(prefix, (folder, _))| prefix.as_ref() == *folder);
        let Some((prefix, (_, after))) = flat else { return self.inner.list_with_offset(prefix, offset) };
        let folder = match self.inner.path_to_filesystem(prefix) {
            Ok(folder) => folder,
            Err(error) => return futures::stream::iter([Err(error)]).boxed(),
        };
        let (inner, prefix, offset, after) = (Arc::clone(&self.inner), prefix.clone(), offset.clone(), after.to_owned());
        let listed = async move {
            let below = prefix.clone();
            let listing = tokio::task::spawn_blocking(move || list_after(&folder, &below, &after)).await?.map_err(generic)?;
            let folders = futures::stream::iter(listing.folders).flat_map(move |folder| inner.list_with_offset(Some(&folder), &offset));
            Ok::<_, Error>(futures::stream::iter(listing.files).map(Ok).chain(folders))
        };
        futures::stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.synced_parent(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        self.synced_parent(to).await
    }
}

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DurableLocalFileSystem")
    }
}

/// What is in a folder.
#[derive(Debug, Default)]
struct Listing {
    files: Vec<ObjectMeta>,
    folders: Vec<Path>,
}

/// The files of a folder whose names come after this one, by name, and its folders.
fn list_after(folder: &FilePath, prefix: &Path, after: &str) -> io::Result<Listing> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Listing::default()),
        entries => entries?,
    };
    let mut listing = Listing::default();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        // A name with a `#` is a file that another writer has not finished.
        let Some(name) = name.to_str().filter(|name| !name.contains('#')) else { continue };
        if entry.file_type()?.is_dir() {
            listing.folders.push(prefix.clone().join(name));
            continue;
        }
        if name <= after {
            continue;
        }
        match entry.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => {} // deleted since
            metadata => {
                let metadata = metadata?;
                let (location, last_modified) = (prefix.clone().join(name), metadata.modified()?.into());
                listing.files.push(ObjectMeta { location, last_modified, size: metadata.len(), e_tag: None, version: None });
            }
        }
    }
    listing.files.sort_unstable_by(|a, b| a.location.cmp(&b.location));
    Ok(listing)
}

/// Writes the bytes beside the target, syncs them, and gives them their name.
///
/// With `create`, a target that is there is an error of the kind `AlreadyExists`. Its folder is synced even then: the caller may find that the file is the
/// one it wrote before, by a call whose answer was an error, and must not take for durable what only this process has seen.
fn write(target: &FilePath, payload: &PutPayload, create: bool, folders: &Folders) -> io::Result<()> {
    let mut staged = target.as_os_str().to_owned();
    staged.push(format!(".{}.tmp", Uuid::new_v4().simple()));
    let staged = PathBuf::from(staged);
    let named = stage(&staged, payload).and_then(|()| if create { fs::hard_link(&staged, target) } else { fs::rename(&staged, target) });
    if create || named.is_err() {
        // A name left over does no harm: it is no part of the table, and vacuum takes it.
        drop(fs::remove_file(&staged));
    }
    match named {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        named => folders.sync_parent(target).and(named),
    }
}

fn stage(staged: &FilePath, payload: &PutPayload) -> io::Result<()> {
    let open = || OpenOptions::new().write(true).create_new(true).open(staged);
    let mut file = match open() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(staged.parent().unwrap_or(staged))?;
            open()?
        }
        opened => opened?,
    };
    for chunk in payload {
        file.write_all(chunk)?;
    }
    file.sync_all()
}

/// The folders whose own names are known to be durable, so that a new file costs one sync of its folder and not one of each folder above.
#[derive(Debug, Default)]
struct Folders(Mutex<HashSet<PathBuf>>);

impl Folders {
    /// Makes the name of a new file durable: syncs its folder, and every folder above that this store has not synced yet.
    fn sync_parent(&self, file: &FilePath) -> io::Result<()> {
        let Some(folder) = file.parent() else { return Ok(()) };
        sync_folder(folder)?;
        if self.known(folder) {
            return Ok(());
        }
        for above in folder.ancestors().skip(1) {
            match sync_folder(above) {
                // Folders above the lake need not be ours to open; those were there before it.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => break,
                synced => synced?,
            }
            if self.known(above) {
                break;
            }
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= FOLDERS_MAX {
            known.clear();
        }
        known.extend(folder.ancestors().map(FilePath::to_owned));
        Ok(())
    }

    fn known(&self, folder: &FilePath) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(folder)
    }
}

#[cfg(unix)]
fn sync_folder(folder: &FilePath) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened as a file; the file system orders names by itself.
#[cfg(not(unix))]
fn sync_folder(_folder: &FilePath) -> io::Result<()> {
    Ok(())
}

fn generic(error: io::Error) -> Error {
    Error::Generic { store: "DurableLocalFileSystem", source: error.into() }
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    store: Durable,
    staged: Path,
    target: Path,
}

#[async_trait::async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await?;
        self.store.publish(&self.staged, &self.target).await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests;
