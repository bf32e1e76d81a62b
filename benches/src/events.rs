//! Events as clients send them: page views for the most part, exposures, conversions. A number stands for the same event in every run.

use anyhow::Result;
use bytes::Bytes;
use contract::{EventId, Position, Receipt, Timestamp, Verdict, WireFormat, id};
use medallion::Arrival;
use serde_json::{Value, json};

/// When the gate had read them: 2026-11-23T10:30:00Z.
pub(crate) const RECEIVED: Timestamp = Timestamp(1_795_429_800_000_000);
/// The write key of whoever sends them.
pub(crate) const KEY: &str = "tg_benches";
/// What they are sent with.
pub(crate) const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
];

const USERS: u64 = 5_000;
const PAGES: u64 = 300;
/// Among copies, the last of so many events is the first of them once more.
const COPY_EVERY: u64 = 20;

/// What an event is about.
#[derive(Debug, Clone, Copy)]
enum Kind {
    PageView,
    Exposure,
    Conversion,
}

/// What is told of an event in every wire format.
struct Facts {
    kind: Kind,
    id: EventId,
    at: String,
    sent_at: String,
    user: String,
    device: String,
    session: String,
    agent: &'static str,
    url: String,
    path: String,
    title: String,
    variation: &'static str,
    revenue: f64,
}

impl Facts {
    fn of(number: u64) -> Self {
        let kind = match number % 10 {
            7 | 8 => Kind::Exposure,
            9 => Kind::Conversion,
            _ => Kind::PageView,
        };
        let (user, page) = (number % USERS, number % PAGES);
        let [_, agent, ..] = mixed(number).to_le_bytes();
        // One millisecond after the other, a few seconds before they are received.
        let at = RECEIVED.micros() - 10_000_000 + (number % 5_000) as i64 * 1_000;
        Self {
            kind,
            id: event_id(number),
            at: Timestamp(at).to_rfc3339(),
            sent_at: Timestamp(RECEIVED.micros() - 200_000).to_rfc3339(),
            user: format!("user-{user}"),
            device: format!("0190a5f0-7c1e-7cc3-98c4-{user:012x}"),
            session: format!("session-{user}"),
            agent: AGENTS.get(usize::from(agent) % AGENTS.len()).copied().unwrap_or_default(),
            url: format!("https://shop.example/products/{page}?utm_source=news&utm_medium=email&utm_campaign=autumn"),
            path: format!("/products/{page}"),
            title: format!("Product {page}"),
            variation: if mixed(user).is_multiple_of(2) { "control" } else { "treatment" },
            revenue: 10.0 + page as f64 / 4.0,
        }
    }

    fn native(&self) -> Value {
        let (event_type, name, properties) = match self.kind {
            Kind::PageView => {
                let properties = json!({
                    "url": self.url, "path": self.path, "title": self.title, "referrer": "https://www.example.org/search?q=shoes", "category": "shoes",
                    "price": self.revenue, "in_stock": true, "tags": ["new", "autumn", "leather"],
                });
                ("page_view", "Product", properties)
            }
            Kind::Exposure => ("feature_exposure", "checkout", json!({"experiment_id": "checkout", "variation_id": self.variation})),
            Kind::Conversion => (
                "conversion",
                "Purchase",
                json!({"goal": "purchase", "value": self.revenue, "revenue": self.revenue, "currency": "EUR", "quantity": 2}),
            ),
        };
        json!({
            "event_id": self.id, "event_type": event_type, "name": name, "event_time": self.at, "sent_at": self.sent_at,
            "user_id": self.user, "anonymous_id": self.device, "session_id": self.session, "properties": properties,
            "context": {
                "locale": "en-GB", "library": {"name": "tidegate-ts", "version": "0.1.0"}, "userAgent": self.agent,
                "screen": {"width": 1920, "height": 1080, "density": 2}, "timezone": "Europe/Berlin",
            },
        })
    }

