//! The same journal through the workers and through the Spark job on a cluster: every table the same, row by row.

use std::collections::BTreeMap;

use datafusion::prelude::SessionContext;
use lake::{Environment, Lake, Options};
use serde_json::Value;
use servers::SparkCluster;

use super::events;
use super::harness::{Job, Servers, events_or, hand_over, patience};
use crate::process::Place;

const EVENTS: usize = 12_000;

/// What is compared, and all columns but these of it: when a record without a receipt came is a guess from the records around it, which hang on how the journal is cut.
const TABLES: [(&str, &str); 4] = [
    ("bronze.events", "*"),
    ("silver.events", "*"),
    ("silver.exposures", "*"),
    (
        "dead_letters",
        "* EXCEPT (received_at, ingest_date), CASE WHEN code = 'unreadable_receipt' THEN NULL ELSE received_at END AS received_at",
    ),
];

/// The same of what is made of them: the day of such a record is a guess too.
const LETTERS_BY_DAY: &str = "* EXCEPT (ingest_date), CASE WHEN code = 'unreadable_receipt' THEN NULL ELSE ingest_date END AS ingest_date";

/// Rows that the ledger does not tell of yet.
const UNPOSTED: &str = "SELECT (SELECT count(*) FROM bronze.events) + (SELECT count(*) FROM silver.events) + (SELECT count(*) FROM dead_letters) \
    - (SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM ledger WHERE measure IN ('accepted', 'refused', 'unreadable', 'silver', 'dead_letter'))";

async fn open(servers: &Servers, place: &Place, lake: &str) -> (SessionContext, Lake) {
    let environment: Environment = servers.s3.environment().into_iter().collect();
    let lake = Lake::open_in(&format!("s3://tidegate/{lake}"), Options::default(), &environment).await.unwrap();
    // What there is, as a command sees it.
    place.run_sound(&["audit"]);
    (lake.session().await.unwrap(), lake)
}

/// The rows of a query, by text, with how often each is there.
async fn rows(session: &SessionContext, sql: &str) -> BTreeMap<String, i64> {
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    let mut rows = BTreeMap::new();
    for batch in &batches {
        let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
        writer.write(batch).unwrap();
        writer.finish().unwrap();
        for line in String::from_utf8(writer.into_inner()).unwrap().lines() {
            *rows.entry(line.to_owned()).or_default() += 1;
        }
    }
    rows
}

