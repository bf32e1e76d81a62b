//! Signing in to the console, and what an admin changes there.

use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, LOCATION, SET_COOKIE};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::process::{KEY, Place, client, free_port};

const DONE_MAX: Duration = Duration::from_secs(90);

struct Console {
    url: String,
    http: reqwest::Client,
}

/// An answer, as far as it matters here.
struct Answer {
    status: StatusCode,
    location: String,
    cookie: String,
    text: String,
}

impl Console {
    async fn answer(request: RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        let header = |name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        let (status, location, cookie) = (answer.status(), header(LOCATION), header(SET_COOKIE));
        Answer { status, location, cookie, text: answer.text().await.unwrap() }
    }

    async fn get(&self, path: &str, session: &str) -> Answer {
        Self::answer(self.http.get(format!("{}{path}", self.url)).header("cookie", session).header(ACCEPT, "text/html")).await
    }

    async fn post(&self, path: &str, session: &str, fields: &[(&str, &str)]) -> Answer {
        Self::answer(self.form("same-origin", path, session, fields)).await
    }

    /// A form that a page of this site sends, as browsers call it.
    fn form(&self, site: &str, path: &str, session: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let body: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.http.post(format!("{}{path}", self.url)).header("cookie", session);
        request.header("content-type", "application/x-www-form-urlencoded").header("sec-fetch-site", site).body(body)
    }

    /// Signs in: what the browser sends from then on, and what forms bring along.
    async fn session(&self, token: &str) -> (String, String) {
        let answer = self.post("/sign-in", "", &[("token", token), ("next", "/sources?a=b")]).await;
        assert_eq!((answer.status, answer.location.as_str()), (StatusCode::SEE_OTHER, "/sources?a=b"), "{}", answer.text);
        assert!(answer.cookie.contains("; HttpOnly; SameSite=Lax; Max-Age=43200"), "{}", answer.cookie);
        let session = answer.cookie.split(';').next().unwrap().to_owned();
        let page = self.get("/sources", &session).await;
        let token = page.text.split("name=\"form_token\" value=\"").nth(1).unwrap_or_else(|| panic!("{}", page.text));
        (session, token.split('"').next().unwrap().to_owned())
    }

