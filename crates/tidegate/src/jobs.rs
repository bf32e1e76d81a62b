//! Work that takes long, told in the data folder: what it is, how far it is, and what came of it.
//!
//! Whoever does such work writes a file of its own below `jobs`, and holds a lock beside it for as long as it runs. So the console shows what was begun at any command line with this data
//! folder, and knows of a process that was killed that it is gone.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use ::console::pages::jobs::State;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use telemetry::clock::{Clock as _, SystemClock};

const FOLDER: &str = "jobs";
/// How often the file is written while the work goes on.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Jobs that are remembered.
const JOBS_MAX: usize = 100;
/// Characters of what came of it that are kept.
const OUTCOME_CHARS_MAX: usize = 2_000;
/// The largest file that is taken for a job's.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// The variable by which a process is told under which id it is to tell of itself.
pub(crate) const ID_VARIABLE: &str = "TIDEGATE_JOB_ID";
/// The variable that says who began it.
pub(crate) const BY_VARIABLE: &str = "TIDEGATE_JOB_BY";

/// The newest version of what jobs tell that this program reads, and the one that it writes. A file without one is of version 1; one that is newer is not shown.
const VERSION: u64 = 1;

/// What every version of a job's file has.
#[derive(Debug, Deserialize)]
struct Mark {
    version: Option<u64>,
}

/// What a job tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    #[serde(default)]
    pub(crate) id: String,
    /// The command, without what is secret in it.
    pub(crate) command: String,
    /// Who began it; nothing for whoever is at the command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    /// When it began, in microseconds since 1970.
    pub(crate) began: i64,
    /// When it was last heard of.
    pub(crate) heard: i64,
    pub(crate) state: State,
    /// What it is at, or what came of it.
    pub(crate) what: String,
    /// How much of that is done, in millionths, where it can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) done: Option<u32>,
}

/// A job in this process. What cannot be told of it does not stop it.
#[derive(Debug)]
pub(crate) struct Job {
    telling: Option<Telling>,
}

#[derive(Debug)]
struct Telling {
    end: Sender<(State, String)>,
    thread: JoinHandle<()>,
}

/// A new id: later ones are greater.
pub(crate) fn new_id() -> String {
    format!("{:016x}-{:x}", SystemClock.now_micros(), std::process::id())
}

impl Job {
    /// Tells of work that begins, in a data folder that is there. How far it is, is what the bar says.
    pub(crate) fn begin(data: &Path, command: String, bar: &ProgressBar) -> Self {
        let id = std::env::var(ID_VARIABLE).ok().filter(|id| is_id(id)).unwrap_or_else(new_id);
        let telling = data.is_dir().then(|| Telling::begin(&data.join(FOLDER), id, command, bar.clone()));
        let told = telling.transpose().inspect_err(|error| tracing::debug!(%error, "of this job nothing can be told"));
        Self { telling: told.unwrap_or_default() }
    }

    /// Tells what came of it.
    pub(crate) fn end(self, outcome: Result<&str, &anyhow::Error>) {
        let Some(Telling { end, thread }) = self.telling else { return };
        let last = match outcome {
            Ok(what) => (State::Done, what.to_owned()),
            Err(error) => (State::Failed, format!("{error:#}")),
        };
        if end.send(last).is_ok() && thread.join().is_err() {
            tracing::debug!("what came of this job was not told");
        }
    }
}

impl Telling {
    fn begin(folder: &Path, id: String, command: String, bar: ProgressBar) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        forget_old(folder);
        // Locked until this process ends, however it ends.
        let lock = File::create(lock_path(folder, &id))?;
        lock.try_lock()?;
        let now = SystemClock.now_micros();
        let by = std::env::var(BY_VARIABLE).ok();
        let mut told = Told { id, command, by, began: now, heard: now, state: State::Running, what: String::new(), done: None };
        write(folder, &told)?;
        let (end, ended) = mpsc::channel::<(State, String)>();
        let folder = folder.to_owned();
        let thread = std::thread::Builder::new().name("job".to_owned()).spawn(move || {
            let _lock = lock;
            loop {
                match ended.recv_timeout(TELL_EVERY) {
                    Err(RecvTimeoutError::Timeout) => look(&mut told, &bar),
                    Ok((state, what)) => {
                        let what = what.chars().take(OUTCOME_CHARS_MAX).collect();
                        (told.state, told.what, told.done, told.heard) = (state, what, None, SystemClock.now_micros());
                    }
                    // It was left without a word, such as by a panic: the lock tells.
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                if let Err(error) = write(&folder, &told) {
                    tracing::debug!(%error, "how far this job is cannot be told");
                }
                if told.state != State::Running {
                    return;
                }
            }
        })?;
        Ok(Self { end, thread })
    }
}

fn look(told: &mut Told, bar: &ProgressBar) {
    let share = |length: u64| (bar.position().min(length) as f64 / length as f64 * 1e6) as u32;
    told.what = bar.message();
    told.done = bar.length().filter(|length| *length > 0 && bar.position() > 0).map(share);
    told.heard = SystemClock.now_micros();
}

