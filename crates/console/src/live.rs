//! Events as they come: the newest of them, whole and in order, within a bound.
//!
//! Nothing is sampled. Who asks is told by number what it has not been shown, so a reader that is too slow for the traffic knows that it was.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use contract::wire::{self, Envelope};
use contract::{Receipt, Timestamp, Verdict, json};
use tokio::sync::watch;

mod filter;
mod mark;

pub use filter::{Asked, Filter, Show};
pub use mark::Mark;

/// Events that are kept.
pub const EVENTS_MAX: usize = 20_000;
/// Bytes of their payloads that are kept, together.
pub const BYTES_MAX: usize = 32 << 20;
/// Of one payload at most so many bytes are kept.
const PAYLOAD_BYTES_MAX: usize = 64 << 10;

/// One event as it came, and what the gate noted about it.
#[derive(Debug)]
pub struct Seen {
    /// Its place among all that were seen.
    pub mark: Mark,
    /// What the gate noted.
    pub receipt: Receipt,
    /// Its type; nothing where it cannot be decoded.
    pub event_type: Option<String>,
    /// What the client calls it.
    pub name: Option<String>,
    /// The user, or the anonymous id where there is none.
    pub subject: Option<String>,
    /// Its bytes as text, or their front.
    pub payload: String,
    /// How many bytes it has.
    pub bytes: usize,
    /// Its row on the page of live events, from when it was first drawn.
    row: OnceLock<Box<str>>,
}

impl Seen {
    /// Whether it breaks the tracking plan, or could not be taken.
    pub fn is_invalid(&self) -> bool {
        self.receipt.verdict != Verdict::Accepted
    }

    /// Its row on a page: drawn once for all who look.
    pub(crate) fn row(&self, draw: impl FnOnce() -> String) -> &str {
        self.row.get_or_init(|| draw().into_boxed_str())
    }

    /// When the gate had it.
    pub fn received_at(&self) -> Timestamp {
        self.receipt.received_at
    }
}

/// The newest events.
#[derive(Debug)]
pub struct Tail {
    json: json::Limits,
    kept: Mutex<Kept>,
    newest: watch::Sender<Mark>,
}

#[derive(Debug, Default)]
struct Kept {
    epoch: u64,
    /// The number of the first one kept.
    first: u64,
    events: VecDeque<Arc<Seen>>,
    bytes: usize,
}

/// What there is for somebody who has seen all up to a mark.
#[derive(Debug, Default)]
pub struct Slice {
    /// The newest that the filter lets through, oldest first.
    pub events: Vec<Arc<Seen>>,
    /// Others that it lets through, older than these: they are kept, and not in this slice.
    pub more: u64,
    /// Events after the mark that are kept no more, whether the filter would let them through or not.
    pub gone: u64,
    /// Whether the mark is none of this tail: what was shown before has nothing to do with it.
    pub is_anew: bool,
    /// From where to go on.
    pub mark: Mark,
}

impl Tail {
    /// An empty one. The epoch tells its marks from those of another.
    pub fn new(epoch: u64, json: json::Limits) -> Self {
        let kept = Kept { epoch, ..Kept::default() };
        Self { json, kept: Mutex::new(kept), newest: watch::Sender::new(Mark { epoch, number: 0 }) }
    }

    /// Forgets everything and begins anew, in the next epoch.
    pub fn clear(&self) {
        let mut kept = self.kept();
        let epoch = kept.epoch + 1;
        *kept = Kept { epoch, ..Kept::default() };
        self.newest.send_replace(Mark { epoch, number: 0 });
    }