    fn segment(&self) -> Value {
        let mut call = json!({
            "messageId": self.id, "timestamp": self.at, "userId": self.user, "anonymousId": self.device,
            "context": {
                "page": {"url": self.url, "path": self.path, "title": self.title}, "campaign": {"source": "news", "medium": "email", "name": "autumn"},
            },
        });
        let own = match self.kind {
            Kind::PageView => {
                json!({"type": "page", "name": "Product", "properties": {"url": self.url, "path": self.path, "title": self.title}})
            }
            Kind::Exposure => {
                json!({"type": "track", "event": "Experiment Viewed", "properties": {"experiment_id": "checkout", "variation_id": self.variation}})
            }
            Kind::Conversion => {
                json!({"type": "track", "event": "Order Completed", "properties": {"order_id": self.session, "revenue": self.revenue, "currency": "EUR"}})
            }
        };
        if let (Value::Object(call), Value::Object(own)) = (&mut call, own) {
            call.extend(own);
        }
        call
    }
}

/// A number that looks as if it had been drawn.
pub(crate) fn mixed(number: u64) -> u64 {
    let product = (u128::from(number) + 1) * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let mixed = (product >> 64) as u64 ^ product as u64;
    (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

fn event_id(number: u64) -> EventId {
    let mut random = [0; 10];
    for (to, from) in random.iter_mut().zip(mixed(number).to_le_bytes()) {
        *to = from;
    }
    id::uuid_v7(RECEIVED, random)
}

/// A request's body in Tidegate's own shape: an event, or an array of several.
pub(crate) fn native_body(events: usize) -> Bytes {
    let all: Vec<Value> = (0..events as u64).map(|number| Facts::of(number).native()).collect();
    let body = match all.as_slice() {
        [only] => only.to_string(),
        _ => Value::Array(all).to_string(),
    };
    Bytes::from(body)
}

/// A request's body in Segment's shape: a batch.
pub(crate) fn segment_body(events: usize) -> Bytes {
    let batch: Vec<Value> = (0..events as u64).map(|number| Facts::of(number).segment()).collect();
    let sent_at = Timestamp(RECEIVED.micros() - 200_000).to_rfc3339();
    let context = json!({"library": {"name": "analytics.js", "version": "2.1.0"}, "locale": "en-GB", "timezone": "Europe/Berlin"});
    Bytes::from(json!({"batch": batch, "context": context, "sentAt": sent_at, "writeKey": KEY}).to_string())
}

/// The journal's records of events that were taken.
pub(crate) fn arrivals(events: usize) -> Result<Vec<Arrival>> {
    (0..events as u64).map(|number| arrival(number, number)).collect()
}

/// The same, where one in twenty is a copy of one before it.
pub(crate) fn arrivals_with_copies(events: usize) -> Result<Vec<Arrival>> {
    let number = |offset: u64| if offset % COPY_EVERY == COPY_EVERY - 1 { offset + 1 - COPY_EVERY } else { offset };
    (0..events as u64).map(|offset| arrival(offset, number(offset))).collect()
}

fn arrival(offset: u64, number: u64) -> Result<Arrival> {
    let facts = Facts::of(number);
    let payload = Bytes::from(facts.native().to_string());
    let receipt = Receipt {
        source: "web".parse()?,
        event_id: facts.id,
        event_id_generated: false,
        received_at: RECEIVED,
        sent_at: Some(Timestamp(RECEIVED.micros() - 200_000)),
        format: WireFormat::Native,
        verdict: Verdict::Accepted,
        violations: Vec::new(),
        plan_version: "built-in-1".to_owned(),
        client_ip: Some("203.0.113.9".to_owned()),
        user_agent: Some(facts.agent.to_owned()),
        envelope: None,
        client_retries: None,
        truncated_from: None,
    };
    Ok(Arrival { position: Position { generation: 1, partition: 0, offset }, receipt, payload })
}
