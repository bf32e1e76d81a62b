//! What goes on behind the calls of a client: a bounded queue, and the threads that empty it. One sends; where there is a spool, another one writes it.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::clock::Deadline;
use crate::config::{Config, WhenFull};
use crate::sender;
use crate::state::{CLOSED, NONE, OPTED_OUT, Queued, State, Why};
use crate::stats::{Delivery, Outcome, Stats};
use crate::transport::Transport;
use crate::writer::Writer;

const FAULT_PAUSE: Duration = Duration::from_secs(1);
/// For a thread that has nothing left to do.
const END: Duration = Duration::from_millis(100);
const QUEUE_FULL: Why = ("queue_full", "the queue is full");
const OVERTAKEN: Why = ("queue_full", "newer events needed its place in the queue");
const CLOSED_BEFORE: Why = ("closed", "the client is closed");

/// The application's, told what became of each event.
pub(crate) type OnDelivery = Box<dyn Fn(Delivery) + Send + Sync>;

/// What the calls and the threads share.
pub(crate) struct Engine {
    pub(crate) config: Config,
    pub(crate) transport: Transport,
    /// Where it sends to, for people.
    pub(crate) url: String,
    on_delivery: Option<OnDelivery>,
    state: Mutex<State>,
    /// There may be something for a thread to do.
    work: Condvar,
    /// There may be room in the queue.
    room: Condvar,
    /// Events may have been settled, or be on disk; or a thread has ended.
    done: Condvar,
}

impl Engine {
    pub(crate) fn new(config: Config, transport: Transport, url: String, on_delivery: Option<OnDelivery>) -> Self {
        let state = Mutex::new(State::new(&config, on_delivery.is_some()));
        Self { config, transport, url, on_delivery, state, work: Condvar::new(), room: Condvar::new(), done: Condvar::new() }
    }

    /// Starts the threads, if they are not running yet.
    pub(crate) fn start(self: &Arc<Self>) {
        self.start_with(&mut self.lock());
    }

    /// Takes an event into the queue, or drops one as the policy says. False: it was this one.
    pub(crate) fn put(self: &Arc<Self>, event_id: String, payload: Vec<u8>) -> bool {
        let bytes = payload.len();
        let mut state = self.lock();
        state.stats.tracked += 1;
        let number = state.stats.tracked;
        if state.is_closing || state.is_full_with(bytes, &self.config) {
            let why;
            (state, why) = self.make_room(state, bytes);
            if let Some(why) = why {
                state.drop_event(event_id, why);
                self.tell_soon(&mut state);
                return false;
            }
        }
        let (events, before) = (state.queue.len(), state.queued_bytes);
        state.queue.push_back(Queued { number, event_id, payload });
        state.queued_bytes += bytes;
        if events == 0 {
            state.oldest_at = Instant::now();
        }
        if !state.is_started {
            self.start_with(&mut state);
        }
        let due_bytes = self.config.due_bytes();
        // The threads look by themselves when a batch is due by time.
        if events == 0 || events + 1 == self.config.due_events() || (before < due_bytes && due_bytes <= state.queued_bytes) {
            self.work.notify_all();
        }
        true
    }

    /// Counts an event that ended in its call.
    pub(crate) fn refuse(self: &Arc<Self>, event_id: String, outcome: Outcome) {
        let mut state = self.lock();
        state.stats.tracked += 1;
        state.end_event(event_id, outcome);
        self.tell_soon(&mut state);
    }

    /// Counts a call while the client is switched off.
    pub(crate) fn suppress(&self) {
        self.lock().stats.suppressed += 1;
    }

    /// Logs, but not too often.
    pub(crate) fn warn(self: &Arc<Self>, kind: impl Into<Cow<'static, str>>, message: impl FnOnce() -> String) {
        let mut state = self.lock();
        state.warn(kind, message);
        self.tell_soon(&mut state);
    }

    /// The counts.
    pub(crate) fn stats(&self) -> Stats {
        self.lock().stats.snapshot()
    }

    /// Waits until all that was tracked before is settled; false where the deadline is earlier.
    pub(crate) fn flush(&self, deadline: Deadline) -> bool {
        let state = self.lock();
        self.wait_until_settled(state, deadline).1
    }

    /// Waits until all that was tracked before is on disk or settled.
    pub(crate) fn sync(&self, deadline: Deadline) -> bool {
        let state = self.lock();
        let through = state.stats.tracked;
        state.spool.is_some() && self.wait(state, deadline, |state| state.is_synced(through)).1
    }

    /// Sends what there is, as long as there is time, and ends.
    pub(crate) fn close(&self, deadline: Deadline) -> bool {
        let mut state = self.lock();
        if state.is_closing {
            return self.wait_until_settled(state, deadline).1;
        }
        state.is_closing = true;
        self.room.notify_all();
        // On a thread of the client's, as in `on_delivery`, nothing goes on while it waits.
        let is_own = state.threads.contains(&thread::current().id());
        let is_settled;
        (state, is_settled) = self.wait_until_settled(state, if is_own { Deadline::after(Duration::ZERO) } else { deadline });
        state.is_over = true;
        state.abandon(CLOSED, true);
        self.notify_all();
        let spool = state.spool.take();
        let ends = deadline.and(END);
        while state.threads.len() > usize::from(is_own) && !ends.left().is_zero() {
            state = wait_on(&self.done, state, Some(ends.left()));
        }
        drop(state);
        // Gives up the lock of its folder.
        drop(spool);
        self.tell();
        is_settled
    }

    /// Drops what is queued and spooled; what is on its way comes to its end.
    pub(crate) fn throw_away(self: &Arc<Self>) {
        let mut state = self.lock();
        state.thrown_away = state.stats.tracked;
        if let Some(sending) = &mut state.sending {
            sending.is_thrown_away = true;
        }
        state.abandon(OPTED_OUT, false);
        self.notify_all();
        self.tell_soon(&mut state);
    }

