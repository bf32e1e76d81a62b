//! The thread that writes the spool: from the queue to files, each of which is a batch when it is cut.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::spool::{File, Pen, Spool};
use crate::state::{CLOSED, Cut, OPTED_OUT, Open, Queued, State, bytes_of};

/// After the spool could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// What it knows besides.
#[derive(Debug)]
pub(crate) struct Writer {
    spool: Arc<Spool>,
    pen: Pen,
    has_adopted: bool,
    /// When the file that is written to was begun.
    opened_at: Instant,
    /// When the spool could not be written.
    failed_at: Option<Instant>,
}

impl Writer {
    pub(crate) fn new(spool: Arc<Spool>) -> Self {
        Self { pen: Pen::new(Arc::clone(&spool)), spool, has_adopted: false, opened_at: Instant::now(), failed_at: None }
    }

    /// Until the client is closed.
    pub(crate) fn run(&mut self, engine: &Engine) {
        {
            let mut state = engine.lock();
            // It was being written when this thread failed.
            let writing = std::mem::take(&mut state.writing);
            state.queued_bytes -= bytes_of(writing.iter());
            put_back(&mut state, &writing);
            if let Some(file) = self.cut(&mut state) {
                state.batches.push_back(Cut::File(file));
            }
        }
        if !self.has_adopted {
            self.has_adopted = true;
            self.adopt(engine);
        }
        while let Some(events) = self.gather(engine) {
            self.append(engine, &events);
        }
    }

    /// Takes on what earlier processes left.
    fn adopt(&self, engine: &Engine) {
        let found = self.spool.adopt();
        let mut state = engine.lock();
        match found {
            Ok(files) => state.batches.extend(files.into_iter().map(Cut::File)),
            Err(error) => state.warn("adopt", || format!("what earlier processes left in the spool cannot be read: {error}")),
        }
        engine.notify_all();
    }

    /// Waits until there is something to write, or a file to cut. Nothing: it is over.
    fn gather(&mut self, engine: &Engine) -> Option<Arc<Vec<Queued>>> {
        let config = &engine.config;
        let mut state = engine.lock();
        loop {
            if state.is_over {
                return None;
            }
            self.throw_away_open(engine, &mut state);
            // After a failure the queue is the sender's for a while; at the end, for good.
            let rest = self.rest();
            if state.open.is_some() && (state.hurry > 0 || state.is_closing) {
                break;
            }
            if state.is_closing && (state.queue.is_empty() || state.is_spool_failing) {
                return None;
            }
            if !state.queue.is_empty() && rest.is_zero() {
                break;
            }
            let due = state.open.is_some().then(|| config.batch_interval.saturating_sub(self.opened_at.elapsed()));
            if due == Some(Duration::ZERO) {
                break;
            }
            let wait = due.into_iter().chain((!rest.is_zero()).then_some(rest)).min();
            state = engine.wait_for_work(state, wait);
        }
        let began = Instant::now();
        while !(state.queue.is_empty() || state.is_over || state.hurry > 0 || state.is_closing) {
            let left = config.spool_interval.saturating_sub(began.elapsed());
            if left.is_zero() {
                break;
            }
            state = engine.wait_for_work(state, Some(left));
        }
        if state.is_over {
            return None;
        }
        let takes = if self.rest().is_zero() { state.queue.len().min(config.batch_events_max) } else { 0 };
        state.writing = Arc::new(state.queue.drain(..takes).collect());
        Some(Arc::clone(&state.writing))
    }

    /// How long the spool is left alone.
    fn rest(&self) -> Duration {
        self.failed_at.map_or(Duration::ZERO, |at| RETRY.saturating_sub(at.elapsed()))
    }

    /// What was thrown away while it was being written is in the open file.
    fn throw_away_open(&mut self, engine: &Engine, state: &mut State) {
        if state.open.as_ref().is_some_and(|open| open.file.first <= state.thrown_away)
            && let Some(file) = self.cut(state)
        {
            state.abandon_file(&file, OPTED_OUT);
            engine.notify_all();
        }
    }

    fn cut(&mut self, state: &mut State) -> Option<File> {
        self.pen.end();
        state.open.take().map(|open| open.file)
    }

    fn append(&mut self, engine: &Engine, events: &[Queued]) {
        let config = &engine.config;
        let written = if events.is_empty() { None } else { Some(self.pen.append(events)) };
        let mut state = engine.lock();
        let begins = state.open.is_none();
        state.writing = Arc::default();
        state.queued_bytes -= bytes_of(events);
        let mut has_failed = false;
        match written {
            None => {}
            Some(Ok((path, bytes))) => {
                state.is_spool_failing = false;
                if begins {
                    self.opened_at = Instant::now();
                }
                took(&mut state, events, path, bytes);
            }
            Some(Err(error)) => {
                has_failed = true;
                state.is_spool_failing = true;
                self.failed_at = Some(Instant::now());
                not_written(&mut state, events, &error);
            }
        }
        let is_full = state
            .open
            .as_ref()
            .is_some_and(|open| open.file.events >= config.batch_events_max as u64 || open.bytes >= config.batch_bytes_max as u64);
        let is_due = self.opened_at.elapsed() >= config.batch_interval;
        if (has_failed || is_full || is_due || state.hurry > 0 || state.is_closing)
            && let Some(file) = self.cut(&mut state)
        {
            state.batches.push_back(Cut::File(file));
        } else if has_failed {
            self.pen.end();
        }
        engine.notify_all();
    }
}

fn took(state: &mut State, events: &[Queued], path: PathBuf, bytes: u64) {
    let Some(first) = events.first() else { return };
    let open = state.open.get_or_insert(Open { file: File { path, events: 0, first: first.number }, bytes: 0 });
    open.file.events += events.len() as u64;
    open.bytes = bytes;
}

fn not_written(state: &mut State, events: &[Queued], error: &io::Error) {
    state.stats.spool_errors += 1;
    state.warn("spool", || format!("the spool cannot be written, events are sent from memory: {error}"));
    if state.is_over {
        for event in events {
            state.drop_event(event.event_id.clone(), CLOSED);
        }
    } else {
        put_back(state, events);
    }
}

/// To where they came from; but what was thrown away meanwhile must not be sent.
fn put_back(state: &mut State, events: &[Queued]) {
    for event in events.iter().rev() {
        if event.number <= state.thrown_away {
            state.drop_event(event.event_id.clone(), OPTED_OUT);
        } else {
            state.queued_bytes += event.payload.len();
            state.queue.push_front(event.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_was_thrown_away_while_it_could_not_be_written_is_not_put_back() {
        let mut state = State::new(&Config::default(), true);
        let event = |number: u64| Queued { number, event_id: number.to_string(), payload: vec![0; 10] };
        state.stats.tracked = 4;
        state.queue.push_back(event(4));
        state.queued_bytes = 10;
        state.thrown_away = 2;
        not_written(&mut state, &[event(1), event(2), event(3)], &io::Error::other("the disk is full"));
        assert_eq!(state.queue.iter().map(|event| event.number).collect::<Vec<_>>(), [3, 4]);
        let stats = state.stats.snapshot();
        assert_eq!((state.queued_bytes, stats.dropped_by["opted_out"], stats.pending, stats.spool_errors), (20, 2, 2, 1));
    }
}
