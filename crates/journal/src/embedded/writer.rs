//! The one thread that writes: it takes all appends that wait, writes them with one write, makes them durable with one sync, and answers them all.
//!
//! While it syncs, the next group gathers, so groups are as large as the load makes them, and a lone append waits for nobody.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::Config;
use super::frame::Encoder;
use super::log::Log;
use super::medium::{Medium, is_full};
use super::meta::{Lock, Meta};
use super::queue::{Company, Queue, Request};
use super::scan::Scan;
use super::segment::{Header, Mark, Segment, salt};
use super::unavailable;
use crate::{Error, metrics, partition_of};

/// After a failure of the disk, appends are refused for so long before it is tried again.
const MEND_PAUSE: Duration = Duration::from_secs(1);

/// The longest wait for company, however slow the disk.
const PATIENCE_MAX: Duration = Duration::from_micros(200);

/// The positions of the records of each append in a group.
type Positions = Vec<Vec<(u32, u64)>>;

/// Everything that only the writing thread touches.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) log: Arc<Log>,
    pub(super) queue: Arc<Queue>,
    pub(super) medium: Arc<dyn Medium>,
    pub(super) config: Config,
    /// Given back when the thread ends, after its last write.
    pub(super) lock: Arc<Lock>,
    /// The last segment, open for writing.
    pub(super) active: Arc<Segment>,
    pub(super) file: File,
    /// Where the durable part of the active segment ends.
    pub(super) durable: Mark,
    pub(super) state: State,
    /// A frame behind everything that is durable says so.
    pub(super) is_proven: bool,
    pub(super) encoder: Encoder,
    /// How long the disk took last.
    pub(super) last_sync: Duration,
    /// The last group was refused.
    pub(super) is_refusing: bool,
}

/// What must happen before the next group is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing: groups go behind the last one.
    Ready,
    /// Nothing more may be written to the active segment. A successor that says where this one ends may already have been begun.
    Full,
    /// The disk failed at this moment; what is behind the durable part is unknown.
    Suspect(Instant),
}

