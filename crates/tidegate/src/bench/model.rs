//! Events to measure with: page views of the native shape, which differ in id, time, visitor and text.
//!
//! What an event is made of is decided here; its text is a copy of one of some hundred models, in which id, time and visitor have a fixed width and are written over. Pure: the
//! same seed and beginning give the same events.

use std::sync::Arc;

use contract::Timestamp;

use crate::demo::random::Random;

/// Texts that are told apart, so that what is written compresses as real events do.
const MODELS: usize = 256;
/// Visitors that are told apart. As many digits have their numbers.
const VISITORS: u64 = 1_000_000;
/// What stands in a model until it is written over.
const ID: &str = "00000000-0000-0000-0000-000000000000";
const TIME: &str = "0000-00-00T00:00:00.000000Z";
const VISITOR: &str = "NNNNNN";
/// Events of which a copy may be made.
const RECENT_MAX: usize = 4_096;
/// Between the times of two events that follow each other, in microseconds.
const PACE_MICROS: i64 = 100;
const DAY_MICROS: i64 = 86_400_000_000;
/// How old an event is that comes late.
const LATE_MICROS: [i64; 2] = [2 * DAY_MICROS, 365 * DAY_MICROS];
/// What texts are made of.
const WORDS: [&str; 32] = [
    "jacket", "summer", "blue", "cotton", "delivery", "returns", "guide", "size", "review", "linen", "winter", "offer", "basket", "green",
    "wool", "trousers", "shirt", "gift", "card", "store", "nearest", "sandals", "leather", "belt", "new", "arrivals", "free", "shipping",
    "over", "fifty", "details", "care",
];

/// What tells an event from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    /// A UUID.
    pub(super) id: u128,
    pub(super) time: Timestamp,
    visitor: u32,
    model: u32,
}

/// How ids are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    /// UUIDv7 of the event's time.
    ByTime,
    /// UUIDv4.
    Random,
}

impl Event {
    /// One that happened at this time.
    pub(super) fn at(time: Timestamp, ids: Ids, random: &mut Random) -> Self {
        let bits = (u128::from(random.bits()) << 64) | u128::from(random.bits());
        let id = match ids {
            Ids::ByTime => {
                let millis = u64::try_from(time.micros().div_euclid(1_000)).unwrap_or(0);
                (u128::from(millis) << 80) | (bits & (u128::MAX >> 48))
            }
            Ids::Random => bits,
        };
        Self { id: marked(id, ids), time, visitor: random.below(VISITORS) as u32, model: random.below(MODELS as u64) as u32 }
    }
}

/// With the bits that say what kind of UUID it is.
fn marked(id: u128, ids: Ids) -> u128 {
    let version: u128 = match ids {
        Ids::ByTime => 7,
        Ids::Random => 4,
    };
    (id & !((0xF_u128 << 76) | (0b11_u128 << 62))) | (version << 76) | (0b10_u128 << 62)
}

/// An id as text.
pub(super) fn id_text(id: u128) -> String {
    let mut text = ID.as_bytes().to_vec();
    write_id(&mut text, id);
    String::from_utf8_lossy(&text).into_owned()
}

/// The id that a text is, if it is one of ours.
pub(super) fn parse_id(text: &str) -> Option<u128> {
    if text.len() != ID.len() {
        return None;
    }
    let mut digits = text.bytes().filter(|byte| *byte != b'-').map(|byte| char::from(byte).to_digit(16));
    digits.try_fold(0, |id: u128, digit| Some((id << 4) | u128::from(digit?)))
}

/// Which events follow each other.
#[derive(Debug, Clone)]
pub(super) struct Kinds {
    pub(super) ids: Ids,
    /// The share that are exact copies of one before.
    pub(super) copies: f64,
    /// The share whose time is up to a year before the one that is due.
    pub(super) late: f64,
}

/// Events without end.
#[derive(Debug)]
pub(super) struct Events {
    random: Random,
    kinds: Kinds,
    /// The time of the next event that is not late.
    next: i64,
    /// Some of the last events that are no copies.
    recent: Vec<Event>,
    /// Where the next one goes.
    place: usize,
}

impl Events {
    /// The first is of the time `from`, and those that are not late follow each other at a steady pace.
    pub(super) fn new(kinds: Kinds, seed: u64, from: Timestamp) -> Self {
        Self { random: Random::stream(seed, &[0]), kinds, next: from.micros(), recent: Vec::with_capacity(RECENT_MAX), place: 0 }
    }

