//! Disks that are full, slow or failing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Condvar;

use super::*;

/// The system's number for an input/output error.
const EIO: i32 = 5;
/// The system's number for a full disk.
const ENOSPC: i32 = 28;

#[derive(Debug, Default)]
struct Behaviour {
    /// Bytes that can still be written.
    room: Option<usize>,
    /// A sync fails, and what was written since the last one is lost.
    sync_fails: bool,
    /// Cutting a file fails as well.
    cut_fails: bool,
    /// A sync does not return.
    sync_hangs: bool,
    /// What the disk says it has left.
    free_bytes: Option<u64>,
    unsynced: Vec<(u64, usize)>,
}

/// A disk that can be told to fail. What it does not refuse really happens.
#[derive(Debug, Default)]
struct Faulty {
    behaviour: Mutex<Behaviour>,
    changed: Condvar,
}

impl Faulty {
    fn now(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut locked(&self.behaviour));
        self.changed.notify_all();
    }
}

impl Medium for Faulty {
    fn write_all_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut behaviour = locked(&self.behaviour);
        let part = bytes.len().min(behaviour.room.unwrap_or(usize::MAX));
        file.write_all_at(&bytes[..part], at)?;
        behaviour.unsynced.push((at, part));
        behaviour.room = behaviour.room.map(|room| room - part);
        if part < bytes.len() { Err(io::Error::from_raw_os_error(ENOSPC)) } else { Ok(()) }
    }

    fn set_len(&self, file: &File, bytes: u64) -> io::Result<()> {
        if locked(&self.behaviour).cut_fails { Err(io::Error::from_raw_os_error(EIO)) } else { file.set_len(bytes) }
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        let mut behaviour = self.changed.wait_while(locked(&self.behaviour), |behaviour| behaviour.sync_hangs).unwrap();
        let unsynced = std::mem::take(&mut behaviour.unsynced);
        if behaviour.sync_fails {
            for (at, bytes) in unsynced {
                file.write_all_at(&vec![0; bytes], at)?;
            }
            return Err(io::Error::from_raw_os_error(EIO));
        }
        file.sync_data()
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        let told = locked(&self.behaviour).free_bytes;
        told.map_or_else(|| Disk.free_bytes(directory), Ok)
    }
}

