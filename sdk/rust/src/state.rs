//! What the calls and the threads of a client share, and what may be done to it. One lock is over all of it.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::spool::{File, Spool};
use crate::stats::{Delivery, Outcome, Reason, Stats};

/// Between two warnings of one kind: an application must not drown in them.
const LOG_PAUSE: Duration = Duration::from_secs(60);
/// Kinds of warnings that are told apart; beyond, all are logged again.
const KINDS_MAX: usize = 1_000;
/// Drops that wait to be told to `on_delivery`.
const UNTOLD_MAX: usize = 10_000;
/// Greater than the number of any event.
pub(crate) const NONE: u64 = u64::MAX;

/// Why events are dropped that nothing is wrong with: a code, and what it says.
pub(crate) type Why = (&'static str, &'static str);
pub(crate) const CLOSED: Why = ("closed", "the client was closed before it could be sent");
pub(crate) const OPTED_OUT: Why = ("opted_out", "the client was switched off");

/// One event.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    /// In this process, from 1 on; 0 where it is of an earlier one.
    pub(crate) number: u64,
    pub(crate) event_id: String,
    /// Its JSON without the brace at the end.
    pub(crate) payload: Vec<u8>,
}

/// The payloads of several, together.
pub(crate) fn bytes_of<'a>(events: impl IntoIterator<Item = &'a Queued>) -> usize {
    events.into_iter().map(|event| event.payload.len()).sum()
}

/// What is sent in one request.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// It is known by this after the lock was given up.
    pub(crate) id: u64,
    /// In the order of their numbers.
    pub(crate) events: Arc<Vec<Queued>>,
    /// What is to be removed when the last of them is answered.
    pub(crate) file: Option<PathBuf>,
    pub(crate) is_spooled: bool,
    /// No further attempt is to be made.
    pub(crate) is_thrown_away: bool,
    pub(crate) attempt: u32,
}

impl Batch {
    /// The number of its oldest event of this process.
    fn first(&self) -> Option<u64> {
        self.events.iter().map(|event| event.number).find(|number| *number > 0)
    }
}

/// Cut, and not begun.
#[derive(Debug)]
pub(crate) enum Cut {
    /// As the halves of a batch that was too large.
    Batch(Batch),
    /// Of the spool.
    File(File),
}

/// The file of the spool that is being written.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) file: File,
    pub(crate) bytes: u64,
}

/// Of one client. Each method is called with the lock held.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) stats: Stats,
    pub(crate) queue: VecDeque<Queued>,
    /// Of the queue, and of what is being written.
    pub(crate) queued_bytes: usize,
    /// When the first of those in the queue came.
    pub(crate) oldest_at: Instant,
    /// Taken from the queue, and not on disk yet.
    pub(crate) writing: Arc<Vec<Queued>>,
    pub(crate) open: Option<Open>,
    pub(crate) batches: VecDeque<Cut>,
    pub(crate) sending: Option<Batch>,
    /// None also after it was closed.
    pub(crate) spool: Option<Arc<Spool>>,
    pub(crate) is_spool_failing: bool,
    /// The number of the last event when all was thrown away.
    pub(crate) thrown_away: u64,
    /// How many wait for a flush or a sync.
    pub(crate) hurry: usize,
    pub(crate) is_closing: bool,
    pub(crate) is_over: bool,
    /// Those that run.
    pub(crate) threads: Vec<ThreadId>,
    pub(crate) is_started: bool,
    untold: VecDeque<Delivery>,
    /// Warnings that are not logged yet: nothing of the application's, such as a subscriber of `tracing`, is called with the lock held.
    unlogged: Vec<String>,
    warned: HashMap<Cow<'static, str>, Instant>,
    /// Whether there is somebody to tell.
    tells: bool,
    batch_id: u64,
}

