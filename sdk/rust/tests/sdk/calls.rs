//! What a call makes of what it is given.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::json;
use tidegate_sdk::{Client, Event, Outcome, Scope};

use crate::gate::{Gate, taken};
use crate::helpers::{SOON, balanced, client, millis, numbered, until};

#[test]
fn an_event_is_sent_as_it_was_at_the_call() {
    #[derive(Serialize)]
    struct Signup {
        tier: &'static str,
        seats: u32,
    }

    let gate = Gate::start();
    let client = Client::builder("the-key").url(format!("{}/in/", gate.url)).context("app", "shop").build().unwrap();
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_428_000_123);
    let event =
        Event::new("signup").user_id(17).name("n").event_time(at).properties(Signup { tier: "free", seats: 2 }).context("locale", "de");
    let event_id = client.track(event).unwrap();
    assert!(client.flush(SOON));
    balanced(&client);
    let [request] = &gate.requests()[..] else { panic!("one request") };
    let mut event = request.events[0].clone();
    assert!(event.as_object_mut().unwrap().remove("sent_at").is_some());
    let library = json!({"name": "tidegate-rust", "version": env!("CARGO_PKG_VERSION")});
    let expected = json!({
        "event_id": event_id, "event_type": "signup", "event_time": "2026-11-23T10:00:00.123Z", "user_id": "17", "name": "n",
        "properties": {"tier": "free", "seats": 2}, "context": {"app": "shop", "locale": "de", "library": library},
    });
    assert_eq!(event, expected);
    // Behind a path of one's own.
    assert_eq!(request.path, "/in/v1/events");
    assert!(request.headers["Authorization"] == "Bearer the-key" && request.headers["X-Retry-Count"] == "0");
}

#[test]
fn an_event_is_part_of_the_trace_that_its_caller_records() {
    let gate = Gate::start();
    let active = Arc::new(Mutex::new(Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned())));
    let tells = Arc::clone(&active);
    let client = client(&gate.url).traceparent(move || tells.lock().unwrap().clone()).build().unwrap();
    client.track(Event::new("within")).unwrap();
    *active.lock().unwrap() = None;
    client.track(Event::new("without")).unwrap();
    assert!(client.flush(SOON));
    let events = gate.events();
    assert_eq!(events[0]["context"]["traceparent"], "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert!(events[1]["context"].get("traceparent").is_none(), "{}", events[1]);
}

#[test]
fn nothing_that_is_given_makes_a_call_fail() {
    let gate = Gate::start();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = Arc::clone(&told);
    let client = client(&gate.url).on_delivery(move |delivery| tells.lock().unwrap().push(delivery)).build().unwrap();
    let wrong = [
        Event::new(""),
        Event::new("x".repeat(257)),
        Event::new("t").event_id("x".repeat(101)),
        Event::new("t").property("x", f64::NAN),
        Event::new("t").property("x", BTreeMap::from([([1, 2], 3)])),
        Event::new("t").properties([1]),
        Event::new("t").properties("text"),
        Event::new("t").context("x", f32::INFINITY),
    ];
    let number = wrong.len();
    for event in wrong {
        assert_eq!(client.track(event.clone()), None, "{event:?}");
    }
    assert_eq!(client.track(Event::new("t").property("large", "x".repeat(300_000))), None);
    let stats = balanced(&client);
    assert_eq!(stats.dropped_by, BTreeMap::from([("invalid".to_owned(), number as u64), ("too_large".to_owned(), 1)]));
    until("all of it is told", || told.lock().unwrap().len() == number + 1);
    for delivery in told.lock().unwrap().iter() {
        assert!(matches!(&delivery.outcome, Outcome::Dropped(why) if !why.message.is_empty()), "{delivery:?}");
    }
    assert!(gate.requests().is_empty());
}

#[test]
fn a_scope_says_who_and_where() {
    let gate = Gate::start();
    let client = client(&gate.url).build().unwrap();
    let scope = Scope::new().user_id("u1").session_id("s1").context("page", json!({"url": "https://a"}));
    client.track(Event::new("inner").in_scope(&scope));
    client.track(Event::new("outer").user_id("u2").in_scope(&scope));
    client.track(Event::new("outside"));
    assert!(client.flush(SOON));
    let events = gate.events();
    assert_eq!(
        (&events[0]["user_id"], &events[0]["session_id"], &events[0]["context"]["page"]["url"]),
        (&json!("u1"), &json!("s1"), &json!("https://a"))
    );
    assert_eq!((&events[1]["user_id"], &events[1]["context"]["library"]["name"]), (&json!("u2"), &json!("tidegate-rust")));
    assert!(events[2].get("user_id").is_none() && events[2]["context"].get("page").is_none());
}

