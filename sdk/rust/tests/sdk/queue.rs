//! From the queue to the gate: batches, answers, retries, a full queue, deadlines.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_sdk::{Event, Outcome, WhenFull};

use crate::gate::{Gate, taken, unavailable};
use crate::helpers::{SOON, balanced, client, millis, numbered, until};

fn is_of(event: &Value, event_type: &str) -> bool {
    event["event_type"] == event_type
}

#[test]
fn batches_are_cut_by_number_bytes_and_time() {
    let gate = Gate::start();
    gate.hold();
    let client = client(&gate.url).batch_events_max(10).batch_bytes_max(2_000).batch_interval(millis(200)).build().unwrap();
    let began = Instant::now();
    client.track(Event::new("first"));
    until("the first one came", || !gate.requests().is_empty());
    assert!(began.elapsed() >= millis(190));
    for number in 0..25 {
        numbered(&client, number);
    }
    client.track(Event::new("t").property("large", "x".repeat(1_900)));
    client.track(Event::new("t").property("large", "x".repeat(1_900)));
    gate.let_go();
    assert!(client.flush(SOON));
    let sizes: Vec<_> = gate.requests().iter().map(|request| request.events.len()).collect();
    assert!(sizes.iter().sum::<usize>() == 28 && sizes.iter().all(|size| *size <= 10) && sizes.ends_with(&[1, 1]), "{sizes:?}");
}

#[test]
fn what_is_answered_event_by_event_is_counted_event_by_event() {
    let gate = Gate::start();
    gate.answer(|events| {
        let bad = events.iter().enumerate().filter(|(_, event)| is_of(event, "bad"));
        let rejected: Vec<_> = bad
            .map(|(index, event)| json!({"index": index, "event_id": event["event_id"], "code": "invalid_time", "field": "/event_time", "message": "is no time"}))
            .collect();
        (200, json!({"success": true, "accepted": events.len() - rejected.len(), "rejected": rejected}).to_string().into_bytes(), None)
    });
    let told = Arc::new(Mutex::new(BTreeMap::new()));
    let tells = Arc::clone(&told);
    let client = client(&gate.url)
        .on_delivery(move |delivery| drop(tells.lock().unwrap().insert(delivery.event_id, delivery.outcome)))
        .build()
        .unwrap();
    let (good, bad) = (client.track(Event::new("good")).unwrap(), client.track(Event::new("bad")).unwrap());
    assert!(client.flush(SOON));
    let stats = balanced(&client);
    assert_eq!((stats.delivered, stats.rejected_by["invalid_time"]), (1, 1));
    until("both are told", || told.lock().unwrap().len() == 2);
    let told = told.lock().unwrap();
    assert_eq!(told[&good], Outcome::Delivered);
    assert!(matches!(&told[&bad], Outcome::Rejected(why) if why.code == "invalid_time" && why.message == "/event_time is no time"));
    assert_eq!(gate.requests().len(), 1);
}

