//! What is unusual, as the tables tell it.

use chrono::DateTime;
use pipeline::anomaly::{Kind, look_at};

use crate::place::{Arriving, HOUR, Place, RECEIVED};

const DAY: i64 = 24 * HOUR;
const MINUTE: i64 = 60_000_000;

/// Events of the hour that begins then, with these properties.
fn hour(begins: i64, events: i64, properties: &str) -> Vec<Arriving> {
    let one = |number: i64| {
        let (id, at) = (format!("{begins}-{number}"), begins + number * HOUR / events);
        let time = DateTime::from_timestamp_micros(at).unwrap().format("%Y-%m-%dT%H:%M:%S%.6fZ");
        let text = format!(r#"{{"event_id":"{id}","event_type":"order","event_time":"{time}","user_id":"u","properties":{properties}}}"#);
        Arriving { received: at + MINUTE, ..Arriving::with(&id, &text) }
    };
    (0..events).map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_hour_is_held_against_those_of_the_days_before() {
    let place = Place::new();
    assert_eq!(look_at(&place.lake().await, &place.config, RECEIVED).await.unwrap(), [], "there are no tables yet");
    let noon = RECEIVED - RECEIVED.rem_euclid(DAY) + 12 * HOUR;
    let mut events = Vec::new();
    for day in 1..=8 {
        for later in 0..3 {
            events.extend(hour(noon - day * DAY + later * HOUR, 60, r#"{"price":3}"#));
        }
    }
    events.extend(hour(noon, 60, r#"{"price":3}"#));
    events.extend(hour(noon + HOUR, 200, r#"{"price":"3"}"#));
    place.feed(&events).await;

    let lake = place.lake().await;
    let found = async |ends: i64| {
        let found = look_at(&lake, &place.config, ends + 11 * MINUTE).await.unwrap();
        found.into_iter().map(|unusual| (unusual.kind, unusual.text)).collect::<Vec<_>>()
    };
    assert_eq!(found(noon + HOUR).await, []);
    let expect = [
        (Kind::Burst, "The source web sent 200 events; usual are 60 in this time"),
        (Kind::Volume, "There were 200 events of the type order; usual are 60 in this time"),
        (Kind::Shape, "Events of the type order: the property price is text in 100 %, was a number in 100 %"),
    ];
    assert_eq!(found(noon + 2 * HOUR).await, expect.map(|(kind, text)| (kind, text.to_owned())));
    // Then nothing comes any more.
    let silent = found(noon + 3 * HOUR).await;
    assert_eq!(silent[0], (Kind::Silent, "The source web is silent; usual are 60 events in this time".to_owned()), "{silent:?}");
    // And at a time when nothing comes on other days either, that is as it is.
    assert_eq!(found(noon + 5 * HOUR).await, []);
}