impl State {
    pub(crate) fn new(config: &Config, tells: bool) -> Self {
        Self {
            stats: Stats::default(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            oldest_at: Instant::now(),
            writing: Arc::default(),
            open: None,
            batches: VecDeque::new(),
            sending: None,
            spool: config.spool.clone().map(|path| Arc::new(Spool::new(path, config.spool_bytes_max))),
            is_spool_failing: false,
            thrown_away: 0,
            hurry: 0,
            is_closing: false,
            is_over: false,
            threads: Vec::new(),
            is_started: false,
            untold: VecDeque::new(),
            unlogged: Vec::new(),
            warned: HashMap::new(),
            tells,
            batch_id: 0,
        }
    }

    /// Of these events, of which the sender has to do with one after the other.
    pub(crate) fn batch(&mut self, events: Vec<Queued>, file: Option<PathBuf>, is_spooled: bool) -> Batch {
        self.batch_id += 1;
        Batch { id: self.batch_id, events: Arc::new(events), file, is_spooled, is_thrown_away: false, attempt: 0 }
    }

    /// The batch that is being sent, if it is still this one.
    pub(crate) fn sending(&mut self, id: u64) -> Option<&mut Batch> {
        self.sending.as_mut().filter(|batch| batch.id == id)
    }

    /// Counts an event that is given up.
    pub(crate) fn drop_event(&mut self, event_id: String, (code, message): Why) {
        self.end_event(event_id, Outcome::Dropped(Reason { code: code.into(), message: message.into() }));
    }

    /// Counts an event that ends without having been sent, and keeps it to be told.
    pub(crate) fn end_event(&mut self, event_id: String, outcome: Outcome) {
        self.count(&event_id, &outcome);
        if self.tells {
            if self.untold.len() == UNTOLD_MAX {
                self.untold.pop_front();
            }
            self.untold.push_back(Delivery { event_id, outcome });
        }
    }

    /// Counts what became of an event that was sent.
    pub(crate) fn outcome(&mut self, outcomes: &mut Vec<Delivery>, event: &Queued, outcome: Outcome) {
        if event.number == 0 {
            self.stats.recovered += 1;
        } else {
            self.count(&event.event_id, &outcome);
        }
        if self.tells {
            outcomes.push(Delivery { event_id: event.event_id.clone(), outcome });
        }
    }

    fn count(&mut self, event_id: &str, outcome: &Outcome) {
        let (end, why) = match outcome {
            Outcome::Delivered => {
                self.stats.delivered += 1;
                return;
            }
            Outcome::Rejected(why) => {
                self.stats.count_rejected(&why.code);
                ("rejected", why)
            }
            Outcome::Dropped(why) => {
                self.stats.count_dropped(&why.code, 1);
                ("dropped", why)
            }
        };
        let Reason { code, message } = why;
        self.warn(format!("{end} {code}"), || {
            let event = if event_id.is_empty() { "an event".to_owned() } else { format!("event {event_id}") };
            format!("{event} was {end} ({code}): {message}")
        });
    }

    /// Drops what is queued; also what is spooled, or else what is on its way and nowhere else.
    pub(crate) fn abandon(&mut self, why: Why, keeps_spool: bool) {
        for event in std::mem::take(&mut self.queue) {
            self.drop_event(event.event_id, why);
        }
        self.queued_bytes = bytes_of(self.writing.iter());
        for cut in std::mem::take(&mut self.batches) {
            let is_spooled = match &cut {
                Cut::Batch(batch) => batch.is_spooled,
                Cut::File(_) => true,
            };
            match cut {
                cut if is_spooled && keeps_spool => self.batches.push_back(cut),
                Cut::Batch(batch) => self.abandon_batch(&batch, why),
                Cut::File(file) => self.abandon_file(&file, why),
            }
        }
        if keeps_spool && let Some(sending) = self.sending.take() {
            // The thread that sends finds that this is no longer its batch.
            if sending.is_thrown_away {
                self.abandon_batch(&sending, OPTED_OUT);
            } else if !sending.is_spooled {
                self.abandon_batch(&sending, why);
            }
        }
    }

    /// Drops the events of a batch, and removes its file.
    pub(crate) fn abandon_batch(&mut self, batch: &Batch, why: Why) {
        for event in batch.events.iter().filter(|event| event.number > 0) {
            self.drop_event(event.event_id.clone(), why);
        }
        self.remove(batch.file.as_ref());
    }

    /// The same of a file: the ids are on disk only, so the events are counted, and not told one by one.
    pub(crate) fn abandon_file(&mut self, file: &File, why: Why) {
        if file.events > 0 {
            self.stats.count_dropped(why.0, file.events);
        }
        self.remove(Some(&file.path));
    }

    /// The events of a file are settled.
    pub(crate) fn remove(&self, file: Option<&PathBuf>) {
        if let (Some(file), Some(spool)) = (file, &self.spool) {
            spool.remove(file);
        }
    }

    /// The number of the oldest event that is neither delivered, rejected nor dropped; [`NONE`] where there is none.
    pub(crate) fn first_unsettled(&self) -> u64 {
        let cut = self.batches.iter().filter_map(|cut| match cut {
            Cut::Batch(batch) => batch.first(),
            Cut::File(file) => (file.events > 0).then_some(file.first),
        });
        let sending = self.sending.as_ref().and_then(Batch::first);
        let open = self.open.as_ref().map(|open| open.file.first);
        cut.chain(sending).chain(open).chain(self.first_in_memory()).min().unwrap_or(NONE)
    }

    /// Whether all events up to this number are on disk or settled.
    pub(crate) fn is_synced(&self, through: u64) -> bool {
        let cut = self.batches.iter().filter_map(|cut| match cut {
            Cut::Batch(batch) => Some(batch),
            Cut::File(_) => None,
        });
        let unspooled = cut.chain(&self.sending).filter(|batch| !batch.is_spooled).filter_map(Batch::first);
        unspooled.chain(self.first_in_memory()).all(|number| number > through)
    }

    fn first_in_memory(&self) -> impl Iterator<Item = u64> + '_ {
        self.writing.first().into_iter().chain(self.queue.front()).map(|event| event.number)
    }

    /// Whether the queue has no room for an event of so many bytes.
    pub(crate) fn is_full_with(&self, bytes: usize, config: &Config) -> bool {
        self.queue.len() + self.writing.len() >= config.queue_events_max || self.queued_bytes + bytes > config.queue_bytes_max
    }

    /// Logs, but not too often.
    pub(crate) fn warn(&mut self, kind: impl Into<Cow<'static, str>>, message: impl FnOnce() -> String) {
        let kind = kind.into();
        if self.warned.get(&kind).is_some_and(|last| last.elapsed() < LOG_PAUSE) {
            return;
        }
        if self.warned.len() >= KINDS_MAX {
            self.warned.clear();
        }
        self.warned.insert(kind, Instant::now());
        self.unlogged.push(message());
    }

    /// Whether the thread that sends has something to say.
    pub(crate) fn has_news(&self) -> bool {
        !self.untold.is_empty() || !self.unlogged.is_empty()
    }

    /// What it has to say: warnings, and drops.
    pub(crate) fn take_news(&mut self) -> (Vec<String>, VecDeque<Delivery>) {
        (std::mem::take(&mut self.unlogged), std::mem::take(&mut self.untold))
    }
}