impl Writer {
    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let mut company = Company::default();
        while let Some(group) = self.queue.take(self.config.group_bytes_max, company) {
            let appends = group.len();
            let outcome = self.commit(&group);
            self.log_change(&outcome);
            self.encoder.shrink_to(2 * self.config.group_bytes_max);
            metrics::disk_bytes(self.log.disk_bytes());
            answer(group, outcome);
            company = expected(appends, self.last_sync);
        }
        self.prove();
    }

    /// Logs when refusing begins and when it ends, not every refusal: while a disk is full there are many.
    fn log_change(&mut self, outcome: &Result<Positions, Error>) {
        match outcome {
            Err(error) if !self.is_refusing => {
                tracing::warn!(directory = %self.log.directory.display(), %error, "the journal refuses appends")
            }
            Ok(_) if self.is_refusing => tracing::info!(directory = %self.log.directory.display(), "the journal takes appends again"),
            _ => {}
        }
        self.is_refusing = outcome.is_err();
    }

    fn commit(&mut self, group: &[Request]) -> Result<Positions, Error> {
        let bytes = group.iter().map(|request| request.bytes).sum::<usize>() as u64;
        self.mend()?;
        self.admit(bytes)?;
        let is_over = self.durable.at + bytes > self.config.segment_bytes && self.durable.at > self.active.beginning().at;
        if self.state == State::Full || is_over {
            self.roll()?;
        }
        let (positions, marks) = self.encode(group);
        self.write()?;
        metrics::group(positions.iter().map(Vec::len).sum(), self.encoder.bytes().len());
        self.publish(marks);
        if group.iter().any(|request| request.seals) {
            self.roll()?;
        }
        Ok(positions)
    }

    /// Refuses what would go over a bound of the disk.
    fn admit(&self, bytes: u64) -> Result<(), Error> {
        let directory = &self.log.directory;
        let free_bytes = self.medium.free_bytes(directory).map_err(unavailable("ask for the free space of", directory))?;
        room(&self.config, self.log.disk_bytes(), free_bytes, bytes).map_err(Error::Full)
    }

    /// Begins the next segment.
    fn roll(&mut self) -> Result<(), Error> {
        self.state = State::Full;
        let header = Header {
            generation: self.log.generation,
            sequence: self.active.header.sequence + 1,
            previous_bytes: self.durable.at,
            salt: salt(),
            start: self.durable.next.clone(),
        };
        let directory = &self.log.directory;
        let meta = Meta { generation: header.generation, partitions: header.start.len() as u32, sequence: header.sequence };
        let created = Segment::create(&*self.medium, directory, header);
        let (segment, file) = created.map_err(|error| refusal(&format!("begin a segment file in {}", directory.display()), error))?;
        meta.save(&*self.medium, directory).map_err(|error| refusal(&format!("write to {}", directory.display()), error))?;
        self.durable = segment.beginning();
        self.active = Arc::new(segment);
        self.file = file;
        self.log.add(Arc::clone(&self.active));
        self.state = State::Ready;
        Ok(())
    }

    /// Encodes the group behind the durable part. Returns its positions, and the places in the file on the way, the last one behind it.
    fn encode(&mut self, group: &[Request]) -> (Positions, Vec<Mark>) {
        let mut here = self.durable.clone();
        let mut marks = Vec::new();
        let mut positions = Vec::with_capacity(group.len());
        self.encoder.begin(self.active.header.salt, self.durable.at);
        for request in group {
            let mut taken = Vec::with_capacity(request.records.len());
            for record in &request.records {
                let partition = partition_of(&record.key, here.next.len() as u32);
                if let Some(at) = self.encoder.next_frame() {
                    marks.push(Mark { at, next: here.next.clone() });
                }
                let Some(next) = here.next.get_mut(partition as usize) else { continue };
                let offset = *next;
                *next += 1;
                self.encoder.push(partition, offset, record);
                taken.push((partition, offset));
            }
            positions.push(taken);
        }
        here.at += self.encoder.finish().len() as u64;
        marks.push(here);
        (positions, marks)
    }

    /// Writes what is encoded and makes it durable.
    fn write(&mut self) -> Result<(), Error> {
        if let Err(error) = self.medium.write_all_at(&self.file, self.encoder.bytes(), self.durable.at) {
            self.take_back();
            return Err(refusal(&format!("write to {}", self.active.path.display()), error));
        }
        let started = Instant::now();
        if let Err(error) = self.medium.sync_data(&self.file) {
            self.suspect(&error);
            return Err(refusal(&format!("sync {}", self.active.path.display()), error));
        }
        self.last_sync = started.elapsed();
        metrics::synced(self.last_sync);
        Ok(())
    }

    /// Cuts a part of a group off that was written before the disk refused the rest.
    fn take_back(&mut self) {
        let cut = self.medium.set_len(&self.file, self.durable.at).and_then(|()| self.medium.sync_data(&self.file));
        if let Err(error) = cut {
            self.suspect(&error);
        }
    }

    fn suspect(&mut self, error: &io::Error) {
        tracing::warn!(file = %self.active.path.display(), %error, "the disk of the journal failed; appends are refused until it is sound again");
        self.state = State::Suspect(Instant::now());
    }

    /// After a failure: makes sure that the disk holds what had been made durable, and nothing else.
    ///
    /// When a sync fails the system may drop what it could not write and yet show it to readers, so what memory says of the file is not believed: the end
    /// is cut off, the rest is read from the disk again, and the next group goes to a new file.
    fn mend(&mut self) -> Result<(), Error> {
        let State::Suspect(since) = self.state else { return Ok(()) };
        if since.elapsed() < MEND_PAUSE {
            let source = io::Error::other("the disk failed a moment ago; it is tried again every second");
            return Err(Error::Unavailable { doing: "append".into(), source });
        }
        self.state = State::Suspect(Instant::now());
        let path = &self.active.path;
        self.file = File::options().read(true).write(true).open(path).map_err(unavailable("open", path))?;
        self.medium.set_len(&self.file, self.durable.at).map_err(unavailable("cut the end off", path))?;
        self.medium.sync_data(&self.file).map_err(unavailable("sync", path))?;
        self.medium.forget(&self.file).map_err(unavailable("read again", path))?;
        let read = |fault: super::scan::Fault| fault.on(&self.active);
        let mut scan = Scan::begin(&self.active, self.active.beginning(), self.durable.at).map_err(read)?;
        while scan.next_frame().map_err(read)?.is_some() {}
        if *scan.mark() != self.durable {
            return Err(Error::Corrupt { file: path.clone(), at: scan.mark().at, what: "records that were durable are missing".into() });
        }
        tracing::info!(file = %path.display(), "the disk of the journal is sound again");
        self.state = if self.durable == self.active.beginning() { State::Ready } else { State::Full };
        Ok(())
    }

    /// Lets readers and callers have what has become durable.
    fn publish(&mut self, mut marks: Vec<Mark>) {
        let Some(end) = marks.pop() else { return };
        self.active.publish(end.at, marks);
        self.log.tail.send_modify(|tail| tail.end.copy_from_slice(&end.next));
        self.durable = end;
        self.is_proven = false;
    }

    /// Ends with an empty frame, which proves that all before it had been made durable: a journal that was closed has no torn end.
    fn prove(&mut self) {
        if self.state != State::Ready || self.is_proven {
            return;
        }
        let (_, marks) = self.encode(&[]);
        match self.write() {
            Ok(()) => self.publish(marks),
            Err(error) => tracing::debug!(%error, "the journal was closed without a last frame"),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Also when the thread panics: nobody is to wait for a writer that is gone.
        self.queue.abandon();
        self.log.tail.send_modify(|tail| tail.is_closed = true);
    }
}

