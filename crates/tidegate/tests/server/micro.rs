//! `tidegate micro`, as the tests of its users run it.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use servers::Guard;

use crate::process::client;

/// Events in every wire format, from any key; what is wrong is kept with the reason; a copy counts as one; a full memory tells clients to wait.
#[tokio::test]
async fn it_tells_what_it_was_sent() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let mut child = command
        .args(["micro", "--listen", "127.0.0.1:0", "--events-max", "6"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _guard = Guard::over(child.id(), "KILL").unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let url = url.trim();
    let http = client();
    let post = async |path: &str, key: &str, body: Value| {
        let answer = http.post(format!("{url}{path}")).basic_auth(key, Some("")).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let ask = async |what: &str| http.get(format!("{url}/micro/{what}")).send().await.unwrap().json::<Value>().await.unwrap();

    let native = json!([
        {"event_id": "a", "event_type": "page_view", "event_time": "2026-11-23T10:00:00Z", "user_id": 7, "properties": {"url": "https://e.example/"}},
        {"event_id": "b", "event_type": "conversion", "properties": {"value": "much"}},
        {"event_id": "c", "event_type": "page_view", "event_time": "yesterday"},
    ]);
    let (status, told) = post("/v1/events", "some key", native.clone()).await;
    assert_eq!((status, &told["accepted"], &told["rejected"][0]["code"]), (200, &json!(2), &json!("invalid_time")), "{told}");
    let (status, _) =
        post("/v1/batch", "another key", json!({"batch": [{"type": "track", "messageId": "s", "event": "signup", "anonymousId": "x"}]}))
            .await;
    assert_eq!(status, 200);
    assert_eq!(post("/v1/events", "k", native[0].clone()).await.0, 200);

    assert_eq!(ask("all").await, json!({"total": 5, "good": 2, "bad": 2, "duplicates": 1}));
    let good = ask("good").await;
    assert_eq!(good[0]["event"]["event_time"], "2026-11-23T10:00:00.000000Z");
    assert_eq!((&good[0]["event"]["user_id"], &good[0]["wire_format"]), (&json!("7"), &json!("native")));
    assert_eq!((&good[1]["event"]["event_type"], &good[1]["event"]["anonymous_id"]), (&json!("signup"), &json!("x")));
    let bad = ask("bad").await;
    assert_eq!((&bad[0]["verdict"], &bad[0]["violations"][0]["field"]), (&json!("quarantined"), &json!("/properties/value")));
    assert_eq!((&bad[1]["verdict"], &bad[1]["payload"]["event_id"]), (&json!("refused"), &json!("c")));

    // It keeps no more than it was told to, and says so as the journal would.
    let many: Vec<Value> = (0..10).map(|number| json!({"event_id": format!("m{number}"), "event_type": "t"})).collect();
    let (status, told) = post("/v1/events", "k", many.clone().into()).await;
    assert_eq!((status, &told["code"]), (429, &json!("journal_full")));
    assert_eq!(ask("reset").await, json!({"total": 0, "good": 0, "bad": 0, "duplicates": 0}));
    assert_eq!(post("/v1/events", "k", many[..6].to_vec().into()).await.0, 200);
    assert_eq!(http.get(format!("{url}/readyz")).send().await.unwrap().status(), 200);

    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}