#[test]
fn the_same_events_are_sent_again_until_they_are_answered() {
    let gate = Gate::start();
    let mut answers = 0;
    gate.answer(move |events| {
        answers += 1;
        match answers {
            1 => unavailable(events),
            2 => (200, b"<html>".to_vec(), None),
            3 => (302, Vec::new(), None),
            _ => taken(events),
        }
    });
    let client = client(&gate.url).build().unwrap();
    let event_id = client.track(Event::new("t")).unwrap();
    assert!(client.flush(SOON));
    assert_eq!(balanced(&client).retries, 3);
    let requests = gate.requests();
    assert!(requests.iter().all(|request| request.events.len() == 1 && request.events[0]["event_id"] == event_id), "{requests:?}");
    assert_eq!(requests.iter().map(|request| request.headers["X-Retry-Count"].to_str().unwrap()).collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    let sent: Vec<_> = requests.iter().map(|request| request.events[0]["sent_at"].as_str().unwrap()).collect();
    assert!(sent.is_sorted() && requests.iter().all(|request| request.events[0]["event_time"] == requests[0].events[0]["event_time"]));
}

#[test]
fn too_large_a_request_is_cut_in_half() {
    let gate = Gate::start();
    let is_huge = |events: &[Value]| events.iter().any(|event| is_of(event, "huge"));
    gate.answer(move |events| if events.len() > 2 || is_huge(events) { (413, Vec::new(), None) } else { taken(events) });
    let client = client(&gate.url).build().unwrap();
    let mut ids: Vec<_> = (0..7).filter_map(|number| numbered(&client, number)).collect();
    client.track(Event::new("huge"));
    assert!(client.flush(SOON));
    let stats = balanced(&client);
    assert_eq!((stats.delivered, stats.dropped_by), (7, BTreeMap::from([("too_large".to_owned(), 1)])));
    let answered = gate.requests().into_iter().filter(|request| request.events.len() <= 2 && !is_huge(&request.events));
    let mut sent: Vec<_> =
        answered.flat_map(|request| request.events).map(|event| event["event_id"].as_str().unwrap().to_owned()).collect();
    sent.sort();
    ids.sort();
    assert_eq!(sent, ids);
}

#[test]
fn a_full_queue() {
    for policy in [WhenFull::DropNewest, WhenFull::DropOldest, WhenFull::Block(millis(100))] {
        let gate = Gate::start();
        gate.hold();
        let told = Arc::new(Mutex::new(Vec::new()));
        let tells = Arc::clone(&told);
        let client = client(&gate.url).queue_events_max(10).batch_events_max(5).when_full(policy);
        let client = client.on_delivery(move |delivery| tells.lock().unwrap().push(delivery.outcome)).build().unwrap();
        let first: Vec<_> = (0..5).filter_map(|number| numbered(&client, number)).collect();
        until("the first batch is on its way", || !gate.requests().is_empty());
        let began = Instant::now();
        let ids: Vec<_> = (0..12).map(|number| numbered(&client, number)).collect();
        let took = began.elapsed();
        let stats = balanced(&client);
        assert_eq!((stats.dropped_by, stats.pending), (BTreeMap::from([("queue_full".to_owned(), 2)]), 15), "{policy:?}");
        let kept = if policy == WhenFull::DropOldest { &ids[2..] } else { &ids[..10] };
        assert_eq!(ids.iter().filter(|id| id.is_none()).count(), if policy == WhenFull::DropOldest { 0 } else { 2 });
        assert_eq!(matches!(policy, WhenFull::Block(_)), took >= millis(200), "{policy:?}: {took:?}");
        gate.let_go();
        assert!(client.close(SOON));
        let mut expected: Vec<_> = first.into_iter().chain(kept.iter().flatten().cloned()).collect();
        expected.sort();
        assert_eq!(gate.ids(), expected, "{policy:?}");
        let told = told.lock().unwrap();
        assert_eq!(told.iter().filter(|outcome| matches!(outcome, Outcome::Dropped(why) if why.code == "queue_full")).count(), 2);
    }
}

#[test]
fn a_call_that_waits_goes_on_when_there_is_room() {
    let gate = Gate::start();
    gate.hold();
    let client = client(&gate.url).queue_events_max(1).batch_events_max(1).when_full(WhenFull::Block(SOON)).build().unwrap();
    client.track(Event::new("sent"));
    until("it is on its way", || !gate.requests().is_empty());
    client.track(Event::new("queued"));
    let other = client.clone();
    let waits = thread::spawn(move || other.track(Event::new("waits")));
    thread::sleep(millis(100));
    assert!(!waits.is_finished());
    gate.let_go();
    assert!(waits.join().unwrap().is_some());
    assert!(client.flush(SOON) && balanced(&client).delivered == 3);
}

#[test]
fn bytes_bound_the_queue_too() {
    let gate = Gate::start();
    gate.hold();
    let client = client(&gate.url).queue_bytes_max(10_000).build().unwrap();
    for _ in 0..10 {
        client.track(Event::new("t").property("x", "x".repeat(4_000)));
    }
    // Some may be on their way before the queue is full.
    assert!(balanced(&client).dropped_by["queue_full"] >= 4);
    gate.let_go();
    assert!(client.close(SOON));
}

#[test]
fn a_queue_that_is_smaller_than_a_batch_is_sent_before_it_is_full() {
    let gate = Gate::start();
    let client = client(&gate.url).queue_events_max(20).batch_interval(Duration::from_secs(60)).build().unwrap();
    for number in 0..200 {
        numbered(&client, number);
        thread::sleep(millis(5));
    }
    assert!(balanced(&client).dropped == 0 && !gate.requests().is_empty());
}

#[test]
fn flush_and_close_keep_their_deadlines() {
    let gate = Gate::start();
    gate.answer(unavailable);
    let client = client(&gate.url).build().unwrap();
    client.track(Event::new("t"));
    let began = Instant::now();
    assert!(!client.flush(millis(300)));
    assert!(began.elapsed() > millis(250) && began.elapsed() < millis(2_000));
    assert!(!client.close(millis(300)));
    assert!(began.elapsed() < millis(3_000));
    assert_eq!(client.track(Event::new("late")), None);
    let stats = balanced(&client);
    assert_eq!((stats.dropped_by, stats.pending), (BTreeMap::from([("closed".to_owned(), 2)]), 0));
    assert!(client.close(millis(300)), "nothing is left");
}

#[test]
fn what_the_gate_asks_for_is_waited_for() {
    let gate = Gate::start();
    let mut is_first = true;
    gate.answer(move |events| if std::mem::replace(&mut is_first, false) { (429, Vec::new(), Some("1")) } else { taken(events) });
    let client = client(&gate.url).build().unwrap();
    client.track(Event::new("t"));
    let began = Instant::now();
    assert!(client.flush(SOON));
    assert!(began.elapsed() >= millis(1_000) && gate.requests().len() == 2);
}
