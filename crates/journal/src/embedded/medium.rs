//! What the journal asks of the disk.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The calls by which data becomes durable, apart so that tests can make them fail the way disks do.
pub(super) trait Medium: Send + Sync + Debug {
    /// Writes all of the bytes at this place. After an error any part of them may be there.
    fn write_all_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(bytes, at)
    }

    /// Cuts the file off at this length.
    fn set_len(&self, file: &File, bytes: u64) -> io::Result<()> {
        file.set_len(bytes)
    }

    /// Makes what was written durable.
    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Makes the names in the directory durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    /// The bytes that the disk of this directory has left for us.
    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(directory)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Lets the system forget what it holds of the file in memory, so that the next read asks the disk.
    fn forget(&self, file: &File) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?;
        #[cfg(not(target_os = "linux"))]
        let _kept = file;
        Ok(())
    }
}

/// The disk itself.
#[derive(Debug)]
pub(super) struct Disk;

impl Medium for Disk {}

/// Whether the system says that there is no room, as opposed to a failure.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