    /// Adds events, in order: the gate's note and the bytes of each. What has no readable note is left out; the dead letters have it.
    pub fn extend<'a>(&self, records: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
        let read = records.filter_map(|(header, value)| self.read(header, value));
        // Decoded before the lock is taken.
        let read: Vec<Seen> = read.collect();
        let mut kept = self.kept();
        for seen in read {
            kept.push(seen);
        }
        let newest = Mark { epoch: kept.epoch, number: kept.first + kept.events.len() as u64 };
        drop(kept);
        self.newest.send_replace(newest);
    }

    /// What came after a mark, and the filter lets through: the newest of it, at most so many. Without a mark: of all that is kept.
    pub fn slice(&self, after: Option<Mark>, filter: &Filter, events_max: usize) -> Slice {
        let kept = self.kept();
        let end = kept.first + kept.events.len() as u64;
        let known = after.filter(|mark| mark.epoch == kept.epoch && mark.number <= end);
        let from = known.map_or(kept.first, |mark| mark.number);
        let mut slice = Slice {
            gone: kept.first.saturating_sub(from),
            is_anew: after.is_some() && known.is_none(),
            mark: Mark { epoch: kept.epoch, number: end },
            ..Slice::default()
        };
        let skipped = usize::try_from(from.saturating_sub(kept.first)).unwrap_or(usize::MAX);
        let candidates: Vec<Arc<Seen>> = kept.events.iter().skip(skipped).cloned().collect();
        drop(kept);
        for seen in candidates.into_iter().rev().filter(|seen| filter.lets_through(seen)) {
            if slice.events.len() < events_max {
                slice.events.push(seen);
            } else {
                slice.more += 1;
            }
        }
        slice.events.reverse();
        slice
    }

    /// The event at a mark, where it is kept.
    pub fn get(&self, mark: Mark) -> Option<Arc<Seen>> {
        let kept = self.kept();
        let place = mark.number.checked_sub(kept.first).filter(|_| mark.epoch == kept.epoch)?;
        kept.events.get(usize::try_from(place).ok()?).cloned()
    }

    /// Tells when there is something new.
    pub fn watch(&self) -> watch::Receiver<Mark> {
        self.newest.subscribe()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, header: &[u8], value: &[u8]) -> Option<Seen> {
        let receipt = Receipt::from_bytes(header).ok()?;
        let envelope = Envelope::parse(receipt.envelope.as_deref(), &self.json).ok();
        let event = envelope.and_then(|envelope| wire::decode_in(receipt.format, value, &envelope, &self.json).ok());
        let (event_type, name, subject) = match event {
            Some(event) => (Some(event.event_type), event.name, event.user_id.or(event.anonymous_id)),
            None => (None, None, None),
        };
        let [event_type, name, subject] = [event_type, name, subject].map(|text| text.map(Cow::into_owned));
        let front = value.get(..PAYLOAD_BYTES_MAX).unwrap_or(value);
        let payload = String::from_utf8_lossy(front).into_owned();
        Some(Seen { mark: Mark::default(), receipt, event_type, name, subject, payload, bytes: value.len(), row: OnceLock::new() })
    }
}