    /// From when on so many events are to be, for the last to be of this time.
    pub(super) fn beginning(last: Timestamp, count: u64) -> Timestamp {
        Timestamp(last.micros().saturating_sub(i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(PACE_MICROS)))
    }

    /// The time that the stream has come to: that of the next event that is not late.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp(self.next)
    }

    fn happens(&mut self, share: f64) -> bool {
        self.random.chance((share * 1_000_000.0) as u64)
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.happens(self.kinds.copies) && !self.recent.is_empty() {
            return Some(*self.random.pick(&self.recent));
        }
        let mut time = self.next;
        self.next = self.next.saturating_add(PACE_MICROS);
        if self.happens(self.kinds.late) {
            let [least, most] = LATE_MICROS;
            time = time.saturating_sub(self.random.between(least, most));
        }
        let event = Event::at(Timestamp(time), self.kinds.ids, &mut self.random);
        match self.recent.get_mut(self.place) {
            Some(place) => *place = event,
            None => self.recent.push(event),
        }
        self.place = (self.place + 1) % RECENT_MAX;
        Some(event)
    }
}

/// Writes events as JSON. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    models: Arc<[Vec<u8>]>,
    /// Where ids, times and visitors stand, in every model.
    ids: Arc<[usize]>,
    times: Arc<[usize]>,
    visitors: Arc<[usize]>,
    /// The day written last, and its text.
    day: (i32, String),
}

impl Writer {
    /// Of events of so many bytes, as far as there is room for what an event needs. With `is_sent`, each says that it was sent when it happened.
    pub(super) fn new(event_bytes: usize, is_sent: bool) -> Self {
        let sent = if is_sent { format!(r#","sent_at":"{TIME}""#) } else { String::new() };
        let (front, back) = (
            format!(
                r#"{{"event_id":"{ID}","event_type":"page_view","event_time":"{TIME}"{sent},"anonymous_id":"visitor-{VISITOR}","session_id":"session-{VISITOR}","properties":{{"url":"https://shop.example.com/products/{VISITOR}?utm_source=bench","title":"Product {VISITOR}","referrer":"https://www.example.org/","note":""#
            ),
            r#""},"context":{"locale":"en-GB"}}"#,
        );
        let room = event_bytes.saturating_sub(front.len() + back.len());
        let model = |number: usize| [front.as_bytes(), text(number as u64, room).as_slice(), back.as_bytes()].concat();
        let places = |of: &str| front.match_indices(of).map(|(place, _)| place).collect();
        Self {
            models: (0..MODELS).map(model).collect(),
            ids: places(ID),
            times: places(TIME),
            visitors: places(VISITOR),
            day: (i32::MIN, String::new()),
        }
    }

    /// Adds the text of an event.
    pub(super) fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        let Some(model) = self.models.get(event.model as usize) else { return };
        let begin = out.len();
        out.extend_from_slice(model);
        let Some(text) = out.get_mut(begin..) else { return };
        let day = event.time.date();
        if self.day.0 != day {
            self.day = (day, event.time.date_text());
        }
        for place in self.ids.iter() {
            write_id(part(text, *place, ID), event.id);
        }
        for place in self.times.iter() {
            write_time(part(text, *place, TIME), &self.day.1, event.time);
        }
        for place in self.visitors.iter() {
            write_digits(part(text, *place, VISITOR), u64::from(event.visitor));
        }
    }

    /// The bytes of each event.
    pub(super) fn event_bytes(&self) -> usize {
        self.models.first().map_or(0, Vec::len)
    }
}

/// Words, cut off at so many bytes.
fn text(number: u64, bytes: usize) -> Vec<u8> {
    let mut random = Random::stream(number, &[1]);
    let mut text = Vec::with_capacity(bytes + 16);
    while text.len() < bytes {
        text.extend_from_slice(random.pick(&WORDS).as_bytes());
        text.push(b' ');
    }
    text.truncate(bytes);
    text
}

fn part<'a>(text: &'a mut [u8], place: usize, like: &str) -> &'a mut [u8] {
    text.get_mut(place..place + like.len()).unwrap_or_default()
}

