//! The console as a browser asks for it: its numbers are those of the tables, and its pages keep themselves up to date.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::process::{KEY, Place, client, free_port};

/// How long something may take to be shown.
const SHOWN_MAX: Duration = Duration::from_secs(30);

struct Console {
    url: String,
    http: reqwest::Client,
}

impl Console {
    async fn get(&self, path: &str) -> (StatusCode, String) {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// The page, which must be there.
    async fn page(&self, path: &str) -> String {
        let (status, page) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {page}");
        page
    }

    async fn stream(&self, path: &str) -> Stream {
        // Without the limit of a whole answer: it has no end.
        let http = reqwest::Client::builder().connect_timeout(SHOWN_MAX).build().unwrap();
        let answer = http.get(format!("{}{path}", self.url)).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Stream { answer, text: String::new() }
    }
}

/// What a page that keeps itself up to date is sent.
struct Stream {
    answer: Response,
    text: String,
}

impl Stream {
    /// Waits until it has been sent this.
    async fn until(&mut self, part: &str) {
        let seen = async {
            while !self.text.contains(part) {
                let piece = self.answer.chunk().await.unwrap().unwrap_or_else(|| panic!("the stream ended without {part}"));
                self.text.push_str(&String::from_utf8_lossy(&piece));
            }
        };
        assert!(tokio::time::timeout(SHOWN_MAX, seen).await.is_ok(), "{part} is not in {}", self.text);
    }
}

async fn send(place: &Place, events: Value) {
    let request = client().post(format!("{}/v1/events", place.url())).basic_auth(KEY, Some("")).json(&events);
    let answer = request.send().await.unwrap();
    assert!(answer.status() == 200 || answer.status() == 400, "{}", answer.text().await.unwrap());
}

fn view(id: &str) -> Value {
    json!({"event_id": id, "event_type": "page_view", "anonymous_id": "a1", "properties": {"url": "https://example.com/"}})
}

/// The number in the cell of this name, in the row of this kind.
fn cell(page: &str, row: &str, name: &str) -> u64 {
    let rest = page.split_once(row).unwrap_or_else(|| panic!("{row} is not in {page}")).1;
    let mark = format!("data-count=\"{name}\">");
    let cell = rest.split_once(&mark).unwrap_or_else(|| panic!("{name} is not after {row}")).1;
    cell.split('<').next().unwrap().replace(',', "").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_console_shows_is_what_the_tables_have() {
    let place = Place::new();
    let port = free_port();
    let server = place.start_with(&[("TIDEGATE_CONSOLE__LISTEN", &format!("127.0.0.1:{port}"))]);
    let console = Console { url: format!("http://127.0.0.1:{port}"), http: client() };
    assert!(console.page("/").await.contains("Nothing has come yet"));

    // A stream that was there before, and goes on.
    let mut overview = console.stream("/overview/stream").await;
    let mut events = console.stream("/events/stream?show=invalid").await;
    send(&place, (0..40).map(|number| view(&format!("e{number}"))).collect()).await;
    let wrong = json!({"event_id": "bad<1>", "event_type": "page_view", "anonymous_id": "a1", "properties": {"url": 7}});
    send(&place, json!([view("e0"), view("e1"), wrong])).await;
    overview.until("43 received").await;
    events.until("bad&lt;1&gt;").await;
    assert!(events.text.contains("/properties/url") && !events.text.contains(">e0<"), "only what is invalid: {}", events.text);
    place.wait_for("SELECT count(*) AS n FROM silver.events", 40);
    place.wait_for("SELECT coalesce(sum(count), 0) AS n FROM ledger WHERE measure = 'duplicate'", 2);

    // Numbers on the pages are those of the queries.
    let page = console.page("/").await;
    let ledger = |measure: &str| place.number(&format!("SELECT coalesce(sum(count), 0) AS n FROM ledger WHERE measure = '{measure}'"));
    for (name, measure) in [("silver", "silver"), ("duplicates", "duplicate"), ("dead_letters", "dead_letter"), ("refused", "refused")] {
        assert_eq!(cell(&page, "data-source=\"web\"", name), ledger(measure), "{name}");
    }
    for table in ["bronze.events", "silver.events", "dead_letters"] {
        let rows = place.number(&format!("SELECT count(*) AS n FROM {table}"));
        assert_eq!(cell(&page, &format!("data-table=\"{table}\""), "rows"), rows, "{table}");
    }
    assert!(page.contains("The books balance"), "{page}");
    let page = console.page("/dead-letters").await;
    assert_eq!(cell(&page, "<main", "letters"), place.number("SELECT count(*) AS n FROM dead_letters"));
    assert!(page.contains("/properties/url") && page.contains("bad&lt;1&gt;") && page.contains("<mark"), "{page}");
    let again = console.page("/dead-letters?again=1").await;
    assert!(again.contains("would pass now") && again.contains("would still fail"), "{again}");
    let page = console.page("/plan").await;
    assert_eq!(cell(&page, "data-type=\"page_view\"", "events"), 40);
    assert!(console.page("/plan/type?name=page_view").await.contains("https://example.com/"));

    // An event, where it is, and as it came.
    let page = console.page("/events?q=e39").await;
    assert!(page.contains(">e39<") && !page.contains(">e38<"), "{page}");
    let mark = page.split("data-mark=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert!(console.page(&format!("/events/{mark}")).await.contains("As it came"));
    assert_eq!(console.get("/events/1-1").await.0, StatusCode::NOT_FOUND);
    let trace = console.page("/trace?id=e39").await;
    assert!(trace.contains("bronze.events") && trace.contains("silver.events"), "{trace}");

    statements(&console).await;
    guards(&console).await;
    // Pages that keep themselves up to date do not hold up the stop.
    server.stop(&place);
    let log = place.log();
    assert!(!log.contains("connections that would not end are cut") && !log.contains("still in use"), "{log}");
}

async fn statements(console: &Console) {
    let sql = "SELECT%20event_id,%20event_type,%20is_late%20FROM%20silver.events%20ORDER%20BY%20event_id";
    let page = console.page(&format!("/explore?sql={sql}")).await;
    assert!(page.contains("40 rows") && page.contains("<td>e39</td>"), "{page}");
    let bad = console.page("/explore?sql=SELECT%20nothing%20FROM%20silver.events").await;
    assert!(bad.contains("role=\"alert\"") && bad.contains("nothing"), "{bad}");
    let writing = console.page("/explore?sql=DROP%20TABLE%20silver.events").await;
    assert!(writing.contains("a query only reads"), "{writing}");
    let csv = console.page(&format!("/explore/rows.csv?sql={sql}")).await;
    assert!(csv.starts_with("event_id,event_type,is_late\ne0,page_view,false\n") && csv.lines().count() == 41, "{csv}");
    let json: Vec<Value> = serde_json::from_str(&console.page(&format!("/explore/rows.json?sql={sql}")).await).unwrap();
    assert_eq!((json.len(), json[0]["event_id"].as_str()), (40, Some("e0")));
    let parquet = console.http.get(format!("{}/explore/rows.parquet?sql={sql}", console.url)).send().await.unwrap().bytes().await.unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(parquet).unwrap().build().unwrap();
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 40);
    let words: Vec<String> = serde_json::from_str(&console.page("/explore/words").await).unwrap();
    for word in ["silver.events", "events.page_view", "event_time", "SELECT", "approx_distinct"] {
        assert!(words.iter().any(|known| known == word), "{word}");
    }
}

/// What a page of somebody else's could ask for is not answered, or costs nothing.
async fn guards(console: &Console) {
    let ask = async |path: &str, header: (&str, &str)| {
        let answer = console.http.get(format!("{}{path}", console.url)).header(header.0, header.1).send().await.unwrap();
        let policy = answer.headers().get("content-security-policy").map(|policy| policy.to_str().unwrap().to_owned());
        (answer.status(), policy.unwrap_or_default(), answer.text().await.unwrap())
    };
    let (status, _, _) = ask("/", ("host", "evil.example.org")).await;
    assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
    let elsewhere = ("sec-fetch-site", "cross-site");
    let (_, policy, page) = ask("/explore?sql=SELECT%2040%2B2", elsewhere).await;
    assert!(page.contains("came with a link from elsewhere") && !page.contains("<td class=\"number\">42</td>"), "{page}");
    assert!(policy.contains("script-src 'self'") && policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(ask("/explore/rows.csv?sql=SELECT%201", elsewhere).await.0, StatusCode::FORBIDDEN);
    assert!(ask("/explore?sql=SELECT%2040%2B2", ("sec-fetch-site", "same-origin")).await.2.contains("<td class=\"number\">42</td>"));
    assert_eq!(console.get("/nowhere").await.0, StatusCode::NOT_FOUND);
    // What all pages load.
    let (style, script) = (console.page("/console.css").await, console.page("/console.js").await);
    assert!(style.len() + script.len() < 100_000 && !style.contains("url(") && !script.contains("http"), "nothing comes from elsewhere");
}
