//! The thread that sends: batch by batch, from the queue or from the spool, until each is answered.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use crate::answers::{Fate, Meaning, meaning, pause};
use crate::clock::{Deadline, micros, now, time_text};
use crate::config::Config;
use crate::engine::{Engine, is_idle};
use crate::spool;
use crate::state::{Cut, OPTED_OUT, Queued, State};
use crate::stats::{Outcome, Reason};

/// Until the client is closed.
pub(crate) fn run(engine: &Engine) {
    {
        let mut state = engine.lock();
        if let Some(sending) = state.sending.take() {
            // It was being sent when this thread failed.
            state.batches.push_front(Cut::Batch(sending));
        }
    }
    while let Some(batch) = next_batch(engine) {
        deliver(engine, batch);
    }
}

/// Which one is to be sent; nothing at the end.
fn next_batch(engine: &Engine) -> Option<u64> {
    loop {
        engine.tell();
        let mut state = engine.lock();
        if state.is_over {
            return None;
        }
        match state.batches.pop_front() {
            Some(Cut::Batch(batch)) => {
                let id = batch.id;
                state.sending = Some(batch);
                return Some(id);
            }
            Some(Cut::File(file)) => {
                state.batches.push_front(Cut::File(file.clone()));
                drop(state);
                load(engine, &file);
            }
            None => match until_due(&state, &engine.config) {
                Some(Duration::ZERO) => {
                    let events = cut(&mut state, &engine.config);
                    let batch = state.batch(events, None, false);
                    let id = batch.id;
                    state.sending = Some(batch);
                    engine.notify_all();
                    return Some(id);
                }
                _ if state.is_closing && is_idle(&state) => return None,
                _ if state.has_news() => {}
                due => drop(engine.wait_for_work(state, due)),
            },
        }
    }
}

/// Reads the file that is first among the batches into its place.
fn load(engine: &Engine, file: &spool::File) {
    let read = spool::read(file);
    let mut state = engine.lock();
    if !matches!(state.batches.front(), Some(Cut::File(first)) if first == file) {
        // It was thrown away meanwhile.
        return;
    }
    state.batches.pop_front();
    match read {
        Ok((events, torn)) => {
            state.stats.torn += torn;
            if events.is_empty() {
                state.remove(Some(&file.path));
            } else {
                let batch = state.batch(events, Some(file.path.clone()), true);
                state.batches.push_front(Cut::Batch(batch));
            }
        }
        Err(error) => state.warn(format!("file {}", file.path.display()), || {
            format!("{} cannot be read, its events are left there for the next start: {error}", file.path.display())
        }),
    }
    engine.notify_all();
}

/// Until what is queued is a batch; nothing where there is none.
fn until_due(state: &State, config: &Config) -> Option<Duration> {
    if state.queue.is_empty() || (state.spool.is_some() && !state.is_spool_failing) {
        return None;
    }
    let is_full = state.queue.len() >= config.due_events() || state.queued_bytes >= config.due_bytes();
    if is_full || state.hurry > 0 || state.is_closing {
        return Some(Duration::ZERO);
    }
    Some(config.batch_interval.saturating_sub(state.oldest_at.elapsed()))
}

fn cut(state: &mut State, config: &Config) -> Vec<Queued> {
    let mut events = Vec::new();
    let mut bytes = 0;
    while events.len() < config.batch_events_max
        && let Some(next) = state.queue.front()
    {
        if !events.is_empty() && bytes + next.payload.len() > config.batch_bytes_max {
            break;
        }
        bytes += next.payload.len();
        events.extend(state.queue.pop_front());
    }
    state.queued_bytes -= bytes;
    state.oldest_at = Instant::now();
    events
}