/// The jobs of a data folder, newest first.
pub(crate) fn list(data: &Path) -> io::Result<Vec<Told>> {
    let folder = data.join(FOLDER);
    let mut jobs: Vec<Told> = ids(&folder)?.iter().filter_map(|id| read(&folder, id)).collect();
    jobs.sort_unstable_by(|one, other| other.id.cmp(&one.id));
    jobs.truncate(JOBS_MAX);
    Ok(jobs)
}

/// Notes what became of a job that could not tell of itself.
pub(crate) fn note(data: &Path, told: &Told) -> io::Result<()> {
    let folder = data.join(FOLDER);
    fs::create_dir_all(&folder)?;
    write(&folder, told)
}

fn read(folder: &Path, id: &str) -> Option<Told> {
    let path = path(folder, id);
    if fs::metadata(&path).ok()?.len() > FILE_BYTES_MAX {
        return None;
    }
    let text = fs::read(&path).ok()?;
    if let Ok(Mark { version: Some(found) }) = serde_json::from_slice(&text)
        && found > VERSION
    {
        tracing::debug!(file = %path.display(), found, "a newer Tidegate tells of a job, which this one does not understand");
        return None;
    }
    let mut told: Told = serde_json::from_slice(&text).ok()?;
    id.clone_into(&mut told.id);
    if told.state == State::Running && is_gone(folder, id) {
        told.state = State::BrokenOff;
    }
    Some(told)
}

/// Whether nobody has the lock of a job.
fn is_gone(folder: &Path, id: &str) -> bool {
    File::open(lock_path(folder, id)).is_ok_and(|lock| lock.try_lock_shared().is_ok())
}

fn ids(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.strip_suffix(".json").filter(|id| is_id(id)).map(str::to_owned)).collect())
}

fn forget_old(folder: &Path) {
    let Ok(mut ids) = ids(folder) else { return };
    ids.sort_unstable();
    for id in ids.iter().rev().skip(JOBS_MAX - 1).filter(|id| is_gone(folder, id)) {
        for path in [path(folder, id), lock_path(folder, id)] {
            if let Err(error) = fs::remove_file(path) {
                tracing::debug!(%error, "an old job is not forgotten");
            }
        }
    }
}

fn write(folder: &Path, told: &Told) -> io::Result<()> {
    let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
    fresh.write_all(&serde_json::to_vec(told)?)?;
    fresh.persist(path(folder, &told.id))?;
    Ok(())
}

fn path(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.json"))
}

fn lock_path(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.lock"))
}

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(data: &Path) -> Told {
        let jobs = list(data).unwrap();
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        jobs[0].clone()
    }

    #[test]
    fn a_job_is_told_of_while_it_runs_and_after() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(list(folder.path()).unwrap(), []);
        let bar = ProgressBar::hidden();
        bar.set_length(8);
        let job = Job::begin(folder.path(), "replay".to_owned(), &bar);
        assert_eq!((only(folder.path()).state, only(folder.path()).done), (State::Running, None));
        bar.set_position(2);
        bar.set_message("sorting");
        let began = std::time::Instant::now();
        while only(folder.path()).done != Some(250_000) {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", only(folder.path()));
            std::thread::sleep(TELL_EVERY / 5);
        }
        assert_eq!(only(folder.path()).what, "sorting");
        job.end(Err(&anyhow::anyhow!("no room")));
        let told = only(folder.path());
        assert_eq!((told.state, told.what.as_str(), told.done), (State::Failed, "no room", None));
    }

    #[test]
    fn one_that_is_gone_is_broken_off() {
        let folder = tempfile::tempdir().unwrap();
        let job = Job::begin(folder.path(), "backfill".to_owned(), &ProgressBar::hidden());
        let Job { telling: Some(Telling { end, thread }) } = job else { panic!("nothing is told") };
        drop(end);
        thread.join().unwrap();
        assert_eq!(only(folder.path()).state, State::BrokenOff);
    }

    #[test]
    fn only_so_many_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = folder.path().join(FOLDER);
        for number in 0..JOBS_MAX + 5 {
            let id = format!("{number:016x}-1");
            let telling = Telling::begin(&jobs, id, "replay".to_owned(), ProgressBar::hidden()).unwrap();
            Job { telling: Some(telling) }.end(Ok("done"));
        }
        let ids = ids(&jobs).unwrap();
        assert_eq!((ids.len(), ids.iter().min().map(String::as_str)), (JOBS_MAX, Some("0000000000000005-1")));
        // What does not lie there as a job's is left alone.
        fs::write(jobs.join("ff.json"), "{").unwrap();
        fs::write(jobs.join("..json"), "{}").unwrap();
        let last = jobs.join("0000000000000006-1.json");
        let sound = fs::read_to_string(&last).unwrap();
        fs::write(&last, sound.replacen('{', r#"{"version":2,"#, 1)).unwrap();
        assert_eq!(list(folder.path()).unwrap().len(), JOBS_MAX - 1, "one of a newer version is not shown");
        fs::write(&last, sound.replacen('{', r#"{"host":"a later program's","#, 1)).unwrap();
        assert_eq!(list(folder.path()).unwrap().len(), JOBS_MAX);
    }
}
