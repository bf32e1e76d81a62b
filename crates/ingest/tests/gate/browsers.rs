//! What browsers need: permission across origins, pixels, the settings of analytics.js.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use contract::{Timestamp, Verdict};
use ingest::Config;
use ingest::keys::Scope;
use journal::embedded;
use serde_json::json;

use crate::support::{KEY, Request, Server, event, source};

#[tokio::test]
async fn preflight_requests_are_allowed_for_a_day() {
    let server = Server::start().await;
    let asked = Request::new("OPTIONS", "/v1/batch")
        .header("origin", "https://shop.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "Authorization,Content-Type,AnonymousId,SentAt,X-Retry-Count,Rsa-Batch-Id,X-Other");
    let answer = server.send(asked).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.example"));
    assert_eq!(answer.header("access-control-max-age"), Some("86400"));
    assert_eq!(answer.header("vary"), Some("Origin"));
    let allowed = answer.header("access-control-allow-headers").unwrap();
    for name in ["authorization", "content-type", "anonymousid", "sentat", "x-retry-count", "rsa-batch-id"] {
        assert!(allowed.split(", ").any(|header| header == name), "{name}: {allowed}");
    }
    assert!(!allowed.contains("x-other"));
}

#[tokio::test]
async fn answers_and_errors_can_be_read_by_the_page() {
    let server = Server::start().await;
    for request in [Request::events(event("1")), Request::events("{"), Request::post("/v1/events", "")] {
        let answer = server.send(request.header("origin", "https://shop.example")).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.example"), "{answer:?}");
        assert_eq!(answer.header("access-control-expose-headers"), Some("Retry-After"));
    }
    assert_eq!(server.send(Request::events(event("1"))).await.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_source_may_allow_only_its_own_pages() {
    let server = Server::start().await;
    server.keys.revoke(&source("web"), None, Timestamp(0)).unwrap();
    server
        .keys
        .add(
            source("shop"),
            &"tg_shop".parse().unwrap(),
            Scope { allowed_origins: vec!["https://shop.example".to_owned()], ..Scope::default() },
            Timestamp(0),
        )
        .unwrap();
    // The gate sees the new file within a second.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let preflight = |origin| Request::new("OPTIONS", "/v1/events").header("origin", origin);
    assert_eq!(server.send(preflight("https://shop.example")).await.status, 204);
    let refused = server.send(preflight("https://evil.example")).await;
    assert_eq!((refused.error(403).as_str(), refused.header("access-control-allow-origin")), ("origin_not_allowed", None));
    let post = || Request::post("/v1/events", event("1")).header("x-write-key", "tg_shop");
    server.send(post().header("origin", "https://shop.example")).await.taken(1);
    server.send(post()).await.taken(1);
    assert_eq!(server.send(post().header("origin", "https://evil.example")).await.error(403), "origin_not_allowed");
    assert_eq!(server.send(Request::events(event("1"))).await.error(403), "revoked_key");
    assert_eq!(server.kept().await.len(), 2);
}

#[tokio::test]
async fn pixels_take_base64_of_any_kind() {
    let server = Server::start().await;
    let data = format!(r#"{{"writeKey":"{KEY}","event":"Opened ÿ>?","userId":"u","messageId":"m"}}"#);
    let standard = STANDARD.encode(&data);
    assert!(standard.contains('+') || standard.contains('/'), "the alphabets differ on this input");
    for encoded in [standard.replace('+', "%2B").replace('=', "%3D"), standard.clone(), URL_SAFE_NO_PAD.encode(&data)] {
        let answer = server.send(Request::get(&format!("/v1/pixel/track?data={encoded}"))).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/gif")));
        assert!(answer.body.starts_with(b"GIF89a"));
    }
    let kept = server.kept().await;
    assert_eq!(kept.len(), 3);
    assert!(
        kept.iter().all(|kept| kept.payload == data && kept.envelope() == json!({"type": "track"}) && kept.verdict() == Verdict::Accepted)
    );
}

#[tokio::test]
async fn pixels_take_fields_as_parameters() {
    let server = Server::start().await;
    let path = format!(
        "/pixel/v1/track?writeKey={KEY}&event=Opened&anonymousId=a&properties=%7B%22n%22%3A1%7D&context.page.path=%2Fx&messageId=m"
    );
    let answer = server.send(Request::get(&path)).await;
    assert_eq!((answer.status, answer.header("content-type"), answer.header("cache-control")), (200, Some("image/gif"), Some("no-store")));
    server.send(Request::get(&format!("/pixel/v1/page/?writeKey={KEY}&name=Home"))).await;
    let kept = server.kept().await;
    let query = json!({"event": "Opened", "anonymousId": "a", "properties": {"n": 1}, "context.page.path": "/x", "messageId": "m"});
    assert_eq!(kept[0].envelope(), json!({"type": "track", "query": query}));
    assert_eq!((kept[0].verdict(), kept[0].payload.len(), kept[0].receipt.event_id.as_str()), (Verdict::Accepted, 0, "m"));
    assert_eq!(kept[1].envelope(), json!({"type": "page", "query": {"name": "Home"}}));
}

#[tokio::test]
async fn a_pixel_is_a_picture_whatever_comes_but_never_says_yes_to_what_was_not_taken() {
    let server = Server::start().await;
    for (path, status, code) in [
        ("/pixel/v1/track".to_owned(), 401, Some("missing_key")),
        ("/pixel/v1/track?writeKey=no".to_owned(), 401, Some("unknown_key")),
        (format!("/pixel/v1/track?writeKey={KEY}"), 400, Some("missing_field")),
        (format!("/pixel/v1/track?writeKey={KEY}&event=e&timestamp=soon"), 400, Some("invalid_time")),
        (format!("/v1/pixel/track?writeKey={KEY}&data=%25"), 400, Some("invalid_base64")),
        (format!("/v1/pixel/track?writeKey={KEY}"), 400, Some("missing_field")),
        (format!("/v1/pixel/track?writeKey={KEY}&data=e30"), 400, Some("missing_field")),
        // A page view needs no field but the key.
        (format!("/pixel/v1/page?writeKey={KEY}"), 200, None),
    ] {
        let answer = server.send(Request::get(&path)).await;
        assert_eq!(
            (answer.status, answer.header("content-type"), answer.header("x-tidegate-code")),
            (status, Some("image/gif"), code),
            "{path}"
        );
        assert!(answer.body.starts_with(b"GIF89a"));
    }
    let before = server.kept().await.len();
    let mut connection = server.connect().await;
    connection.write(format!("HEAD /pixel/v1/page?writeKey={KEY} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).await;
    // A HEAD answer states a length but has no body, so only its head is looked at.
    let mut head = [0; 15];
    tokio::io::AsyncReadExt::read_exact(&mut connection.stream, &mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    assert_eq!(server.kept().await.len(), before, "a look at a link is no event");
}

#[tokio::test]
async fn analytics_js_is_told_to_send_here() {
    let behind_proxy = Config { trusted_proxies: 1, ..Config::default() };
    let server = Server::start_with(behind_proxy, embedded::Config::default(), contract::Plan::built_in()).await;
    let path = format!("/v1/projects/{KEY}/settings");
    let settings = server.send(Request::get(&path)).await.json();
    let target = json!({"apiKey": KEY, "apiHost": "gate.test/v1", "protocol": "http", "versionSettings": {}});
    assert_eq!(settings["integrations"]["Segment.io"], target);
    assert_eq!((&settings["analyticsNextEnabled"], &settings["plan"]["track"]["__default"]["enabled"]), (&json!(true), &json!(true)));
    let proxied = Request::get(&path)
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "events.example")
        .header("origin", "https://shop.example");
    let answer = server.send(proxied).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.example"));
    let target = &answer.json()["integrations"]["Segment.io"];
    assert_eq!((&target["apiHost"], &target["protocol"]), (&json!("events.example/v1"), &json!("https")));
    assert_eq!(server.send(Request::get("/v1/projects/unknown/settings")).await.error(401), "unknown_key");
}

#[tokio::test]
async fn the_description_of_the_api_is_served() {
    let server = Server::start().await;
    let document = server.send(Request::get("/openapi.json")).await.json();
    assert_eq!(document["openapi"], "3.1.0");
}
