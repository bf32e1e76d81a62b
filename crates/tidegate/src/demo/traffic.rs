//! The traffic: visits made into parcels of bytes, each with the time it is to be sent at and what the platform is to make of it.
//!
//! A pure function of the seed: the same seed and start give the same bytes, and no figure hangs on the start.

use std::collections::BTreeMap;

use super::experiment::Variation;
use super::flaws::{COPIES_PER_MILLION, Flaw, INVALID_PER_MILLION, LATE_PER_MILLION};
use super::random::Random;
use super::rhythm;
use super::session::{self, Draft, Kind, Memory, Session};
use super::visitor::Visitor;
use super::wire;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// In the history, clients send at every so many minutes. Well below the lateness that the platform allows.
const HISTORY_STEP: i64 = 10 * MINUTE;
/// Live, they send what is a second old.
const LIVE_DELAY: i64 = SECOND;
/// An event happens at least this long before it is sent, so that no way through the network is longer.
const SENT_AFTER_MIN: i64 = SECOND;
/// By how long events are late, from and to: hours more than is allowed, and three days.
const LATENESS: (i64, i64) = (2 * HOUR, 3 * DAY);
/// One late copy in so many comes much later.
const FAR_COPY_EVERY: u64 = 5;
/// Live, visitors are so many times hastier than people, so that traffic begins soon.
const LIVE_HASTE: i64 = 12;
/// How many events a visit has, about, copies included.
const EVENTS_PER_SESSION: u64 = 11;
/// Live, so many visitors are looked at for one who is not in the shop already; with few visitors the rate asked for may be out of reach.
const IDLE_TRIES_MAX: u32 = 20;
/// Between two visits of a visitor.
const BREAK: i64 = 5 * MINUTE;

// Names of the streams of chance.
const ARRIVAL: u64 = 1;
const WALK: u64 = 2;
const TROUBLE: u64 = 3;
const LIVE: u64 = 4;
const NETWORK: u64 = 5;

/// What the platform is to make of a parcel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A row in Silver.
    Row(Row),
    /// A duplicate of one that was sent before.
    Copy,
    /// Refused or quarantined.
    Dead(Flaw),
}

/// What is to be seen of an event in Silver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) visitor: u64,
    pub(crate) at: i64,
    pub(crate) is_late: bool,
    pub(crate) is_corrected: bool,
    pub(crate) is_robot: bool,
    pub(crate) exposure: Option<Variation>,
    pub(crate) is_purchase: bool,
}

/// One event to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    pub(crate) visitor: u64,
    pub(crate) is_app: bool,
    /// When it is sent by the client's clock.
    pub(crate) sent_at: i64,
    pub(crate) text: String,
    pub(crate) fate: Fate,
}

/// All that is sent at one time.
#[derive(Debug)]
pub(crate) struct Step {
    /// The time, by a clock that is right.
    pub(crate) at: i64,
    pub(crate) parcels: Vec<Parcel>,
}

/// The traffic of a shop.
#[derive(Debug)]
pub(crate) struct Traffic {
    seed: u64,
    start: i64,
    end: i64,
    memories: Vec<Memory>,
    schedule: BTreeMap<i64, Vec<Parcel>>,
    next_hour: i64,
    live_sessions: u64,
}

/// How a visit meets the world: what it is sent at, and what happens to it on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    History,
    Live,
}

impl Traffic {
    /// Traffic of so many visitors over so many days from `start`, a midnight in UTC.
    pub(crate) fn new(seed: u64, users: u32, days: u32, start: i64) -> Self {
        Self {
            seed,
            start,
            end: start + i64::from(days) * DAY,
            memories: vec![Memory::default(); users as usize],
            schedule: BTreeMap::new(),
            next_hour: 0,
            live_sessions: 0,
        }
    }