/// Appends until it works again.
async fn append_when_mended(journal: &Embedded, numbers: std::ops::Range<u64>) -> Vec<(u32, u64)> {
    for _ in 0..100 {
        match append(journal, numbers.clone()).await {
            Ok(positions) => return positions,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the journal does not mend itself");
}

async fn holds(journal: &Embedded, expected: &[u64]) {
    assert_eq!(numbers(&all(journal).await.unwrap()), expected);
}

#[tokio::test]
async fn a_full_disk_refuses_and_leaves_nothing_behind() {
    for segment_bytes in [1 << 20, 1] {
        let config = Config { segment_bytes, ..small() };
        let (directory, medium) = (tempfile::tempdir().unwrap(), Arc::new(Faulty::default()));
        let journal = open(&directory, &config, Arc::<Faulty>::clone(&medium));
        append(&journal, 0..5).await.unwrap();
        for room in [0, 1, 50, 100, 300] {
            let (bytes, files) = (journal.disk_bytes(), segments(&directory).len());
            medium.now(|disk| disk.room = Some(room));
            let error = append(&journal, 90..95).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Full, "{error}");
            let on_disk: u64 = segments(&directory).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
            // A segment may have been begun before the room ran out.
            let begun = (segments(&directory).len() - files) as u64 * segment::Header::bytes(2);
            assert_eq!((on_disk, begun <= segment::Header::bytes(2)), (bytes + begun, true), "the part that was written is taken back");
            holds(&journal, &[0, 1, 2, 3, 4]).await;
        }
        medium.now(|disk| disk.room = None);
        append(&journal, 5..10).await.unwrap();
        holds(&journal, &(0..10).collect::<Vec<_>>()).await;
        drop(journal);
        holds(&reopen(&directory, &config).unwrap(), &(0..10).collect::<Vec<_>>()).await;
    }
}

#[tokio::test]
async fn a_failed_sync_is_no_answer_and_is_mended() {
    for cut_fails in [false, true] {
        let (directory, medium) = (tempfile::tempdir().unwrap(), Arc::new(Faulty::default()));
        let journal = open(&directory, &small(), Arc::<Faulty>::clone(&medium));
        append(&journal, 0..5).await.unwrap();
        medium.now(|disk| (disk.sync_fails, disk.cut_fails) = (true, cut_fails));
        assert_eq!(append(&journal, 90..95).await.unwrap_err().kind(), ErrorKind::Unavailable);
        holds(&journal, &[0, 1, 2, 3, 4]).await;
        medium.now(|disk| disk.sync_fails = false);
        let error = append(&journal, 80..85).await.unwrap_err();
        assert!(error.to_string().contains("tried again every second"), "{error}");
        if cut_fails {
            tokio::time::sleep(Duration::from_millis(1100)).await;
            let error = append(&journal, 80..85).await.unwrap_err();
            assert!(error.to_string().contains("cut the end off"), "{error}");
            medium.now(|disk| disk.cut_fails = false);
        }
        let positions = append_when_mended(&journal, 5..10).await;
        let end = journal.end().await.unwrap();
        assert_eq!(end.values().sum::<u64>(), 10, "{positions:?} follow what was answered before");
        holds(&journal, &(0..10).collect::<Vec<_>>()).await;
        drop(journal);
        holds(&reopen(&directory, &small()).unwrap(), &(0..10).collect::<Vec<_>>()).await;
    }
}

#[tokio::test]
async fn what_was_durable_and_is_lost_with_a_failed_sync_is_named() {
    let (directory, medium) = (tempfile::tempdir().unwrap(), Arc::new(Faulty::default()));
    let journal = open(&directory, &small(), Arc::<Faulty>::clone(&medium));
    append(&journal, 0..5).await.unwrap();
    medium.now(|disk| disk.sync_fails = true);
    assert_eq!(append(&journal, 5..10).await.unwrap_err().kind(), ErrorKind::Unavailable);
    medium.now(|disk| disk.sync_fails = false);
    let path = segments(&directory)[0].clone();
    File::options().write(true).open(&path).unwrap().write_all_at(&[0xFF; 10], 200).unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for _ in 0..2 {
        let error = append(&journal, 5..10).await.unwrap_err();
        assert!(matches!(&error, Error::Corrupt { file, .. } if *file == path) || error.to_string().contains("every second"), "{error}");
    }
}

#[tokio::test]
async fn a_full_disk_that_cannot_take_back_is_mended() {
    let (directory, medium) = (tempfile::tempdir().unwrap(), Arc::new(Faulty::default()));
    let journal = open(&directory, &small(), Arc::<Faulty>::clone(&medium));
    append(&journal, 0..5).await.unwrap();
    medium.now(|disk| (disk.room, disk.cut_fails) = (Some(100), true));
    assert_eq!(append(&journal, 90..95).await.unwrap_err().kind(), ErrorKind::Full);
    medium.now(|disk| (disk.room, disk.cut_fails) = (None, false));
    append_when_mended(&journal, 5..10).await;
    drop(journal);
    holds(&reopen(&directory, &small()).unwrap(), &(0..10).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn the_bound_on_its_files_holds_until_it_is_trimmed() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config { queue_bytes_max: 11_000, disk_bytes_max: 25_000, ..small() };
    let journal = reopen(&directory, &config).unwrap();
    let mut appended = 0;
    let error = loop {
        match append(&journal, appended..appended + 5).await {
            Ok(_) => appended += 5,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(error.to_string().contains("disk_bytes_max 25000"), "{error}");
    assert!((23_000..=25_000).contains(&journal.disk_bytes()), "{}", journal.disk_bytes());
    journal.trim(&journal.end().await.unwrap()).await.unwrap();
    append(&journal, appended..appended + 50).await.unwrap();
}

#[tokio::test]
async fn the_disk_keeps_room_for_the_lake() {
    let (directory, medium) = (tempfile::tempdir().unwrap(), Arc::new(Faulty::default()));
    let config = Config { disk_free_bytes_min: 1_000_000, ..small() };
    let journal = open(&directory, &config, Arc::<Faulty>::clone(&medium));
    medium.now(|disk| disk.free_bytes = Some(1_000_100));
    let error = append(&journal, 0..5).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Full && error.to_string().contains("1000000 must stay free"), "{error}");
    medium.now(|disk| disk.free_bytes = Some(1_010_000));
    append(&journal, 0..5).await.unwrap();
}

#[tokio::test]
async fn a_slow_disk_fills_the_queue_and_no_more() {
    let (directory, medium) = (tempfile::tempdir().unwrap(), Arc::new(Faulty::default()));
    let config = Config { queue_appends_max: 10, ..small() };
    let journal = Arc::new(open(&directory, &config, Arc::<Faulty>::clone(&medium)));
    medium.now(|disk| disk.sync_hangs = true);
    let spawn = |number| {
        let journal = Arc::clone(&journal);
        tokio::spawn(async move { append(&journal, number..number + 1).await })
    };
    let first = spawn(0);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let waiting: Vec<_> = (1..=10).map(spawn).collect();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(append(&journal, 90..91).await.unwrap_err().kind(), ErrorKind::Full);
    assert!(all(&journal).await.unwrap().is_empty(), "only what is durable can be read");
    // A caller that goes away leaves its records on their way.
    first.abort();
    medium.now(|disk| disk.sync_hangs = false);
    for waiting in waiting {
        waiting.await.unwrap().unwrap();
    }
    holds(&journal, &(0..11).collect::<Vec<_>>()).await;
}
