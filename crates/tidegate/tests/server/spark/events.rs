//! Events of every kind that there is: sound ones in each wire format, copies, late ones, skewed clocks, and everything that is wrong in some way.

use bytes::Bytes;
use journal::{Journal as _, Record, kafka};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::process::{KEY, Place, client};

/// Every type of metric, of an experiment that the events are exposures of.
pub(super) const METRICS: &str = "
buyers: {type: proportion, event: {event_type: conversion}}
revenue: {type: sum, event: {event_type: conversion}, property: value, cap: 100, quantiles: [0.5, 0.9]}
worth: {type: sum, event: {event_type: conversion, properties: {currency: [EUR, USD], value: {at_least: 1.5}}}, property: value, winsorize: 0.95}
basket: {type: mean, event: {event_type: conversion}, property: value}
by_view: {type: ratio, event: {event_type: conversion}, per: {event_type: page_view}}
again: {type: retention, event: {event_type: page_view}, day: 1}
way: {type: funnel, steps: [{event_type: page_view}, {event_type: conversion}]}
first: {type: time_to, event: {event_type: conversion}, lower_is_better: true}
signups: {type: count, event: {event_type: signup, where: \"user_id IS NOT NULL\"}}
";

pub(super) const EXPERIMENT: &str = "
variations: [{key: control, weight: 0.5}, {key: treatment, weight: 0.5}]
start: 2026-11-20
attribution_days: 2
before_days: 2
exclude: {where: \"user_id = 'u7'\"}
segments: {device: {column: device_type}, variation: {property: variation_id}}
metrics: {primary: [buyers, revenue, signups], secondary: [worth, basket, by_view, again, way, first]}
";

const BATCH: usize = 500;
/// A plan under which some of the events become dead letters, and one source's are only marked.
pub(super) const PLAN: &str = r#"
version: "1"
default_policy: quarantine
types:
  signup:
    properties:
      tier: {type: string, enum: [free, paid]}
    required: [tier]
"#;

/// A batch as it is sent.
enum Sent {
    Native(Value),
    Segment(Value),
    CloudEvents(Value),
}

/// Sends so many events, and as many copies and broken ones as belong to them. The same seed gives the same events.
pub(super) async fn send(place: &Place, events: usize, seed: u64) {
    let http = client();
    let mut random = StdRng::seed_from_u64(seed);
    let mut kept: Vec<Value> = Vec::new();
    let mut number = 0;
    while number < events {
        let mut batch = Vec::with_capacity(BATCH);
        while batch.len() < BATCH && number < events {
            let event = event(seed, number, &mut random);
            number += 1;
            if kept.len() < 5_000 && event.is_object() {
                kept.push(event.clone());
            }
            batch.push(event);
            if random.random_bool(0.05) {
                batch.push(kept[random.random_range(0..kept.len())].clone());
            }
            if random.random_bool(0.01) {
                // Another event under an id that is taken.
                let mut other = kept[random.random_range(0..kept.len())].clone();
                other["user_id"] = json!("someone else");
                batch.push(other);
            }
        }
        let sent = match random.random_range(0..10) {
            0 => Sent::Segment(json!({ "batch": batch.iter().map(segment).collect::<Vec<_>>(), "sentAt": "2026-11-24T12:00:00Z" })),
            1 => Sent::CloudEvents(Value::Array(batch.iter().map(cloud_event).collect())),
            _ => Sent::Native(Value::Array(batch)),
        };
        post(&http, place, sent).await;
    }
}

/// Copies of events that another seed's [`send`] has sent: the first ones of it.
pub(super) async fn send_again(place: &Place, events: usize, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed ^ 0x5eed);
    let copies: Vec<Value> = (0..events)
        .map(|number| {
            json!({ "event_id": id(seed, number), "event_type": "page_view", "event_time": time(number),
        "user_id": format!("u{}", random.random_range(0..50)), "properties": {"url": "https://www.example.com/again"} })
        })
        .collect();
    for batch in copies.chunks(BATCH) {
        post(&client(), place, Sent::Native(Value::Array(batch.to_vec()))).await;
    }
}

/// What no client can send: a record without a receipt, and events that were let in and cannot be decoded.
pub(super) async fn inject(config: kafka::Config) {
    let journal = kafka::Kafka::open(config).await.unwrap();
    let receipt = |id: &str| {
        format!(
            r#"{{"source":"web","event_id":"{id}","received_at":1795500000000000,"format":"native","verdict":"accepted","plan_version":"1"}}"#
        )
    };
    let record = |key: u8, header: String, value: &'static str| Record {
        key: [key; 16],
        header: header.into(),
        value: Bytes::from_static(value.as_bytes()),
    };
    let records = vec![
        record(1, "not a receipt".to_owned(), "payload of a stranger"),
        record(2, receipt("junk-1"), "{\"event_type\":"),
        record(3, receipt("junk-2"), "[1,2]"),
        record(4, receipt("junk-3"), ""),
    ];
    journal.append(records).await.unwrap();
}

fn id(seed: u64, number: usize) -> String {
    if number.is_multiple_of(7) {
        format!("own-{seed}-{number}")
    } else {
        format!("0193{:04x}-{:04x}-7{:03x}-8000-{:012x}", seed % 0xffff, number % 0xffff, number % 0xfff, number)
    }
}

fn time(number: usize) -> String {
    format!("2026-11-{:02}T{:02}:{:02}:{:02}.{:03}Z", 20 + number % 4, number % 24, number % 60, (number / 60) % 60, number % 1000)
}

fn event(seed: u64, number: usize, random: &mut StdRng) -> Value {
    let kind = ["page_view", "feature_exposure", "conversion", "identify", "signup"][random.random_range(0..5)];
    let properties = match kind {
        "page_view" => {
            json!({"url": format!("https://www.example.com/{}?utm_source=news&utm_campaign=c{}", number % 50, number % 3), "path": format!("/{}", number % 50)})
        }
        "feature_exposure" => {
            json!({"experiment_id": format!("e{}", number % 3), "variation_id": if number.is_multiple_of(2) { "control" } else { "treatment" }})
        }
        "conversion" => json!({"conversion_name": "purchase", "value": (number % 1000) as f64 / 8.0, "currency": "EUR"}),
        // One in ten breaks the plan.
        "signup" => json!({"tier": if number.is_multiple_of(10) { "gold" } else { "free" }}),
        _ => json!({"plan": "é ü \u{1f30a} \"quoted\" \\ back", "nested": {"b": 1, "a": [1.50, 1e3, null, true]}}),
    };
    let mut event = json!({ "event_id": id(seed, number), "event_type": kind, "event_time": time(number), "properties": properties });
    match random.random_range(0..4) {
        0 => event["anonymous_id"] = json!(format!("a{}", random.random_range(0..200))),
        1 => {
            event["user_id"] = json!(format!("u{}", random.random_range(0..200)));
            event["anonymous_id"] = json!(format!("a{}", random.random_range(0..200)));
        }
        _ => event["user_id"] = json!(format!("u{}", random.random_range(0..200))),
    }
    match random.random_range(0..200) {
        // A clock that is hours ahead, or behind.
        0 => event["sent_at"] = json!("2027-03-01T00:00:00Z"),
        1 => event["sent_at"] = json!("2026-11-20T00:00:00Z"),
        2 => event["event_time"] = json!(1_795_500_000_123_i64),
        3 => event["event_time"] = json!("2026-11-23T10:00:00+05:30"),
        4 => event["event_time"] = json!("yesterday"),
        5 => event["properties"] = json!(7),
        6 => event["event_type"] = json!(""),
        7 => event["event_id"] = json!("x".repeat(200)),
        8 => {
            event.as_object_mut().unwrap().remove("event_id");
        }
        9 => event["user_id"] = json!({"not": "a text"}),
        10 => event["event_time"] = json!("2031-01-01T00:00:00Z"),
        11 => {
            event["context"] =
                json!({"user_agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "locale": "de-DE"})
        }
        12 => event = json!("no event"),
        _ => {}
    }
    event
}

fn segment(event: &Value) -> Value {
    json!({
        "type": "track", "messageId": event["event_id"], "event": event["event_type"], "timestamp": event["event_time"], "userId": event["user_id"],
        "anonymousId": event["anonymous_id"], "properties": event["properties"],
    })
}

fn cloud_event(event: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": event["event_id"], "source": "/shop", "type": event["event_type"], "time": event["event_time"],
        "data": {"user_id": event["user_id"], "anonymous_id": event["anonymous_id"], "properties": event["properties"]},
    })
}

async fn post(http: &reqwest::Client, place: &Place, sent: Sent) {
    let url = place.url();
    let request = match &sent {
        Sent::Native(body) => http.post(format!("{url}/v1/events")).json(body),
        Sent::Segment(body) => http.post(format!("{url}/v1/batch")).json(body),
        Sent::CloudEvents(body) => {
            http.post(format!("{url}/v1/events")).header("content-type", "application/cloudevents-batch+json").body(body.to_string())
        }
    };
    let answer = request.basic_auth(KEY, Some("")).send().await.unwrap();
    // Some of a batch may be refused; that is an answer, too.
    assert!(
        answer.status().is_success() || answer.status().as_u16() == 400,
        "{}: {}",
        answer.status(),
        answer.text().await.unwrap_or_default()
    );
}