    /// When the history ends.
    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// The next step of the history; `None` when it is over.
    pub(crate) fn next_step(&mut self) -> Option<Step> {
        loop {
            let begun_until = self.start + self.next_hour * HOUR;
            let due = self.schedule.first_key_value().map(|(at, _)| *at);
            // What is sent up to then can only come of visits that have begun.
            if let Some(at) = due
                && (at <= begun_until || begun_until >= self.end)
            {
                return self.schedule.pop_first().map(|(at, parcels)| Step { at, parcels });
            }
            if begun_until >= self.end {
                return None;
            }
            self.begin_hour();
        }
    }

    /// Live: begins the visits of a stretch of time, so many that about `rate` events a second come of it, and gives what is due by its end.
    pub(crate) fn live_step(&mut self, from: i64, until: i64, rate: u32) -> Step {
        let elapsed = u64::try_from(until - from).unwrap_or(0);
        let mut random = Random::stream(self.seed, &[LIVE, self.live_sessions, elapsed]);
        let expected_millionths = elapsed.saturating_mul(u64::from(rate)) / EVENTS_PER_SESSION;
        let mut sessions = expected_millionths / 1_000_000;
        sessions += u64::from(random.chance(expected_millionths % 1_000_000));
        for _ in 0..sessions {
            let start = until - random.between(0, until - from);
            self.live_sessions += 1;
            let idle = (0..IDLE_TRIES_MAX)
                .map(|_| random.below(self.memories.len() as u64))
                .find(|visitor| self.memory(*visitor).busy_until < start);
            if let Some(visitor) = idle {
                self.visit(visitor, start, self.live_sessions, Mode::Live);
            }
        }
        let later = self.schedule.split_off(&(until + 1));
        let due = std::mem::replace(&mut self.schedule, later);
        Step { at: until, parcels: due.into_values().flatten().collect() }
    }

    /// Begins the visits of the next hour.
    fn begin_hour(&mut self) {
        let hour = self.next_hour;
        self.next_hour += 1;
        for number in 0..self.memories.len() as u64 {
            let visitor = Visitor::of(self.seed, number);
            let mut random = Random::stream(self.seed, &[ARRIVAL, number, hour as u64]);
            let chance = rhythm::chance_per_million(visitor.sessions_per_1000_days, hour, visitor.place.hours_ahead);
            if random.chance(chance) {
                let start = self.start + hour * HOUR + random.between(0, HOUR - 1);
                let start = start.max(self.memory(number).busy_until + BREAK);
                self.visit(number, start, hour as u64, Mode::History);
            }
        }
    }

    fn memory(&self, visitor: u64) -> Memory {
        self.memories.get(visitor as usize).copied().unwrap_or_default()
    }

    fn visit(&mut self, number: u64, start: i64, occasion: u64, mode: Mode) {
        let visitor = Visitor::of(self.seed, number);
        let mut memory = self.memory(number);
        let name = |stream| [stream, number, occasion, mode as u64];
        let haste = if mode == Mode::Live { LIVE_HASTE } else { 1 };
        let session = session::walk(self.seed, &visitor, &mut memory, start, haste, Random::stream(self.seed, &name(WALK)));
        // A visit that would go on past the end of the history does not begin: its purchase would be missing from the truth.
        let fits = mode == Mode::Live || memory.busy_until + SENT_AFTER_MIN <= self.end;
        if !fits {
            return;
        }
        if let Some(kept) = self.memories.get_mut(number as usize) {
            *kept = memory;
        }
        let mut random = Random::stream(self.seed, &name(TROUBLE));
        for draft in &session.drafts {
            self.send(&visitor, &session, draft, mode, &mut random);
        }
    }