    // What follows is for the threads.

    /// A panic while it was held is a fault of ours, after which what is in it still holds: each change is made in one go.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to do; nothing: until there is.
    pub(crate) fn wait_for_work<'a>(&self, state: MutexGuard<'a, State>, timeout: Option<Duration>) -> MutexGuard<'a, State> {
        wait_on(&self.work, state, timeout)
    }

    /// After anything changed.
    pub(crate) fn notify_all(&self) {
        self.work.notify_all();
        self.room.notify_all();
        self.done.notify_all();
    }

    /// Logs, and tells the application of what was dropped. Not to be called with the lock held.
    pub(crate) fn tell(&self) {
        let (warnings, drops) = self.lock().take_news();
        for warning in warnings {
            tracing::warn!(target: "tidegate", "{warning}");
        }
        self.tell_of(drops);
    }

    /// Tells the application of these.
    pub(crate) fn tell_of(&self, deliveries: impl IntoIterator<Item = Delivery>) {
        let Some(on_delivery) = &self.on_delivery else { return };
        for delivery in deliveries {
            let event_id = delivery.event_id.clone();
            if catch_unwind(AssertUnwindSafe(|| on_delivery(delivery))).is_err() {
                tracing::error!(target: "tidegate", "on_delivery panicked for event {event_id}");
            }
        }
    }

    // What follows has the lock held by its caller.

    fn start_with(self: &Arc<Self>, state: &mut State) {
        if state.is_started || state.is_closing {
            return;
        }
        state.is_started = self.spawn(state, "tidegate-send", sender::run);
        if !state.is_started {
            // The next call tries again.
            return;
        }
        if let Some(spool) = state.spool.clone() {
            let writer = Mutex::new(Writer::new(spool));
            let is_writing =
                self.spawn(state, "tidegate-spool", move |engine| writer.lock().unwrap_or_else(PoisonError::into_inner).run(engine));
            if !is_writing {
                // Events are sent from memory.
                state.spool = None;
                state.stats.spool_errors += 1;
            }
        }
    }

    fn spawn(self: &Arc<Self>, state: &mut State, name: &str, run: impl Fn(&Self) + Send + 'static) -> bool {
        let engine = Arc::clone(self);
        let body = move || {
            while catch_unwind(AssertUnwindSafe(|| run(&engine))).is_err() {
                // A fault of ours. Nothing is lost by it: what was being sent or written is found again.
                tracing::error!(target: "tidegate", "a thread of the client failed, and is started again");
                thread::sleep(FAULT_PAUSE);
            }
            drop(run);
            engine.lock().threads.retain(|thread| *thread != thread::current().id());
            engine.notify_all();
        };
        match thread::Builder::new().name(name.to_owned()).spawn(body) {
            Ok(thread) => state.threads.push(thread.thread().id()),
            Err(error) => {
                state.warn("thread", || format!("the thread {name} cannot be started: {error}"));
                return false;
            }
        }
        true
    }

    /// Somebody has to tell what there is to tell.
    fn tell_soon(self: &Arc<Self>, state: &mut State) {
        if state.has_news() {
            self.start_with(state);
            self.work.notify_all();
        }
    }

    /// As the policy says; why there is none.
    fn make_room<'a>(self: &Arc<Self>, mut state: MutexGuard<'a, State>, bytes: usize) -> (MutexGuard<'a, State>, Option<Why>) {
        match self.config.when_full {
            WhenFull::DropOldest if bytes <= self.config.queue_bytes_max && !state.is_closing => {
                while state.is_full_with(bytes, &self.config)
                    && let Some(oldest) = state.queue.pop_front()
                {
                    state.queued_bytes -= oldest.payload.len();
                    state.drop_event(oldest.event_id, OVERTAKEN);
                }
                self.tell_soon(&mut state);
            }
            WhenFull::Block(longest) => {
                let deadline = Deadline::after(longest);
                while state.is_full_with(bytes, &self.config) && !state.is_closing && !deadline.left().is_zero() {
                    state = wait_on(&self.room, state, Some(deadline.left()));
                }
            }
            WhenFull::DropOldest | WhenFull::DropNewest => {}
        }
        let why = if state.is_closing { Some(CLOSED_BEFORE) } else { state.is_full_with(bytes, &self.config).then_some(QUEUE_FULL) };
        (state, why)
    }

    fn wait_until_settled<'a>(&self, state: MutexGuard<'a, State>, deadline: Deadline) -> (MutexGuard<'a, State>, bool) {
        let through = state.stats.tracked;
        self.wait(state, deadline, |state| state.first_unsettled() > through)
    }

    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        deadline: Deadline,
        holds: impl Fn(&State) -> bool,
    ) -> (MutexGuard<'a, State>, bool) {
        state.hurry += 1;
        self.work.notify_all();
        let is_so = loop {
            if holds(&state) {
                break true;
            }
            let left = deadline.left();
            if left.is_zero() || state.is_over {
                break false;
            }
            state = wait_on(&self.done, state, Some(left));
        };
        state.hurry -= 1;
        (state, is_so)
    }
}

fn wait_on<'a>(condition: &Condvar, state: MutexGuard<'a, State>, timeout: Option<Duration>) -> MutexGuard<'a, State> {
    match timeout {
        Some(timeout) => condition.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0,
        None => condition.wait(state).unwrap_or_else(PoisonError::into_inner),
    }
}

/// Whether nothing is left to do at all.
pub(crate) fn is_idle(state: &State) -> bool {
    state.first_unsettled() == NONE
}
