//! Clients: they send batches, and know what they were told.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use tower::ServiceExt as _;

use crate::events::{Event, Expected};
use crate::laws::{Law, Violation};
use crate::locked;
use crate::schedule::{Fate, Kind, Part, Process, Schedule};
use crate::world::Running;

/// How often a client sends a batch before it gives up.
const ATTEMPTS_MAX: u32 = 8;
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What clients know: what they were told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Payloads to which a gate said yes, as often as it did.
    pub(crate) accepted: Vec<String>,
    /// Payloads to which a gate said no, and was right.
    pub(crate) refused: Vec<String>,
    /// What was not as it should be.
    pub(crate) violations: Vec<Violation>,
    /// How often a client was told to wait.
    pub(crate) waits: u64,
}

/// Who sends one batch.
pub(crate) struct Client {
    pub(crate) process: Process,
    pub(crate) schedule: Schedule,
    pub(crate) gates: Arc<Mutex<Vec<Running>>>,
    pub(crate) told: Arc<Mutex<Told>>,
}

impl Client {
    /// Sends it until there is an answer, or it was enough.
    pub(crate) async fn send(self, gate: usize, events: Vec<Event>) {
        let payloads: Vec<&str> = events.iter().map(|event| event.payload.as_str()).collect();
        let body = format!("[{}]", payloads.join(","));
        for attempt in 0..ATTEMPTS_MAX {
            let answer = tokio::time::timeout(CLIENT_TIMEOUT, self.call(gate + attempt as usize / 3, &body)).await;
            match answer {
                // With 400 it says of each event why it is refused, where it took none.
                Ok(Some((StatusCode::OK | StatusCode::BAD_REQUEST, text))) => return self.hear(&events, &text),
                Ok(Some((StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, _))) => locked(&self.told).waits += 1,
                Ok(Some((status, text))) => {
                    locked(&self.told).violations.push(Violation::new(Law::Bad, format!("a gate answered {status}: {text}")));
                    return;
                }
                // Nobody knows whether it was taken.
                Ok(None) | Err(_) => {}
            }
            tokio::time::sleep(Duration::from_secs(1 << attempt.min(4))).await;
        }
    }

    /// One request. `None`: there was no answer.
    async fn call(&self, gate: usize, body: &str) -> Option<(StatusCode, String)> {
        let fate = self.schedule.request(&self.process, Part::Network, Kind::Write, "call", |fate| fate).await;
        if fate == Fate::FailedBefore {
            return None;
        }
        let (router, mut dies) = {
            let gates = locked(&self.gates);
            let running = gates.get(gate % gates.len().max(1))?;
            (running.router.clone(), running.dies.subscribe())
        };
        let request = Request::post("/v1/events").header("authorization", "Basic a2V5Og==").header("content-type", "application/json");
        let request = request.extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 5_000)))).body(Body::from(body.to_owned())).ok()?;
        let answered = async {
            let Ok(response) = router.oneshot(request).await;
            let status = response.status();
            let text = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await.ok()?;
            Some((status, String::from_utf8_lossy(&text).into_owned()))
        };
        let answer = tokio::select! {
            answer = answered => answer,
            _ = dies.wait_for(|dies| *dies) => None,
        };
        let way_back = self.schedule.request(&self.process, Part::Network, Kind::Write, "answer", |fate| fate).await;
        answer.filter(|_| fate == Fate::Done && way_back == Fate::Done)
    }

    /// Notes what the gate said of each event.
    fn hear(&self, events: &[Event], text: &str) {
        let answer: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        let of = |list: &str| -> BTreeSet<u64> {
            let all = answer.pointer(list).and_then(serde_json::Value::as_array).into_iter().flatten();
            all.filter_map(|one| one.pointer("/index")?.as_u64()).collect()
        };
        let (refused, quarantined) = (of("/rejected"), of("/quarantined"));
        let mut told = locked(&self.told);
        for (at, event) in events.iter().enumerate() {
            let at = at as u64;
            let said = match (refused.contains(&at), quarantined.contains(&at)) {
                (true, _) => Expected::Refused,
                (false, true) => Expected::Quarantined,
                (false, false) => Expected::Taken,
            };
            if said != event.expected {
                let message = format!("{} should have been {:?}, and was {said:?}: {text}", event.payload, event.expected);
                told.violations.push(Violation::new(Law::Bad, message));
            }
            match said {
                Expected::Taken | Expected::Quarantined => told.accepted.push(event.payload.clone()),
                Expected::Refused => told.refused.push(event.payload.clone()),
            }
        }
    }
}
