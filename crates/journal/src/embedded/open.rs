//! Opening a journal: finding out what is there, and making the end of it sound.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::config::Config;
use super::frame::{Encoder, Head, tear};
use super::log::Log;
use super::medium::Medium;
use super::meta::{Found, Lock, Meta, remove_unfinished};
use super::queue::Queue;
use super::scan::{Fault, Scan};
use super::segment::{self, Header, Mark, Segment};
use super::writer::{State, Writer};
use super::{OpenError, unavailable};
use crate::{Ancestor, Error, metrics};

/// The sequence of a journal's first segment.
const FIRST: u64 = 1;

/// Opens the journal in a directory, or makes one there, ready to write. Blocks on the disk.
pub(super) fn open(directory: PathBuf, config: Config, medium: Arc<dyn Medium>) -> Result<Writer, OpenError> {
    config.check()?;
    make_directory(&*medium, &directory)?;
    let lock = Lock::take(&directory)?;
    let found = Meta::load(&directory)?;
    if let Some(found) = found {
        // Before anything is changed: what a newer program left is for that one.
        check_versions(&directory, found.meta)?;
    }
    remove_unfinished(&directory)?;
    let meta = settle(&*medium, &directory, &config, found)?;
    let segments = open_segments(&directory, meta)?;
    let Some((active, sealed)) = segments.split_last().filter(|(last, _)| last.header.sequence >= meta.sequence) else {
        let what = "this segment file is missing, it was the last to be begun".into();
        return Err(Error::Corrupt { file: segment::path_of(&directory, meta.sequence), at: 0, what }.into());
    };
    let (file, durable) = recover(&*medium, active)?;
    for (segment, successor) in sealed.iter().zip(segments.iter().skip(1)) {
        check_sealed(segment, successor)?;
    }
    let ancestors = ancestors(&segments, meta.generation, &durable.next);
    // What is appended from now on stands in a segment that says this generation, also where the last one has no record yet.
    let is_of_generation = active.header.generation == meta.generation;
    let log = Log::new(directory, meta.generation, ancestors, segments.clone(), durable.next.to_vec());
    Ok(Writer {
        log: Arc::new(log),
        queue: Arc::new(Queue::new(config.queue_bytes_max, config.queue_appends_max)),
        medium,
        config,
        lock: Arc::new(lock),
        active: Arc::clone(active),
        file,
        // What an earlier process wrote is sealed by the successor's header before anything is added: from then on damage to it cannot pass for a torn end.
        state: if durable == active.beginning() && is_of_generation { State::Ready } else { State::Full },
        durable,
        is_proven: true,
        encoder: Encoder::default(),
        last_sync: Duration::ZERO,
        is_refusing: false,
    })
}

fn make_directory(medium: &dyn Medium, directory: &Path) -> Result<(), Error> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|path| *path != Path::new("") && !path.exists()).collect();
    fs::create_dir_all(directory).map_err(unavailable("make the directory", directory))?;
    for made in missing {
        let parent = made.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        medium.sync_directory(parent).map_err(unavailable("sync", parent))?;
    }
    Ok(())
}

/// Finds out what the journal is, or makes it that: its first segment comes before its description, so a description without segments means that they were lost.
fn settle(medium: &dyn Medium, directory: &Path, config: &Config, found: Option<Found>) -> Result<Meta, OpenError> {
    let Some(found) = found else { return begin(medium, directory, config) };
    let Meta { generation, partitions, .. } = found.meta;
    if partitions != config.partitions {
        return Err(OpenError::Partitions { directory: directory.to_owned(), stored: partitions, asked: config.partitions, generation });
    }
    if !found.is_copy {
        return Ok(found.meta);
    }
    let meta = Meta { generation: generation.saturating_add(1), ..found.meta };
    tracing::warn!(
        directory = %directory.display(),
        generation = meta.generation,
        "this journal is a copy, the original may have gone on: its generation grows, and what is appended from now on has positions of its own"
    );
    meta.save(medium, directory).map_err(unavailable("describe the journal in", directory))?;
    Ok(meta)
}

fn begin(medium: &dyn Medium, directory: &Path, config: &Config) -> Result<Meta, OpenError> {
    let partitions = config.partitions as usize;
    for (_, path) in segment::list(directory).map_err(unavailable("list", directory))? {
        let bytes = path.metadata().map_err(unavailable("look at", &path))?.len();
        if bytes > Header::bytes(partitions) {
            let what = "the description of the journal (journal.meta) is missing beside this file".into();
            return Err(Error::Corrupt { file: path, at: 0, what }.into());
        }
    }
    let header = Header {
        generation: config.generation,
        sequence: FIRST,
        previous_bytes: 0,
        salt: segment::salt(),
        start: vec![0; partitions].into(),
    };
    Segment::create(medium, directory, header).map_err(unavailable("begin a segment in", directory))?;
    let meta = Meta { generation: config.generation, partitions: config.partitions, sequence: FIRST };
    meta.save(medium, directory).map_err(unavailable("describe the journal in", directory))?;
    tracing::info!(directory = %directory.display(), generation = meta.generation, partitions = meta.partitions, "a new journal");
    Ok(meta)
}