/// Decides for how many appends to wait, and how long, when a group has been answered: those who appended together tend to append again together. It can cost
/// the first of them no more than a small part of what the disk takes anyway, and nobody anything who comes later or alone.
fn expected(appends: usize, last_sync: Duration) -> Company {
    if appends < 2 {
        return Company::default();
    }
    Company { appends: appends - appends / 4, patience: (last_sync / 4).min(PATIENCE_MAX) }
}

/// Decides whether a group may be written.
fn room(config: &Config, disk_bytes: u64, free_bytes: u64, group_bytes: u64) -> Result<(), String> {
    if disk_bytes.saturating_add(group_bytes) > config.disk_bytes_max {
        return Err(format!(
            "its files hold {disk_bytes} bytes of disk_bytes_max {}; it has room again when the lake has caught up",
            config.disk_bytes_max
        ));
    }
    if free_bytes.saturating_sub(group_bytes) < config.disk_free_bytes_min {
        return Err(format!(
            "the disk has {free_bytes} bytes left and {} must stay free (disk_free_bytes_min); make room on it",
            config.disk_free_bytes_min
        ));
    }
    Ok(())
}

/// What a failed write means to the caller.
fn refusal(doing: &str, error: io::Error) -> Error {
    if is_full(&error) {
        Error::Full(format!("the disk has no room: {error}"))
    } else {
        Error::Unavailable { doing: doing.into(), source: error }
    }
}

/// Tells each append of a group what became of it.
fn answer(group: Vec<Request>, outcome: Result<Positions, Error>) {
    // A caller that does not wait any more is told nothing; its records are there all the same.
    match outcome {
        Ok(positions) => {
            for (request, positions) in group.into_iter().zip(positions) {
                drop(request.answer.send(Ok(positions)));
            }
        }
        Err(error) => {
            metrics::refused(error.kind());
            for request in group {
                drop(request.answer.send(Err(again(&error))));
            }
        }
    }
}

/// The same error for another caller.
fn again(error: &Error) -> Error {
    match error {
        Error::Full(what) => Error::Full(what.clone()),
        Error::Corrupt { file, at, what } => Error::Corrupt { file: file.clone(), at: *at, what: what.clone() },
        Error::Damaged { place, what } => Error::Damaged { place: place.clone(), what: what.clone() },
        Error::Newer { file, found, known } => Error::Newer { file: file.clone(), found: *found, known: *known },
        Error::Unavailable { doing, source } => {
            let source =
                source.raw_os_error().map_or_else(|| io::Error::new(source.kind(), source.to_string()), io::Error::from_raw_os_error);
            Error::Unavailable { doing: doing.clone(), source }
        }
        Error::TooLarge { bytes, limit } => Error::TooLarge { bytes: *bytes, limit: *limit },
        Error::Trimmed { partition, asked, start } => Error::Trimmed { partition: *partition, asked: *asked, start: *start },
        Error::Closed => Error::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn company_is_expected_after_company() {
        let check = |appends, sync_micros, expect: (usize, u64)| {
            let company = expected(appends, Duration::from_micros(sync_micros));
            assert_eq!((company.appends, company.patience), (expect.0, Duration::from_micros(expect.1)));
        };
        check(0, 1000, (0, 0));
        check(1, 1000, (0, 0));
        check(2, 100, (2, 25));
        check(64, 400, (48, 100));
        check(64, 20_000, (48, 200));
    }

    #[test]
    fn both_bounds_of_the_disk_refuse() {
        let config = Config { disk_bytes_max: 100, disk_free_bytes_min: 50, ..Config::default() };
        let check = |disk_bytes, free_bytes, group_bytes, expect: Option<&str>| match (
            room(&config, disk_bytes, free_bytes, group_bytes),
            expect,
        ) {
            (Ok(()), None) => {}
            (Err(what), Some(part)) => assert!(what.contains(part), "{what}"),
            (outcome, _) => panic!("{outcome:?}, expected {expect:?}"),
        };
        check(90, 1000, 10, None);
        check(91, 1000, 10, Some("disk_bytes_max 100"));
        check(0, 60, 10, None);
        check(0, 59, 10, Some("disk_free_bytes_min"));
        check(0, 0, u64::MAX, Some("disk_bytes_max"));
    }
}