#[test]
fn the_events_that_every_application_has() {
    let gate = Gate::start();
    let client = client(&gate.url).build().unwrap();
    client.track(Event::page_view("https://shop.example/cart").property("title", "Cart").anonymous_id("a1"));
    client.track(Event::identify("u1").property("plan", "pro").anonymous_id("a1"));
    client.track(Event::conversion("purchase").property("value", 12.5).property("currency", "EUR").user_id("u1"));
    client.track(Event::exposure("checkout", "treatment").user_id("u1"));
    assert!(client.flush(SOON));
    let seen: Vec<_> = gate.events().iter().map(|event| json!([event["event_type"], event.get("name"), event["properties"]])).collect();
    assert_eq!(
        seen,
        [
            json!(["page_view", null, {"url": "https://shop.example/cart", "title": "Cart"}]),
            json!(["identify", null, {"plan": "pro"}]),
            json!(["conversion", "purchase", {"value": 12.5, "currency": "EUR"}]),
            json!(["feature_exposure", null, {"experiment_id": "checkout", "variation_id": "treatment"}]),
        ]
    );
}

#[test]
fn consent() {
    let gate = Gate::start();
    let client = client(&gate.url).enabled(false).build().unwrap();
    assert!(client.track(Event::new("before")).is_none() && !client.enabled());
    client.opt_in();
    let first = client.track(Event::new("agreed")).unwrap();
    assert!(client.flush(SOON));
    gate.hold();
    let on_its_way = client.track(Event::new("on its way")).unwrap();
    until("it is on its way", || gate.requests().len() == 2);
    client.track(Event::new("queued"));
    client.opt_out();
    assert_eq!(client.track(Event::new("after")), None);
    gate.let_go();
    assert!(client.close(SOON));
    let stats = balanced(&client);
    assert_eq!((stats.delivered, stats.dropped_by["opted_out"], stats.suppressed), (2, 1, 2));
    let ids: Vec<_> = gate.events().iter().map(|event| event["event_id"].clone()).collect();
    assert_eq!(ids, [json!(first), json!(on_its_way)]);
}

#[test]
fn what_is_taken_back_is_not_sent_again() {
    let gate = Gate::start();
    gate.answer(|_| (503, Vec::new(), Some("1")));
    let client = client(&gate.url).build().unwrap();
    client.track(Event::new("t"));
    until("it was tried", || gate.requests().len() == 1);
    client.opt_out();
    assert!(client.close(SOON));
    assert_eq!((balanced(&client).dropped_by["opted_out"], gate.requests().len()), (1, 1));
}

#[test]
fn wrong_settings_say_what_is_wrong() {
    let check = |builder: tidegate_sdk::ClientBuilder, told: &str| {
        let message = builder.build().unwrap_err().to_string();
        assert!(message.contains(told), "{message}");
    };
    check(Client::builder(""), "tidegate source add");
    check(Client::builder("k\n"), "write key");
    for url in ["events.example.com", "ftp://events.example.com", "http://", "", "https://a b", "http://a/?x=1"] {
        check(client(url), "url must be like");
    }
    check(Client::builder("k").queue_events_max(0), "queue_events_max");
    check(Client::builder("k").spool_bytes_max(0), "spool_bytes_max");
    check(Client::builder("k").timeout(Duration::ZERO), "timeout");
    check(Client::builder("k").timeout(Duration::MAX), "timeout");
    check(Client::builder("k").context("x", f64::NAN), "context x");
    let shown = format!("{:?} {:?}", Client::builder("tg_secret"), Client::builder("tg_secret").build().unwrap());
    assert!(!shown.contains("tg_secret"), "{shown}");
}

#[test]
fn waits_without_an_end_are_waits() {
    let gate = Gate::start();
    let client = client(&gate.url).batch_interval(Duration::MAX).spool_interval(Duration::MAX).build().unwrap();
    client.track(Event::new("t"));
    assert!(client.flush(Duration::MAX) && client.close(Duration::MAX));
    assert_eq!(gate.events().len(), 1);
}

#[test]
fn from_many_threads() {
    let gate = Gate::start();
    let client = client(&gate.url).queue_events_max(100_000).build().unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            let client = client.clone();
            scope.spawn(move || {
                for number in 0..2_000 {
                    numbered(&client, number).unwrap();
                }
            });
        }
    });
    assert!(client.flush(SOON));
    assert_eq!(balanced(&client).delivered, 16_000);
    assert_eq!(gate.ids().into_iter().collect::<HashSet<_>>().len(), 16_000);
}