/// Refuses segments of a newer version. What else is wrong with one is found when it is opened.
fn check_versions(directory: &Path, meta: Meta) -> Result<(), Error> {
    for (_, path) in segment::list(directory).map_err(unavailable("list", directory))? {
        if let Err(error @ Error::Newer { .. }) = Segment::open(path, meta.partitions as usize) {
            return Err(error);
        }
    }
    Ok(())
}

fn open_segments(directory: &Path, meta: Meta) -> Result<Vec<Arc<Segment>>, Error> {
    let mut segments: Vec<Arc<Segment>> = Vec::new();
    for (sequence, path) in segment::list(directory).map_err(unavailable("list", directory))? {
        let expected = segments.last().map_or(sequence, |last| last.header.sequence + 1);
        if sequence != expected {
            let what = "this segment file is missing, there are some before and behind it".into();
            return Err(Error::Corrupt { file: segment::path_of(directory, expected), at: 0, what });
        }
        let segment = Segment::open(path, meta.partitions as usize)?;
        if segment.header.generation > meta.generation {
            let what = format!("it is of generation {}, the journal is of generation {}", segment.header.generation, meta.generation);
            return Err(Error::Corrupt { file: segment.path, at: 0, what });
        }
        segments.push(Arc::new(segment));
    }
    Ok(segments)
}

/// The generations before the present one, as the headers of the segments tell: each ends where the first segment of the next one begins, the last where the journal did when it was found to be
/// a copy.
fn ancestors(segments: &[Arc<Segment>], generation: u32, end: &[u64]) -> Vec<Ancestor> {
    let successors = segments.iter().skip(1).map(|segment| (segment.header.generation, &*segment.header.start)).chain([(generation, end)]);
    let ended = segments.iter().zip(successors).filter(|(segment, (next, _))| segment.header.generation < *next);
    let ancestor = |(segment, (_, end)): (&Arc<Segment>, (u32, &[u64]))| Ancestor {
        generation: segment.header.generation,
        end: (0..).zip(end.iter().copied()).collect(),
    };
    ended.map(ancestor).collect()
}

/// A sealed segment is exactly as long as its successor says. What is in it is checked when it is read.
fn check_sealed(segment: &Segment, successor: &Segment) -> Result<(), Error> {
    let path = &segment.path;
    let bytes = path.metadata().map_err(unavailable("look at", path))?.len();
    let sealed_bytes = successor.header.previous_bytes;
    if bytes != sealed_bytes {
        let what = format!("the file has {bytes} bytes, it was sealed with {sealed_bytes}");
        return Err(Error::Corrupt { file: path.clone(), at: bytes.min(sealed_bytes), what });
    }
    segment.publish(bytes, []);
    Ok(())
}

/// Reads the last segment through, cuts a torn end off, and makes durable what is left. Returns the file, open for writing, and where it ends.
fn recover(medium: &dyn Medium, segment: &Segment) -> Result<(File, Mark), Error> {
    let path = &segment.path;
    let file = File::options().read(true).write(true).open(path).map_err(unavailable("open", path))?;
    let bytes = file.metadata().map_err(unavailable("look at", path))?.len();
    let mut scan = Scan::begin(segment, segment.beginning(), bytes).map_err(|fault| fault.on(segment))?;
    let mut marks = vec![segment.beginning()];
    loop {
        match scan.next_frame() {
            Ok(Some(_)) => marks.push(scan.mark().clone()),
            Ok(None) => break,
            Err(Fault::Unsound { at, what }) => {
                judge(segment, &file, at, bytes, what)?;
                medium.set_len(&file, at).map_err(unavailable("cut the end off", path))?;
                break;
            }
            Err(fault) => return Err(fault.on(segment)),
        }
    }
    // What was read may be in memory only: the process that wrote it may have died before its sync.
    medium.sync_data(&file).map_err(unavailable("sync", path))?;
    let end = scan.mark().clone();
    segment.adopt(end.at, marks);
    Ok((file, end))
}

/// Tells a torn end, which is cut off, from damage, which is an error.
fn judge(segment: &Segment, file: &File, at: u64, end: u64, what: String) -> Result<(), Error> {
    let mut rest = vec![0; usize::try_from(end - at).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut rest, at).map_err(unavailable("read", &segment.path))?;
    if rest.first_chunk().is_some_and(|header| Head::is_of_another_version(segment.header.salt, at, header)) {
        let what = format!("{what}: a frame of another version of the format does, though the segment is of this program's version");
        return Err(Error::Corrupt { file: segment.path.clone(), at, what });
    }
    if let Some(later) = tear(segment.header.salt, at, &rest) {
        let what = format!("{what}, though a frame that was written later is sound at byte {later}");
        return Err(Error::Corrupt { file: segment.path.clone(), at, what });
    }
    metrics::torn_bytes(end - at);
    tracing::warn!(file = %segment.path.display(), at, bytes = end - at, reason = what, "cut an unfinished write off the end of the journal");
    Ok(())
}