/// Compares a query over both lakes; the number of rows.
async fn compare(what: &str, workers: &SessionContext, spark: &SessionContext, sql: &str) -> usize {
    let (theirs, ours) = (rows(workers, sql).await, rows(spark, sql).await);
    let differs = |(row, count): &(&String, &i64), other: &BTreeMap<String, i64>| other.get(*row) != Some(*count);
    let only_workers: Vec<_> = theirs.iter().filter(|row| differs(row, &ours)).take(3).collect();
    let only_spark: Vec<_> = ours.iter().filter(|row| differs(row, &theirs)).take(3).collect();
    assert!(
        only_workers.is_empty() && only_spark.is_empty(),
        "{what}: only the workers have {only_workers:?}, only Spark has {only_spark:?}"
    );
    theirs.values().sum::<i64>() as usize
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Spark: cargo xtask test spark"]
async fn spark_and_the_workers_make_the_same_tables() {
    let events = events_or(EVENTS);
    let servers = Servers::start();
    let plan = servers.folder.path().join("plan.yaml");
    std::fs::write(&plan, events::PLAN).unwrap();
    let plan = plan.to_str().unwrap();
    let experiments = servers.folder.path().join("experiments");
    std::fs::create_dir(&experiments).unwrap();
    std::fs::write(experiments.join("metrics.yaml"), events::METRICS).unwrap();
    std::fs::write(experiments.join("e1.yaml"), events::EXPERIMENT).unwrap();
    let experiments = experiments.to_str().unwrap();
    // The second generation of the journal has another number of partitions: copies of one event are in different ones.
    let generations = [("1", "tidegate.first", "4"), ("2", "tidegate.second", "3")];
    let cluster = SparkCluster::start(&servers.spark, &servers.folder.path().join("cluster"), 2, &servers.s3.environment()).unwrap();
    let mut places = Vec::new();
    for (generation, topic, partitions) in generations {
        let own = [
            ("TIDEGATE_JOURNAL__KAFKA__TOPIC", topic),
            ("TIDEGATE_JOURNAL__KAFKA__GENERATION", generation),
            ("TIDEGATE_JOURNAL__KAFKA__PARTITIONS", partitions),
            ("TIDEGATE_PLAN__FILE", plan),
            ("TIDEGATE_PIPELINE__EXPERIMENTS", experiments),
            ("TIDEGATE_PIPELINE__LEDGER_INTERVAL", "1s"),
        ];
        let (workers, spark) = (servers.place("workers", &own), servers.place("spark", &own));
        let server = workers.start();
        let first = generation == "1";
        events::send(&workers, if first { events } else { events / 4 }, if first { 1 } else { 2 }).await;
        if first {
            let config = journal::kafka::Config {
                brokers: vec![servers.kafka.bootstrap().to_owned()],
                topic: topic.to_owned(),
                ..journal::kafka::Config::default()
            };
            events::inject(config).await;
        } else {
            events::send_again(&workers, events / 8, 1).await;
        }
        let caught_up = || {
            let books: Value = serde_json::from_slice(&workers.run(&["audit", "--format", "json"]).stdout).unwrap();
            books["total"]["pending"] == 0 && lag(&workers) == 0 && workers.number(UNPOSTED) == 0
        };
        let began = std::time::Instant::now();
        while !caught_up() {
            assert!(began.elapsed() < patience(), "{}", workers.log());
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        server.stop(&workers);
        workers.run_sound(&["gold", "run"]);

        // Both make their tables of the same journal.
        hand_over(&spark, "spark");
        let executor = ["--executor-memory", "600m", "--conf", "spark.executor.cores=1"];
        let job = Job::submit(&spark, &["--once", "--master", cluster.url()], &executor);
        let log = spark.data().join("spark.log");
        assert_eq!(job.wait(), 0, "{}", std::fs::read_to_string(log).unwrap());
        places = vec![workers, spark];
    }
    let [workers, spark] = places.as_slice() else { panic!() };
    // Proves that Silver is, in all columns, what Bronze gives, and Gold what Silver gives.
    let deep = spark.run(&["audit", "--deep"]);
    assert!(deep.status.success(), "{}{}", crate::process::text(&deep.stdout), crate::process::text(&deep.stderr));

    let ((theirs, _), (ours, lake)) = (open(&servers, workers, "workers").await, open(&servers, spark, "spark").await);
    let mut told = Vec::new();
    for (table, columns) in TABLES {
        let count = compare(table, &theirs, &ours, &format!("SELECT {columns} FROM {table}")).await;
        assert!(count > 0, "{table} is empty");
        told.push(format!("{table} {count}"));
    }
    let gold: Vec<String> = lake.tables().await.unwrap().into_iter().filter(|table| table.starts_with("gold.")).collect();
    assert_eq!(gold.len(), 17, "{gold:?}");
    for table in gold {
        let columns = if table == "gold.dead_letters_by_day" { LETTERS_BY_DAY } else { "*" };
        let count = compare(&table, &theirs, &ours, &format!("SELECT {columns} FROM {table}")).await;
        told.push(format!("{table} {count}"));
    }
    for table in ["gold.experiment_subjects_e1", "gold.experiment_metrics_e1", "gold.experiment_values_e1", "gold.experiment_ages_e1"] {
        assert!(spark.number(&format!("SELECT count(*) AS n FROM {table}")) > 10, "{table} is next to empty");
    }
    same_result(spark, cluster.url());
    // Commits are cut differently; their sums are not. The hour of a record without a receipt is the guess that its time is.
    let sums = "SELECT stage, source, CASE WHEN measure = 'unreadable' THEN NULL ELSE hour END AS hour, measure, sum(count) AS count FROM ledger \
        GROUP BY 1, 2, 3, 4 HAVING sum(count) <> 0";
    told.push(format!("ledger {}", compare("ledger", &theirs, &ours, sums).await));
    for (what, sql) in [
        ("copies", "SELECT count(*) AS n FROM ledger WHERE measure = 'duplicate'"),
        ("conflicts", "SELECT count(*) AS n FROM dead_letters WHERE code = 'identity_conflict'"),
        ("late events", "SELECT count(*) AS n FROM silver.events WHERE is_late"),
        ("corrected clocks", "SELECT count(*) AS n FROM silver.events WHERE clock_corrected"),
        ("dead letters of the gate", "SELECT count(*) AS n FROM dead_letters WHERE stage = 'gate'"),
        ("dead letters of the plan", "SELECT count(*) AS n FROM dead_letters WHERE stage = 'plan'"),
        ("dead letters of Silver", "SELECT count(*) AS n FROM dead_letters WHERE stage = 'silver' AND code <> 'identity_conflict'"),
        ("records without a receipt", "SELECT count(*) AS n FROM dead_letters WHERE stage = 'bronze'"),
        ("wire formats", "SELECT count(DISTINCT wire_format) - 2 AS n FROM bronze.events"),
    ] {
        assert!(spark.number(sql) > 0, "there are no {what}: the comparison would not show how they are treated");
    }
    println!("the same rows, made by the workers and by Spark on a cluster of 2 workers: {}", told.join(", "));
}

/// Of the same Gold, Spark and the workers' command tell the same of an experiment, to the last digit.
fn same_result(place: &Place, cluster: &str) {
    let ours: Value = serde_json::from_slice(&place.run(&["experiment", "e1", "--format", "json"]).stdout).unwrap();
    let job = Job::submit(
        place,
        &["--experiment", "e1", "--master", cluster],
        &["--executor-memory", "600m", "--conf", "spark.executor.cores=1"],
    );
    let log = place.data().join("spark.log");
    assert_eq!(job.wait(), 0, "{}", std::fs::read_to_string(&log).unwrap());
    let log = std::fs::read_to_string(log).unwrap();
    let line = log.lines().rfind(|line| line.starts_with(r#"{"experiment""#)).unwrap();
    let theirs: Value = serde_json::from_str(line).unwrap();
    assert_eq!(theirs, ours);
    assert!(ours["metrics"][0]["effects"][0]["difference"]["p_value"].is_number(), "{ours}");
}

/// Records that the workers have not taken to Bronze yet.
fn lag(place: &Place) -> u64 {
    use std::io::{Read as _, Write as _};
    let mut connection = std::net::TcpStream::connect(("127.0.0.1", place.port)).unwrap();
    connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let lines: Vec<&str> = answer.lines().filter(|line| line.starts_with("tidegate_bronze_lag_records{")).collect();
    // Nothing is known before Bronze has looked.
    if lines.is_empty() { 1 } else { lines.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum() }
}