#[test]
fn async_code_waits_without_stopping_its_thread() {
    let gate = Gate::start();
    let url = gate.url.clone();
    gate.hold();
    let ids = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
        let client = client(&url).build().unwrap();
        let ids: Vec<_> = (0..100).filter_map(|number| numbered(&client, number)).collect();
        let flush = client.flush_async(SOON);
        // On the same thread, while it waits.
        tokio::time::sleep(millis(50)).await;
        gate.let_go();
        assert!(flush.await);
        assert!(!client.sync_async(millis(10)).await, "there is no spool");
        assert!(client.close_async(SOON).await);
        assert_eq!(balanced(&client).delivered, 100);
        ids
    });
    assert_eq!(gate.events().iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), ids);
}

#[test]
fn the_last_handle_that_is_dropped_sends_what_there_is() {
    let gate = Gate::start();
    let client = client(&gate.url).batch_interval(Duration::from_secs(60)).build().unwrap();
    let other = client.clone();
    client.track(Event::new("last"));
    drop(client);
    assert!(gate.requests().is_empty());
    drop(other);
    assert_eq!(gate.events().len(), 1);
}

#[test]
fn a_callback_that_panics_or_calls_back_is_no_matter() {
    let gate = Gate::start();
    let own: Arc<Mutex<Option<Client>>> = Arc::default();
    let calls = Arc::clone(&own);
    let tracked = client(&gate.url)
        .on_delivery(move |delivery| {
            if let Some(client) = calls.lock().unwrap().take() {
                client.track(Event::new("of the callback"));
                // The last handle but one; it is closed on the thread that calls.
                drop(client);
            }
            panic!("the application's fault, of {}", delivery.event_id);
        })
        .build()
        .unwrap();
    *own.lock().unwrap() = Some(tracked.clone());
    tracked.track(Event::new("t"));
    until("both are delivered", || balanced(&tracked).delivered == 2);
    assert!(tracked.close(SOON));
}

#[test]
fn a_client_that_ends_on_its_own_thread_ends() {
    let gate = Gate::start();
    let own: Arc<Mutex<Option<Client>>> = Arc::default();
    let held = Arc::clone(&own);
    let (tells, told) = std::sync::mpsc::channel();
    let client = client(&gate.url)
        .on_delivery(move |_| {
            drop(held.lock().unwrap().take());
            tells.send(()).unwrap();
        })
        .build()
        .unwrap();
    let mut held = own.lock().unwrap();
    client.track(Event::new("t"));
    *held = Some(client);
    drop(held);
    told.recv_timeout(SOON).unwrap();
}

#[test]
fn what_is_logged_holds_no_key_and_may_track_itself() {
    use tracing::field::{Field, Visit};
    use tracing::span;

    #[derive(Default)]
    struct Kept(Mutex<String>, Mutex<Option<Client>>);

    impl Visit for &Kept {
        fn record_debug(&mut self, _: &Field, value: &dyn std::fmt::Debug) {
            self.0.lock().unwrap().push_str(&format!("{value:?}\n"));
        }
    }

    struct Logs(Arc<Kept>);

    impl tracing::Subscriber for Logs {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.target() == "tidegate"
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            event.record(&mut &*self.0);
            // Applications send their own log as events.
            if let Some(client) = &*self.0.1.lock().unwrap() {
                client.track(Event::new("log"));
            }
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    let kept = Arc::new(Kept::default());
    // No other test of this program looks at the log.
    tracing::subscriber::set_global_default(Logs(Arc::clone(&kept))).unwrap();
    let client = Client::builder("tg_secret_key").url("http://127.0.0.1:1").build().unwrap();
    *kept.1.lock().unwrap() = Some(client.clone());
    client.track(Event::new("t"));
    client.track(Event::new(""));
    until("it is logged", || kept.0.lock().unwrap().contains("127.0.0.1:1 gives no answer"));
    client.close(millis(500));
    let log = kept.0.lock().unwrap().clone();
    assert!(log.contains("an event was dropped (invalid)") && !log.contains("tg_secret_key"), "{log}");
    kept.1.lock().unwrap().take();
}

#[test]
fn a_gate_behind_tls_that_is_not_trusted_is_no_answer() {
    // Plain HTTP is no TLS either: what matters is that the events wait.
    let gate = Gate::start();
    gate.answer(taken);
    let client = client(&gate.url.replace("http://", "https://")).build().unwrap();
    client.track(Event::new("t"));
    assert!(!client.flush(millis(300)));
    assert_eq!(balanced(&client).pending, 1);
    client.close(Duration::ZERO);
}