/// Over a text of the form of [`ID`].
fn write_id(place: &mut [u8], id: u128) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let (bytes, mut half) = (id.to_be_bytes(), 0);
    for sign in place {
        if *sign == b'-' {
            continue;
        }
        let byte = bytes.get(half / 2).copied().unwrap_or_default();
        *sign = HEX[usize::from(if half % 2 == 0 { byte >> 4 } else { byte & 15 })];
        half += 1;
    }
}

/// Over a text of the form of [`TIME`].
fn write_time(place: &mut [u8], date: &str, time: Timestamp) {
    let Some((day, rest)) = place.split_at_mut_checked(date.len()) else { return };
    day.copy_from_slice(date.as_bytes());
    let micros = time.micros().rem_euclid(DAY_MICROS).unsigned_abs();
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    // THH:MM:SS.ffffffZ
    let fields = [(1, 2, seconds / 3_600), (4, 2, seconds / 60 % 60), (7, 2, seconds % 60), (10, 6, micros)];
    for (at, width, value) in fields {
        if let Some(field) = rest.get_mut(at..at + width) {
            write_digits(field, value);
        }
    }
}

/// Right-aligned, with zeros before it.
fn write_digits(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    const FROM: Timestamp = Timestamp(1_795_428_000_123_456);

    fn kinds(copies: f64, late: f64) -> Kinds {
        Kinds { ids: Ids::ByTime, copies, late }
    }

    #[test]
    fn an_event_is_of_the_native_shape() {
        for (bytes, is_sent) in [(850, false), (0, true), (600, true)] {
            let mut writer = Writer::new(bytes, is_sent);
            for ids in [Ids::ByTime, Ids::Random] {
                let event = Event::at(FROM, ids, &mut Random::stream(7, &[]));
                let mut text = Vec::new();
                writer.write(&event, &mut text);
                assert_eq!(text.len(), writer.event_bytes());
                assert!(bytes == 0 || text.len() == bytes, "{}", text.len());
                let read: Value = serde_json::from_slice(&text).unwrap();
                assert_eq!(read["event_time"], FROM.to_rfc3339());
                assert_eq!(read["sent_at"].as_str(), is_sent.then(|| FROM.to_rfc3339()).as_deref());
                assert_eq!(read["event_id"], id_text(event.id));
                assert_eq!(read["anonymous_id"], format!("visitor-{:06}", event.visitor));
            }
        }
    }

    #[test]
    fn an_id_is_the_one_of_its_time() {
        let event = Event::at(FROM, Ids::ByTime, &mut Random::stream(1, &[]));
        let own = contract::id::uuid_v7(FROM, [0; 10]);
        let (mine, theirs) = (id_text(event.id), own.as_str().to_owned());
        assert!(mine.starts_with(theirs.split_at(15).0), "{mine} {theirs}");
        assert!(matches!(mine.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{mine}");
        assert_eq!(id_text(Event::at(FROM, Ids::Random, &mut Random::stream(1, &[])).id).as_bytes()[14], b'4');
        assert_eq!((parse_id(&mine), parse_id("order-17"), parse_id(&"x".repeat(36))), (Some(event.id), None, None));
        assert_eq!(id_text(0x0190_a5f0_7c1e_7cc3_98c4_dc0c_0c07_398f), "0190a5f0-7c1e-7cc3-98c4-dc0c0c07398f");
    }

    #[test]
    fn a_seed_gives_the_same_events() {
        let first = |seed| Events::new(kinds(0.1, 0.1), seed, FROM).take(2_000).collect::<Vec<_>>();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }

    #[test]
    fn copies_and_late_events_have_their_shares() {
        let events: Vec<Event> = Events::new(kinds(0.02, 0.05), 3, FROM).take(100_000).collect();
        let distinct: HashSet<u128> = events.iter().map(|event| event.id).collect();
        let late = events.iter().filter(|event| event.time < FROM).count();
        assert!((1_700..2_300).contains(&(events.len() - distinct.len())), "{}", distinct.len());
        assert!((4_500..5_500).contains(&late), "{late}");
        assert!(events.iter().all(|event| FROM.micros() - event.time.micros() <= 365 * DAY_MICROS));
        let none: Vec<Event> = Events::new(kinds(0.0, 0.0), 3, FROM).take(1_000).collect();
        assert!(none.windows(2).all(|pair| pair[1].time.micros() - pair[0].time.micros() == PACE_MICROS));
        assert_eq!(Events::beginning(FROM, 10).micros(), FROM.micros() - 1_000);
    }
}