fn deliver(engine: &Engine, batch: u64) {
    let mut retry_after = None;
    while let Some((events, attempt)) = next_attempt(engine, batch, retry_after.take()) {
        let sent_at = time_text(micros(now())).unwrap_or_default();
        match engine.transport.post(&events, &sent_at, attempt) {
            Ok(answer) => {
                let told = meaning(events.len(), answer.status, &answer.body, answer.retry_after.as_deref());
                if let Meaning::Each { retry_after: seconds, .. } = &told {
                    retry_after = *seconds;
                }
                settle(engine, batch, &events, told, answer.status);
            }
            Err(error) => {
                engine.lock().warn("unanswered", || format!("{} gives no answer, events wait: {error}", engine.url));
            }
        }
    }
}

/// Waits until it is time, and tells what is to be sent, and how many attempts there were before. Nothing: there will be no further attempt.
fn next_attempt(engine: &Engine, batch: u64, retry_after: Option<u64>) -> Option<(Arc<Vec<Queued>>, u32)> {
    let mut wait: Option<Deadline> = None;
    loop {
        engine.tell();
        let mut state: MutexGuard<'_, State> = engine.lock();
        let is_over = state.is_over;
        let sending = state.sending(batch).filter(|_| !is_over)?;
        let attempt = sending.attempt;
        if attempt > 0 && sending.is_thrown_away {
            if let Some(sending) = state.sending.take() {
                state.abandon_batch(&sending, OPTED_OUT);
            }
            engine.notify_all();
            return None;
        }
        let left = wait.get_or_insert_with(|| Deadline::after(pause(attempt, retry_after, random()))).left();
        if left.is_zero() {
            sending.attempt += 1;
            let events = Arc::clone(&sending.events);
            state.stats.retries += u64::from(attempt > 0);
            return Some((events, attempt));
        }
        drop(engine.wait_for_work(state, Some(left)));
    }
}

/// Counts what an answer says.
fn settle(engine: &Engine, batch: u64, events: &[Queued], told: Meaning, status: u16) {
    let mut outcomes = Vec::new();
    {
        let mut state = engine.lock();
        let Some(sending) = state.sending(batch) else {
            // It was given up while the answer was on its way.
            return;
        };
        let mut fates: VecDeque<Fate> = match told {
            Meaning::Each { fates, .. } => fates.into(),
            Meaning::Split if events.len() == 1 => VecDeque::new(),
            // It ends with the next attempt, which there will not be.
            Meaning::Split if sending.is_thrown_away => vec![Fate::Again; events.len()].into(),
            Meaning::Split => {
                halve(&mut state, events);
                engine.notify_all();
                return;
            }
        };
        let mut left = Vec::new();
        for event in events {
            let outcome = match fates.pop_front() {
                Some(Fate::Delivered) => Outcome::Delivered,
                Some(Fate::Rejected(why)) => Outcome::Rejected(why),
                Some(Fate::Again) => {
                    left.push(event.clone());
                    continue;
                }
                None => Outcome::Dropped(Reason { code: "too_large".into(), message: "the gate takes no event of this size".into() }),
            };
            state.outcome(&mut outcomes, event, outcome);
        }
        if left.is_empty() {
            if let Some(sending) = state.sending.take() {
                state.remove(sending.file.as_ref());
            }
        } else {
            state.warn("again", || format!("{} answers {status}, events wait", engine.url));
            if let Some(sending) = state.sending(batch) {
                sending.events = Arc::new(left);
            }
        }
        engine.notify_all();
    }
    engine.tell_of(outcomes);
}

/// Puts the halves of what is being sent before all else.
fn halve(state: &mut State, events: &[Queued]) {
    let Some(sending) = state.sending.take() else { return };
    let (first, second) = events.split_at(events.len() / 2);
    // The file goes with the half that is sent last.
    let second = state.batch(second.to_vec(), sending.file, sending.is_spooled);
    let first = state.batch(first.to_vec(), None, sending.is_spooled);
    state.batches.push_front(Cut::Batch(second));
    state.batches.push_front(Cut::Batch(first));
}

/// In [0, 1).
fn random() -> f64 {
    // Without a source of randomness, half of it: better than no pause at all.
    getrandom::u32().map_or(0.5, |bits| f64::from(bits) / 2_f64.powi(32))
}
