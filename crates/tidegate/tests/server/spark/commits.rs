//! Spark and a worker commit to one table on S3 at the same time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use lake::{Commit, Environment, Lake, Options, TableSpec};
use servers::{Fault, Proxy, S3, Spark};

/// `TIDEGATE_TEST_COMMITS` sets another number.
const COMMITS: i64 = 15;
const SCRIPT: &str = include_str!("commits.py");
const OURS: &str = "io.tidegate.spark.S3ConditionalLogStore";
const STOCK: &str = "io.delta.storage.S3SingleDriverLogStore";
/// What lies between asking whether a version is there and writing it, for whoever does that in two steps.
const DELAY: Duration = Duration::from_millis(2);
/// It loses a commit where both are within some milliseconds, which is chance.
const ROUNDS_MAX: u32 = 6;
/// Of the worker between its commits: whoever loses to one reads it before the next attempt, and must not be behind for ever.
const PAUSE: Duration = Duration::from_millis(250);

fn spec(name: &str) -> TableSpec {
    let fields = vec![Field::new("who", DataType::Utf8, false), Field::new("number", DataType::Int64, false)];
    // Every snapshot that Spark takes reads the log from the last checkpoint on.
    TableSpec::new(name, Arc::new(Schema::new(fields)), &[]).with_checkpoint_interval(10)
}

fn row(number: i64) -> RecordBatch {
    let schema = spec("t").schema;
    RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(vec!["rust"])), Arc::new(Int64Array::from(vec![number]))]).unwrap()
}

/// A Spark session that commits when it is told to.
struct Writer {
    child: Child,
    answers: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Writer {
    fn start(spark: &Spark, endpoint: &str, keys: &[(String, String)], log_store: &str, log: &std::path::Path) -> Self {
        let jars = spark.jars().join("*");
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(spark.python());
        command.args(["-c", SCRIPT, endpoint, log_store]).arg(jars).envs(keys.iter().map(|(name, value)| (name, value)));
        command.env("SPARK_LOCAL_IP", "127.0.0.1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut writer = Self { child, answers };
        assert_eq!(writer.answer(), "ready");
        writer
    }

    fn answer(&mut self) -> String {
        self.answers.next().unwrap_or_else(|| panic!("the Spark session ended")).unwrap()
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Both commit so many times; how many commits were acknowledged, how many rows of these are not there, and the newest version.
async fn race(lake: &Lake, writer: &mut Writer, table: &str, commits: i64, meanwhile: impl Fn()) -> (i64, i64, i64) {
    let mut rust = lake.table(&spec(table)).await.unwrap();
    writer.tell(&format!("{table} {commits}"));
    assert_eq!(writer.answer(), "go");
    let mut acknowledged = 0;
    // A worker is far faster: it goes on until Spark is through, so that they meet.
    let done = std::sync::atomic::AtomicI64::new(-1);
    std::thread::scope(|scope| {
        scope.spawn(|| done.store(writer.answer().parse().unwrap(), std::sync::atomic::Ordering::SeqCst));
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                while done.load(std::sync::atomic::Ordering::SeqCst) < 0 || acknowledged < commits {
                    match rust.append(vec![row(acknowledged)], Commit::default()).await {
                        Ok(_) => acknowledged += 1,
                        // Others were faster too often.
                        Err(error) if error.kind() == lake::ErrorKind::Conflict => {}
                        Err(error) => panic!("{error}"),
                    }
                    meanwhile();
                    tokio::time::sleep(PAUSE).await;
                }
            });
        });
    });
    let of_spark = done.into_inner();
    assert_eq!(of_spark, commits, "Spark could not make all of its commits");
    let session = lake.session().await.unwrap();
    let count = |sql: String| {
        let session = session.clone();
        async move {
            let batches = session.sql(&sql).await.unwrap().collect().await.unwrap();
            use arrow::array::AsArray as _;
            batches[0].column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0)
        }
    };
    let found = count(format!("SELECT count(*) FROM {table}")).await;
    let distinct = count(format!("SELECT count(*) FROM (SELECT DISTINCT who, number FROM {table})")).await;
    assert_eq!(found, distinct, "some rows are there twice");
    let version = lake.reader(table).await.unwrap().unwrap().version();
    (acknowledged + of_spark, acknowledged + of_spark - found, version)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Spark: cargo xtask test spark"]
async fn spark_and_a_worker_commit_to_one_table_and_every_commit_is_kept() {
    let commits = std::env::var("TIDEGATE_TEST_COMMITS").map_or(COMMITS, |number| number.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3::start(folder.path()).unwrap();
    s3.bucket("tidegate").unwrap();
    let spark = Spark::from_environment().unwrap();
    let environment: Environment = s3.environment().into_iter().collect();
    let lake = Lake::open_in("s3://tidegate/lake", Options::default(), &environment).await.unwrap();
    // Spark's way to the store is slower than the worker's, so that they meet often.
    let proxy = Proxy::start(s3.url().trim_start_matches("http://")).unwrap();
    proxy.set(Fault::Slow(DELAY));
    let endpoint = format!("http://{}", proxy.address());
    let log = folder.path().join("spark.log");

    let mut writer = Writer::start(&spark, &endpoint, &s3.environment(), OURS, &log);
    let (acknowledged, lost, version) = race(&lake, &mut writer, "conditional", commits, || ()).await;
    println!("conditional PUT: {acknowledged} commits acknowledged, {lost} lost, newest version {version}");
    // The first version made the table.
    assert_eq!((lost, version), (0, acknowledged));

    // Answers are lost, also those to commits that were made: a commit that is refused because of itself is known for one.
    proxy.set(Fault::None);
    let struck = proxy.struck();
    let turns = std::sync::atomic::AtomicU64::new(0);
    let lose = || {
        let turn = turns.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        proxy.set(if turn.is_multiple_of(12) { Fault::LoseAnswers } else { Fault::None });
    };
    let (acknowledged, lost, version) = race(&lake, &mut writer, "faulty", commits / 2, lose).await;
    println!("answers lost {} times: {acknowledged} commits acknowledged, {lost} lost, newest version {version}", proxy.struck() - struck);
    assert_eq!((lost, version), (0, acknowledged));
    assert!(proxy.struck() > struck);
    drop(writer);

    // That this can be seen at all: the same with Delta's own log store.
    proxy.set(Fault::Slow(2 * DELAY));
    let mut writer = Writer::start(&spark, &endpoint, &s3.environment(), STOCK, &log);
    let mut lost_by_stock = 0;
    for round in 0..ROUNDS_MAX {
        let (acknowledged, lost, version) = race(&lake, &mut writer, &format!("stock_{round}"), commits, || ()).await;
        println!("Delta's own log store: {acknowledged} commits acknowledged, {lost} lost, newest version {version}");
        lost_by_stock += lost;
        if lost_by_stock > 0 {
            break;
        }
    }
    assert!(lost_by_stock > 0, "Delta's own log store lost nothing: this test would not notice that ours does");
}