    /// Waits until the newest job with this command has ended; its row.
    async fn ended(&self, session: &str, command: &str) -> String {
        let began = Instant::now();
        loop {
            let page = self.get("/jobs", session).await.text;
            let row = page.split("<tr ").find(|row| row.contains(command)).unwrap_or_default().to_owned();
            if !row.is_empty() && !row.contains("data-state=\"running\"") {
                return row;
            }
            assert!(began.elapsed() < DONE_MAX, "{command}: {page}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

fn token(place: &Place, name: &str, role: &str) -> String {
    place.run_sound(&["token", "add", name, "--role", role]).trim().to_owned()
}

async fn send(place: &Place, key: &str, events: Value) -> StatusCode {
    client().post(format!("{}/v1/events", place.url())).basic_auth(key, Some("")).json(&events).send().await.unwrap().status()
}

fn view(id: &str, url: Value) -> Value {
    json!({"event_id": id, "event_type": "page_view", "anonymous_id": "a1", "properties": {"url": url}})
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_in_may_do_what_their_token_says() {
    let place = Place::new();
    let port = free_port();
    let server = place.start_with(&[("TIDEGATE_CONSOLE__LISTEN", &format!("127.0.0.1:{port}"))]);
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(Duration::from_secs(20)).build().unwrap();
    let console = Console { url: format!("http://127.0.0.1:{port}"), http };
    assert_eq!(send(&place, KEY, json!([view("e1", json!("/")), view("e2", json!("/")), view("bad", json!(7))])).await, StatusCode::OK);
    place.wait_for("SELECT count(*) AS n FROM silver.events", 2);

    // Without tokens: everything is read and nothing is changed.
    let open = console.get("/sources", "").await;
    assert!(open.status == StatusCode::OK && open.text.contains("web") && !open.text.contains("Make a key"), "{}", open.text);
    assert_eq!(console.post("/sources/add", "", &[("source", "app"), ("form_token", "")]).await.status, StatusCode::FORBIDDEN);

    let (admin, reader) = (token(&place, "anna", "admin"), token(&place, "rita", "read"));
    let listed = place.run_sound(&["token", "list", "--format", "json"]);
    assert!(listed.contains("anna") && listed.contains("admin") && !listed.contains(&admin), "{listed}");

    // Whoever is not known is led to where one signs in, and back.
    let led = console.get("/plan?x=1", "").await;
    assert_eq!((led.status, led.location.as_str()), (StatusCode::SEE_OTHER, "/sign-in?next=%2Fplan%3Fx%3D1"));
    let stream = Console::answer(console.http.get(format!("{}/events/stream", console.url)).header(ACCEPT, "text/event-stream")).await;
    assert_eq!(stream.status, StatusCode::UNAUTHORIZED);
    assert_eq!(console.get("/explore/rows.csv?sql=SELECT%201", "tidegate_session=made-up").await.status, StatusCode::SEE_OTHER);
    assert_eq!(console.get("/console.css", "").await.status, StatusCode::OK);
    let wrong = console.post("/sign-in", "", &[("token", "tc_wrong"), ("next", "/")]).await;
    assert!(wrong.status == StatusCode::FORBIDDEN && wrong.cookie.is_empty() && wrong.text.contains("This is no token"), "{}", wrong.text);
    // No page of somebody else's signs anybody in.
    let elsewhere = console.form("cross-site", "/sign-in", "", &[("token", &admin)]);
    assert_eq!(Console::answer(elsewhere).await.status, StatusCode::FORBIDDEN);

    let (anna, annas) = console.session(&admin).await;
    let (rita, ritas) = console.session(&reader).await;
    let page = console.get("/sources", &rita).await.text;
    assert!(page.contains("rita") && !page.contains("Make a key"), "{page}");

    changes(&place, &console, (&anna, &annas), (&rita, &ritas)).await;
    jobs(&place, &console, &anna, &annas).await;

    // A token that has ended signs out at once, and so does its owner.
    place.run_sound(&["token", "revoke", "anna"]);
    assert_eq!(console.get("/", &anna).await.status, StatusCode::SEE_OTHER);
    assert_eq!(console.post("/sources/add", &anna, &[("source", "x"), ("form_token", &annas)]).await.status, StatusCode::UNAUTHORIZED);
    let out = console.post("/sign-out", &rita, &[("form_token", &ritas)]).await;
    assert!(out.status == StatusCode::SEE_OTHER && out.cookie.contains("Max-Age=0"), "{}", out.cookie);
    assert_eq!(console.get("/", &rita).await.status, StatusCode::SEE_OTHER);
    server.stop(&place);
    let log = place.log();
    assert!(log.contains("signed in to the console") && !log.contains(&admin) && !log.contains(&reader), "{log}");
}

/// Keys are made and revoked by an admin, from a page that was drawn for them, and by nobody else.
async fn changes(place: &Place, console: &Console, (anna, annas): (&str, &str), (rita, ritas): (&str, &str)) {
    let wanted = |form_token| [("source", "app"), ("origins", "https://app.example.com"), ("form_token", form_token)];
    for (who, brought) in [(rita, ritas), (rita, annas), (anna, ritas), (anna, "")] {
        let refused = console.post("/sources/add", who, &wanted(brought)).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text);
    }
    let elsewhere = console.form("cross-site", "/sources/add", anna, &wanted(annas));
    assert_eq!(Console::answer(elsewhere).await.status, StatusCode::FORBIDDEN);
    assert!(!place.run_sound(&["source", "list", "--format", "json"]).contains("app"));

    let made = console.post("/sources/add", anna, &wanted(annas)).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    let key = made.text.split("id=\"new-key\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert_eq!(send(place, &key, json!([view("of-app", json!("/"))])).await, StatusCode::OK);
    assert!(!console.get("/sources", anna).await.text.contains(&key), "it is shown once");
    let bad = console.post("/sources/add", anna, &[("source", "no name"), ("form_token", annas)]).await;
    assert!(bad.text.contains("role=\"alert\""), "{}", bad.text);
    let revoked = console.post("/sources/revoke", anna, &[("source", "app"), ("form_token", annas)]).await;
    assert!(revoked.text.contains("Revoked 1 key"), "{}", revoked.text);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(send(place, &key, json!([view("after", json!("/"))])).await, StatusCode::FORBIDDEN);
}

/// Long work is begun here as a process of its own, and seen here wherever it was begun.
async fn jobs(place: &Place, console: &Console, anna: &str, annas: &str) {
    let replay = [("into", "silver_again"), ("from", ""), ("to", ""), ("then", "keep"), ("form_token", annas)];
    let begun = console.post("/jobs/replay", anna, &replay).await;
    assert_eq!((begun.status, begun.location.as_str()), (StatusCode::SEE_OTHER, "/jobs"), "{}", begun.text);
    let row = console.ended(anna, "replay --into silver_again").await;
    assert!(row.contains("data-state=\"done\"") && row.contains("anna") && row.contains("tidegate diff silver silver_again"), "{row}");
    assert_eq!(place.number("SELECT count(*) AS n FROM silver_again.events"), 3);

    let bad = [("into", "nowhere"), ("from", ""), ("to", ""), ("then", "keep"), ("form_token", annas)];
    console.post("/jobs/replay", anna, &bad).await;
    let row = console.ended(anna, "replay --into nowhere").await;
    assert!(row.contains("data-state=\"failed\"") && row.contains("silver_"), "{row}");
    let odd = [("into", "silver_odd"), ("from", "yesterday"), ("to", ""), ("then", "keep"), ("form_token", annas)];
    console.post("/jobs/replay", anna, &odd).await;
    let row = console.ended(anna, "--into=silver_odd").await;
    assert!(row.contains("data-state=\"failed\"") && row.contains("give a day"), "one that could not even begin: {row}");

    let through = console.post("/dead-letters/recover", anna, &[("code", "wrong_type"), ("form_token", annas)]).await;
    assert_eq!(through.status, StatusCode::SEE_OTHER, "{}", through.text);
    let row = console.ended(anna, "recover --reason wrong_type").await;
    assert!(row.contains("data-state=\"done\"") && row.contains("0 of 1 dead letters passed"), "{row}");

    place.run_sound(&["replay", "--into", "silver_by_hand"]);
    let row = console.ended(anna, "silver_by_hand").await;
    assert!(row.contains("command line") && row.contains("data-state=\"done\""), "{row}");
}
