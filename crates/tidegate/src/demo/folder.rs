//! The data folder of a run: its own, empty at the start, and gone at the end unless it was asked for.

use std::fs::{self, DirBuilder};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::misuse::Misuse;

/// How many names are tried for a temporary folder.
const NAMES_MAX: u32 = 1_000;

/// The folder. A temporary one is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    is_temporary: bool,
}

impl Folder {
    /// The folder asked for, which must not hold anything yet; else a temporary one.
    ///
    /// # Errors
    ///
    /// A folder that is not empty: the figures of a run would be mixed up with whatever it holds.
    pub(crate) fn prepare(asked: Option<&Path>) -> anyhow::Result<Self> {
        match asked {
            Some(path) => Self::asked(path),
            None => Self::temporary().context("cannot make a temporary folder; give one with --data"),
        }
    }

    fn asked(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        fs::create_dir_all(path).with_context(|| format!("cannot make the folder {shown}"))?;
        let mut entries = fs::read_dir(path).with_context(|| format!("cannot read the folder {shown}"))?;
        if entries.next().is_some() {
            let problem = format!(
                "the folder {shown} is not empty, and the demo's figures would be mixed up with what it holds; give --data another folder, remove this \
                 one, or look into it with `tidegate query --data {shown}` or `tidegate serve --data {shown}`"
            );
            return Err(Misuse(problem).into());
        }
        Ok(Self { path: path.to_owned(), is_temporary: false })
    }

    fn temporary() -> io::Result<Self> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let process = std::process::id();
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for number in 0..NAMES_MAX {
            let path = std::env::temp_dir().join(format!("tidegate-demo-{process}-{number}"));
            match builder.create(&path) {
                Ok(()) => return Ok(Self { path, is_temporary: true }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_temporary(&self) -> bool {
        self.is_temporary
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, folder = %self.path.display(), "the temporary folder of the demo could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_anything_in_it_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let asked = home.path().join("a").join("b");
        assert!(!Folder::prepare(Some(&asked)).unwrap().is_temporary());
        assert!(asked.is_dir(), "a folder that was asked for stays");
        fs::write(asked.join("x"), "").unwrap();
        let refusal = Folder::prepare(Some(&asked)).unwrap_err().to_string();
        assert!(refusal.contains("not empty") && refusal.contains("--data"), "{refusal}");
    }

    #[test]
    fn a_temporary_folder_is_gone_in_the_end() {
        let (one, other) = (Folder::prepare(None).unwrap(), Folder::prepare(None).unwrap());
        let path = one.path().to_owned();
        assert!(path.is_dir() && one.is_temporary() && path != other.path());
        drop(one);
        assert!(!path.exists());
    }
}