    /// Schedules an event, and whatever goes wrong with it.
    fn send(&mut self, visitor: &Visitor, session: &Session, draft: &Draft, mode: Mode, random: &mut Random) {
        let on_time = self.regular(draft.at, mode);
        let (at, due) = self.maybe_late(draft, on_time, mode, random);
        let draft = &Draft { at, ..draft.clone() };
        let id = wire::event_id(visitor, draft.at, random);
        let row = Row {
            visitor: visitor.number,
            at: draft.at,
            is_late: due - draft.at >= LATENESS.0 - HISTORY_STEP,
            is_corrected: visitor.is_skewed(),
            is_robot: visitor.is_robot,
            exposure: if let Kind::Exposure(variation) = draft.kind { Some(variation) } else { None },
            is_purchase: draft.kind == Kind::Purchase,
        };
        self.schedule(visitor, session, draft, &id, due, None, Fate::Row(row));
        if random.chance(COPIES_PER_MILLION)
            && let Some(due) = self.copy_time(due, mode, random)
        {
            self.schedule(visitor, session, draft, &id, due, None, Fate::Copy);
        }
        if random.chance(INVALID_PER_MILLION) {
            let flaw = Flaw::draw(random, !visitor.device.is_app);
            let id = wire::event_id(visitor, draft.at, random);
            self.schedule(visitor, session, draft, &id, on_time, Some(flaw), Fate::Dead(flaw));
        }
    }

    /// When an event is sent if all goes well.
    fn regular(&self, at: i64, mode: Mode) -> i64 {
        match mode {
            Mode::History => self.on_grid(at + SENT_AFTER_MIN),
            Mode::Live => at + LIVE_DELAY,
        }
    }

    fn on_grid(&self, at: i64) -> i64 {
        let steps = (at - self.start + HISTORY_STEP - 1).div_euclid(HISTORY_STEP);
        (self.start + steps * HISTORY_STEP).min(self.end)
    }

    /// When an event happens and is sent, when it may be one of the late.
    fn maybe_late(&self, draft: &Draft, on_time: i64, mode: Mode, random: &mut Random) -> (i64, i64) {
        let (shortest, longest) = LATENESS;
        let is_late = random.chance(LATE_PER_MILLION);
        let part = random.between(0, 1_000_000);
        match mode {
            Mode::History => {
                let longest = longest.min(self.end - draft.at);
                if !is_late || longest < shortest {
                    return (draft.at, on_time);
                }
                let delay = shortest + i64::try_from(i128::from(longest - shortest) * i128::from(part) / 1_000_000).unwrap_or(0);
                (draft.at, self.on_grid(draft.at + delay))
            }
            // Nobody waits for days here: a page that was seen before then, and is only sent now.
            Mode::Live if is_late && draft.kind == Kind::Page => {
                let delay = i128::from(longest - shortest) * i128::from(part) / 1_000_000;
                (draft.at - shortest - i64::try_from(delay).unwrap_or(0), on_time)
            }
            Mode::Live => (draft.at, on_time),
        }
    }

    /// When an event that was sent at `sent` comes again; `None` when the history is over by then.
    fn copy_time(&self, sent: i64, mode: Mode, random: &mut Random) -> Option<i64> {
        let is_far = random.below(FAR_COPY_EVERY) == 0;
        let later = match (mode, is_far) {
            (Mode::History, false) => random.between(1, 4) * HISTORY_STEP,
            (Mode::History, true) => random.between(HOUR, 2 * DAY),
            (Mode::Live, false) => random.between(2 * SECOND, 8 * SECOND),
            (Mode::Live, true) => random.between(20 * SECOND, 4 * MINUTE),
        };
        match mode {
            Mode::Live => Some(sent + later),
            Mode::History => Some(self.on_grid(sent + later)).filter(|due| *due > sent),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all of it makes one parcel, and nothing else needs it together")]
    fn schedule(&mut self, visitor: &Visitor, session: &Session, draft: &Draft, id: &str, due: i64, flaw: Option<Flaw>, fate: Fate) {
        // One visitor's events of one step travel together, for as long.
        let travel = Random::stream(self.seed, &[NETWORK, visitor.number, (due - self.start) as u64]).between(SECOND / 50, SECOND / 3);
        let sent_at = due + visitor.skew_micros - travel;
        let text = wire::write(visitor, session, draft, id, sent_at, flaw);
        let parcel = Parcel { visitor: visitor.number, is_app: visitor.device.is_app, sent_at, text, fate };
        self.schedule.entry(due).or_default().push(parcel);
    }
}

#[cfg(test)]
mod tests;
