//! Which files there are to read: local ones, those in folders, and objects on S3.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use lake::{Object, Objects, S3Options};
use tokio::runtime::Handle;

use super::rows::Format;

/// A file to read.
#[derive(Debug)]
pub(crate) enum Source {
    Local { name: String, path: PathBuf, bytes: u64 },
    Remote { objects: Objects, object: Object, runtime: Handle },
}

/// A file on this machine, removed again where it is a copy.
#[derive(Debug)]
pub(crate) struct Fetched {
    path: PathBuf,
    is_copy: bool,
}

impl Source {
    /// How it is called.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Local { name, .. } => name,
            Self::Remote { object, .. } => &object.url,
        }
    }

    /// Its size as it is stored.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Local { bytes, .. } => *bytes,
            Self::Remote { object, .. } => object.bytes,
        }
    }

    /// The file on this machine; an object is copied there first, for it is read twice. Must not be called in a task.
    pub(crate) fn fetch(&self, scratch: &Path) -> io::Result<Fetched> {
        match self {
            Self::Local { path, .. } => Ok(Fetched { path: path.clone(), is_copy: false }),
            Self::Remote { objects, object, runtime } => {
                let path = scratch.join(format!("object-{}", std::process::id()));
                let fetched = Fetched { path, is_copy: true };
                let file = fs::File::create(&fetched.path)?;
                runtime.block_on(objects.download(object, file)).map_err(io::Error::other)?;
                Ok(fetched)
            }
        }
    }
}

impl Fetched {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        if self.is_copy
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "a copy of an object stays");
        }
    }
}

/// All files that these arguments name: a file, a folder with all below it whose names say what they are, or `s3://bucket/…`.
///
/// # Errors
///
/// What is not there or cannot be listed, and what holds nothing to read.
pub(crate) async fn find(arguments: &[String], s3: &S3Options) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for argument in arguments {
        let before = sources.len();
        if argument.starts_with("s3://") {
            let objects = Objects::open(argument, s3).await?;
            for object in objects.list().await? {
                if object.url.trim_end_matches('/') == argument.trim_end_matches('/') || Format::of(&object.url).is_ok() {
                    sources.push(Source::Remote { objects: objects.clone(), object, runtime: Handle::current() });
                }
            }
        } else {
            local(Path::new(argument), true, &mut sources).with_context(|| format!("cannot read {argument}"))?;
        }
        if sources.len() == before {
            bail!(
                "{argument} has nothing to read: files are told by their names, .ndjson, .jsonl, .json, .csv, .tsv or .parquet, the first ones also with .gz or .zst"
            );
        }
    }
    Ok(sources)
}

fn local(path: &Path, is_named: bool, sources: &mut Vec<Source>) -> io::Result<()> {
    let about = fs::metadata(path)?;
    if about.is_dir() {
        let mut entries = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
        entries.sort();
        return entries.iter().try_for_each(|entry| local(entry, false, sources));
    }
    let name = path.display().to_string();
    if is_named || Format::of(&name).is_ok() {
        sources.push(Source::Local { name, path: path.to_owned(), bytes: about.len() });
    }
    Ok(())
}