impl Kept {
    fn push(&mut self, seen: Seen) {
        let mark = Mark { epoch: self.epoch, number: self.first + self.events.len() as u64 };
        self.bytes += seen.payload.len();
        self.events.push_back(Arc::new(Seen { mark, ..seen }));
        while self.events.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.payload.len();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(verdict: &str) -> String {
        let wrong = r#"{"code":"wrong_type","field":"/properties/price","message":"must be a number"}"#;
        let violations = if verdict == "accepted" { "" } else { wrong };
        format!(
            r#"{{"source":"web","event_id":"e","received_at":0,"format":"native","verdict":"{verdict}","plan_version":"1","violations":[{violations}]}}"#
        )
    }

    fn tail() -> Tail {
        Tail::new(7, json::Limits::default())
    }

    fn add(tail: &Tail, names: std::ops::Range<u32>) {
        for number in names {
            let payload = format!(
                r#"{{"event_id":"{number}","event_type":"page_view","event_time":"2026-11-23T10:00:00Z","user_id":"u{}"}}"#,
                number % 2
            );
            tail.extend([(header("accepted").as_bytes(), payload.as_bytes())].into_iter());
        }
    }

    fn numbers(slice: &Slice) -> Vec<u64> {
        slice.events.iter().map(|seen| seen.mark.number).collect()
    }

    #[test]
    fn whoever_goes_on_from_a_mark_misses_nothing_unsaid() {
        let (tail, all) = (tail(), Filter::default());
        add(&tail, 0..5);
        let first = tail.slice(None, &all, 3);
        assert_eq!((numbers(&first), first.more, first.gone, first.is_anew), (vec![2, 3, 4], 2, 0, false));
        let none = tail.slice(Some(first.mark), &all, 3);
        assert_eq!((numbers(&none), none.more, none.mark), (vec![], 0, first.mark));
        add(&tail, 5..6);
        assert_eq!(numbers(&tail.slice(Some(first.mark), &all, 3)), [5]);
        assert_eq!(tail.get(Mark { epoch: 7, number: 5 }).unwrap().subject.as_deref(), Some("u1"));
        assert!(tail.get(Mark { epoch: 7, number: 6 }).is_none() && tail.get(Mark { epoch: 8, number: 5 }).is_none());

        tail.clear();
        add(&tail, 0..1);
        let anew = tail.slice(Some(first.mark), &all, 3);
        assert_eq!((numbers(&anew), anew.is_anew, anew.mark), (vec![0], true, Mark { epoch: 8, number: 1 }));
        // A mark that is yet to come is none.
        assert!(tail.slice(Some(Mark { epoch: 8, number: 9 }), &all, 3).is_anew);
    }

    #[test]
    fn the_bounds_hold_and_what_they_cost_is_told() {
        let (tail, all) = (tail(), Filter::default());
        add(&tail, 0..1);
        let mark = tail.slice(None, &all, 10).mark;
        let payload = "x".repeat(PAYLOAD_BYTES_MAX + 1);
        let many = BYTES_MAX / PAYLOAD_BYTES_MAX + 10;
        let header = header("refused");
        tail.extend((0..many).map(|_| (header.as_bytes(), payload.as_bytes())));
        let slice = tail.slice(Some(mark), &all, 1);
        assert_eq!((slice.events.len() as u64 + slice.more + slice.gone, slice.gone), (many as u64, 10));
        let last = &slice.events[0];
        assert_eq!((last.payload.len(), last.bytes, last.event_type.as_deref()), (PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MAX + 1, None));

        let small = [(header.as_bytes(), &b"{}"[..])];
        tail.extend(small.into_iter().cycle().take(EVENTS_MAX + 5));
        let slice = tail.slice(None, &all, 0);
        assert_eq!(slice.more, EVENTS_MAX as u64);
        tail.extend([(&b"no note"[..], &b"{}"[..])].into_iter());
        assert_eq!(tail.slice(Some(slice.mark), &all, 9).events.len(), 0);
    }

    #[test]
    fn a_filter_sees_what_people_look_for() {
        let tail = tail();
        add(&tail, 0..2);
        let broken = r#"{"event_id":"x","event_type":"order","event_time":"2026-11-23T10:00:00Z","properties":{"price":"Twelve"}}"#;
        tail.extend([(header("flagged").as_bytes(), broken.as_bytes())].into_iter());
        let check = |asked: Asked, expect: &[u64]| {
            assert_eq!(numbers(&tail.slice(None, &asked.filter(), 10)), expect, "{asked:?}");
        };
        let asked = Asked::default;
        check(asked(), &[0, 1, 2]);
        check(Asked { show: Show::Valid, ..asked() }, &[0, 1]);
        check(Asked { show: Show::Invalid, ..asked() }, &[2]);
        check(Asked { event_type: "order".to_owned(), ..asked() }, &[2]);
        check(Asked { source: "ios".to_owned(), ..asked() }, &[]);
        check(Asked { source: " web ".to_owned(), ..asked() }, &[0, 1, 2]);
        check(Asked { text: "twelve".to_owned(), ..asked() }, &[2]);
        check(Asked { text: "WRONG_TYPE".to_owned(), show: Show::Valid, ..asked() }, &[]);
        check(Asked { text: "wrong_type".to_owned(), show: Show::Invalid, ..asked() }, &[2]);
        check(Asked { text: "u1".to_owned(), ..asked() }, &[1]);
        check(Asked { text: "u1 page".to_owned(), ..asked() }, &[1]);
    }
}
