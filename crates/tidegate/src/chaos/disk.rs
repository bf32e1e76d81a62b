//! A disk of its own for a run, small enough to be filled: a file system in memory that only this process and those it starts see.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::misuse::Misuse;

/// Says that this process is the one with the disk.
const INNER: &str = "CHAOS_DISK_IS_MOUNTED";
/// Mounts the file system, then becomes the program.
const SCRIPT: &str = r#"mount -t tmpfs -o "size=$1" tidegate-chaos "$2" && shift 2 && exec "$@""#;
const CHUNK_BYTES: usize = 64 * 1024;
/// The name of the file that fills it.
const FILLER: &str = "chaos-filler";

/// Whether this process has been started with the disk.
pub(super) fn is_mounted() -> bool {
    std::env::var_os(INNER).is_some()
}

/// Starts this program again, with the same arguments, where a folder is a disk of so many bytes. Returns only when that fails.
///
/// # Errors
///
/// When the system lets nobody mount a file system of their own.
pub(super) fn begin_again(folder: &Path, bytes: u64) -> anyhow::Error {
    let may = Command::new("unshare").args(["-rm", "true"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        return Misuse(
            "--disk needs a system that lets users mount a file system of their own (`unshare -rm true` fails here); leave it out"
                .to_owned(),
        )
        .into();
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return anyhow::Error::new(error).context("where this program is cannot be found out"),
    };
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", SCRIPT, "sh", &bytes.to_string()]).arg(folder).arg(program).args(std::env::args_os().skip(1));
    anyhow::Error::new(command.env(INNER, "1").exec()).context("`unshare` cannot be started")
}

/// A disk without a byte left. It has room again when this is dropped.
#[derive(Debug)]
pub(super) struct Full {
    path: PathBuf,
    bytes: u64,
}

impl Full {
    /// Fills the disk that a folder is on.
    ///
    /// # Errors
    ///
    /// When it is not this run's own, or cannot be filled.
    pub(super) fn fill(folder: &Path) -> anyhow::Result<Self> {
        if !is_mounted() {
            bail!("the disk of {} is not this run's own and is not filled", folder.display());
        }
        let path = folder.join(FILLER);
        let mut file = File::create(&path).with_context(|| path.display().to_string())?;
        let mut full = Self { path, bytes: 0 };
        let mut chunk = vec![0_u8; CHUNK_BYTES];
        while !chunk.is_empty() {
            match file.write(&chunk) {
                Ok(written) => full.bytes += written as u64,
                // To the last byte: then with half as much.
                Err(error) if error.kind() == ErrorKind::StorageFull => chunk.truncate(chunk.len() / 2),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).with_context(|| full.path.display().to_string()),
            }
        }
        Ok(full)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            crate::commands::say(&format!("{} cannot be removed: {error}", self.path.display()));
        }
    }
}
