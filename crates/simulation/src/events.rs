//! The events that clients send, made of what a scenario says of them.

use contract::Timestamp;

use crate::scenario::{Sending, Shape};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// What the gate is to do with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// To take it.
    Taken,
    /// To take it, and to keep it apart.
    Quarantined,
    /// To refuse it.
    Refused,
}

/// An event as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) payload: String,
    pub(crate) expected: Expected,
}

/// The event that this is; at another time it is the same again. `began`: when the simulated day begins.
pub(crate) fn event(sending: Sending, began: Timestamp) -> Event {
    let Sending { number, shape } = sending;
    let at = |micros: i64| Timestamp(began.micros() + i64::from(number) * SECOND / 10 + micros);
    let page = |id: u16, time: Timestamp, page: &str| {
        let sent = at(0);
        format!(
            r#"{{"event_id":"event-{id}","event_type":"page_view","event_time":"{time}","sent_at":"{sent}","anonymous_id":"a{visitor}","properties":{{"path":"{page}"}}}}"#,
            visitor = id % 7
        )
    };
    let taken = |payload| Event { payload, expected: Expected::Taken };
    let quarantined = |payload| Event { payload, expected: Expected::Quarantined };
    let refused = |payload| Event { payload, expected: Expected::Refused };
    match shape {
        Shape::Fresh => taken(page(number, at(-SECOND), "/")),
        Shape::Late { days } => taken(page(number, at(-i64::from(days) * DAY), "/late")),
        Shape::Ahead => taken(page(number, at(3 * DAY), "/ahead")),
        Shape::Exposure => taken(format!(
            r#"{{"event_id":"event-{number}","event_type":"feature_exposure","event_time":"{time}","sent_at":"{sent}","anonymous_id":"a{visitor}","properties":{{"experiment_id":"checkout","variation_id":"{variation}"}}}}"#,
            time = at(-SECOND),
            sent = at(0),
            visitor = number % 7,
            variation = if number % 2 == 0 { "control" } else { "treatment" }
        )),
        Shape::Invalid => quarantined(format!(
            r#"{{"event_id":"event-{number}","event_type":"feature_exposure","event_time":"{}","anonymous_id":"a1","properties":{{"experiment_id":7}}}}"#,
            at(0)
        )),
        Shape::Broken => refused(format!(r#"{{"event_id":"event-{number}","event_type":"page_view","event_time":"yesterday"}}"#)),
        // Where something else was sent under this id first, it is a conflict.
        Shape::Copy { of } => event(Sending { number: of, shape: Shape::Fresh }, began),
        Shape::Conflict { with } => taken(page(with, at(-SECOND), "/another")),
    }
}
