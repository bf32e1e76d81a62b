//! Historic rows of files: each once in Silver, on its own day, however often they are put in, however the command ends, and whatever comes in meanwhile.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use serde_json::Value;
use servers::S3;

use crate::process::{KEY, Place, client, text};
use crate::traffic::{self, Load, Traffic};

/// `TIDEGATE_TEST_BACKFILL_ROWS` sets another number, of all three files together.
const ROWS: u64 = 21_000;
/// 2026-01-01T00:00:00Z, in milliseconds.
const FIRST: i64 = 1_767_225_600_000;
const HOUR: i64 = 3_600_000;
const MAPPING: &str = "event_type: {value: order}\nevent_time: created\nuser_id: customer\nproperties:\n  total: {column: amount, type: number}\n  number: {column: number, type: \
                       integer}\nother_columns: drop\n";

fn rows() -> u64 {
    std::env::var("TIDEGATE_TEST_BACKFILL_ROWS").map_or(ROWS, |rows| rows.parse().unwrap())
}

/// When a row happened: an hour each, of ninety days.
fn time(number: u64) -> i64 {
    FIRST + (number % (90 * 24)) as i64 * HOUR
}

fn day(number: u64) -> String {
    contract::Timestamp(time(number) * 1000).date_text()
}

fn csv(folder: &Path, numbers: std::ops::Range<u64>) {
    let mut text = String::from("number,created,customer,amount,secret\n");
    for number in numbers {
        writeln!(text, "{number},{},c{},\"{}.50\",x", time(number), number % 100, number % 10).unwrap();
    }
    // A row that has too much, and one whose amount is none: neither spoils the others.
    text.push_str("1,2,3,4,5,6\n5,1767225600000,c5,much,x\n");
    let mut gzip = GzEncoder::new(File::create(folder.join("one.csv.gz")).unwrap(), Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap();
}

fn parquet(folder: &Path, numbers: std::ops::Range<u64>) {
    let all: Vec<u64> = numbers.collect();
    let customers: StringArray = all.iter().map(|number| Some(format!("c{}", number % 100))).collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("number", Arc::new(Int64Array::from_iter_values(all.iter().map(|number| *number as i64)))),
        ("created", Arc::new(TimestampMillisecondArray::from_iter_values(all.iter().map(|number| time(*number))))),
        ("customer", Arc::new(customers)),
        ("amount", Arc::new(Float64Array::from_iter_values(all.iter().map(|number| (number % 10) as f64 + 0.5)))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = parquet::file::properties::WriterProperties::builder().set_compression(parquet::basic::Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(File::create(folder.join("two.parquet")).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn ndjson(folder: &Path, numbers: std::ops::Range<u64>) {
    let mut text = String::new();
    for number in numbers {
        let (created, amount) = (contract::Timestamp(time(number) * 1000).to_rfc3339(), (number % 10) as f64 + 0.5);
        writeln!(text, r#"{{"number":{number},"created":"{created}","customer":"c{}","amount":{amount}}}"#, number % 100).unwrap();
    }
    std::fs::write(folder.join("three.ndjson.zst"), zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
}

fn backfill(place: &Place, arguments: &[&str]) -> Output {
    let fixed = ["backfill", "--mapping", "orders.yaml", "--url", &place.url(), "--key", KEY, "--format", "json"];
    place.run(&[&fixed, arguments].concat())
}

fn count(output: &Output, outcome: &str) -> u64 {
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    rows.iter().filter(|row| row["events"] == outcome).map(|row| row["count"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_row_is_once_in_silver_on_its_day_whatever_happens_meanwhile() {
    let (place, rows) = (Place::new(), rows() / 3 * 3);
    let files = place.data().join("history");
    std::fs::create_dir(&files).unwrap();
    csv(&files, 0..rows / 3);
    parquet(&files, rows / 3..rows / 3 * 2);
    ndjson(&files, rows / 3 * 2..rows);
    std::fs::write(place.data().join("orders.yaml"), MAPPING).unwrap();
    let server = place.start();

    let dry = backfill(&place, &["history", "--dry-run"]);
    assert_eq!((count(&dry, "accepted"), count(&dry, "refused")), (rows, 2), "{}", text(&dry.stderr));
    assert_eq!(place.number("SELECT count(*) FROM bronze.events"), 0, "a dry run sends nothing");

    let live = Traffic::start(vec![place.url()], Load { batch: 50, rate: 2_000, events: 16_000 });
    let mut killed = 0;
    for after in [15, 40, 80, 160] {
        let mut command = place.command();
        command.args(["backfill", "history", "--mapping", "orders.yaml", "--url", &place.url(), "--key", KEY, "--data"]).arg(place.data());
        let mut running = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(after)).await;
        running.kill().unwrap();
        killed += u32::from(running.wait().unwrap().signal() == Some(9));
    }
    assert!(killed > 0, "none was killed before its end");
    let began = std::time::Instant::now();
    let whole = backfill(&place, &["history", "--rejects", "rejected.ndjson", "--again"]);
    let took = began.elapsed();
    assert_eq!((whole.status.code(), count(&whole, "accepted"), count(&whole, "refused")), (Some(1), rows, 2), "{}", text(&whole.stderr));
    let rejected = std::fs::read_to_string(place.data().join("rejected.ndjson")).unwrap();
    assert!(
        rejected.lines().count() == 2
            && rejected.contains("has 6 values, the head has 5 columns")
            && rejected.contains("amount is \\\"much\\\""),
        "{rejected}"
    );
    // All of it again, from a copy under other names and packed otherwise; and what was noted makes the third run short.
    let packed = File::open(files.join("one.csv.gz")).unwrap();
    std::io::copy(&mut flate2::read::GzDecoder::new(packed), &mut File::create(place.data().join("copy.csv")).unwrap()).unwrap();
    let copied = backfill(&place, &["copy.csv", "--again"]);
    assert_eq!(count(&copied, "accepted"), rows / 3);
    let third = backfill(&place, &["history"]);
    assert_eq!(count(&third, "accepted"), 0, "{}", text(&third.stderr));
    assert!(text(&third.stderr).contains(&format!("{rows} rows were brought by an earlier run")), "{}", text(&third.stderr));
    let told = live.finish().await;
    place.wait_for(&format!("SELECT count(*) FROM silver.events WHERE event_type = 'order' AND {rows} > 0"), rows);
    server.stop(&place);

    traffic::check_silver_where(&place, &told, "event_type <> 'order'");
    assert_eq!(place.number("SELECT count(DISTINCT event_id) FROM silver.events WHERE event_type = 'order'"), rows);
    let numbers = "SELECT count(DISTINCT properties) FROM silver.events WHERE event_type = 'order'";
    assert_eq!(place.number(numbers), rows, "each row has its number");
    for number in [0, 24, rows / 3, rows / 3 * 2 + 5] {
        let found = place.query(&format!(
            "SELECT user_id, CAST(event_date AS VARCHAR) AS day, properties FROM silver.events WHERE event_type = 'order' AND properties LIKE '%\"number\":{number},%'"
        ));
        assert_eq!(found.len(), 1, "{number}: {found:?}");
        assert_eq!(
            (&found[0]["user_id"], found[0]["day"].as_str().unwrap()),
            (&Value::from(format!("c{}", number % 100)), day(number).as_str()),
            "{found:?}"
        );
        let properties: Value = serde_json::from_str(found[0]["properties"].as_str().unwrap()).unwrap();
        assert_eq!(properties["total"], (number % 10) as f64 + 0.5);
        assert!(properties.get("secret").is_none());
    }
    assert_eq!(
        place.number("SELECT count(*) FROM gold.activity_by_day WHERE event_type = 'order'"),
        rows.min(90 * 24).div_ceil(24).min(90)
    );
    place.run_sound(&["audit"]);
    println!(
        "{rows} rows, {killed} kills; a whole run took {:.1} s, {:.0} rows a second, beside live traffic",
        took.as_secs_f64(),
        rows as f64 / took.as_secs_f64()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_on_s3_are_read_and_what_cannot_be_read_says_why() {
    let place = Place::new();
    std::fs::write(place.data().join("orders.yaml"), MAPPING).unwrap();
    let s3 = S3::start(&place.data().join("s3")).unwrap();
    s3.bucket("history").unwrap();
    let objects = place.data().join("s3/buckets/history/2025");
    std::fs::create_dir_all(&objects).unwrap();
    parquet(&objects, 0..500);
    ndjson(&objects, 500..900);
    std::fs::write(objects.join("README.txt"), "no rows").unwrap();
    let server = place.start();
    let url = place.url();
    let run = |files: &str, mapping: &str| {
        let arguments = ["backfill", files, "--mapping", mapping, "--url", &url, "--key", KEY, "--format", "json"];
        place.run_with(&arguments, &s3.environment())
    };
    let all = run("s3://history/2025", "orders.yaml");
    assert!(all.status.success() && count(&all, "accepted") == 900, "{}", text(&all.stderr));
    let one = run("s3://history/2025/two.parquet", "orders.yaml");
    assert!(one.status.success() && text(&one.stderr).contains("500 rows were brought by an earlier run"), "{}", text(&one.stderr));
    place.wait_for("SELECT count(*) FROM silver.events", 900);
    for (files, mapping, part) in [
        ("s3://history/2024", "orders.yaml", "nothing to read"),
        (
            "s3://history/2025/two.parquet",
            "other.yaml",
            "the mapping names the columns when, which are not there; there are number, created, customer, amount",
        ),
        ("nowhere.csv", "orders.yaml", "nowhere.csv"),
    ] {
        std::fs::write(place.data().join("other.yaml"), "event_type: {value: x}\nevent_time: when\n").unwrap();
        let refused = run(files, mapping);
        assert!(!refused.status.success() && text(&refused.stderr).contains(part), "{files}: {}", text(&refused.stderr));
    }
    assert_eq!(client().get(format!("{url}/readyz")).send().await.unwrap().status().as_u16(), 200);
    server.stop(&place);
}
