//! `tidegate spark`: the Structured Streaming job, started with the settings of this program.

use std::env;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use console::pages::shell;
use experiments::definition::Experiment;
use lake::Lake;
use medallion::gold::experiment::Tables;
use medallion::gold::{Input, Model, Span};
use medallion::tables::Engine;
use pipeline::engine::{self, Owners};
use serde_json::{Value, json};

use super::engine::{check_reach, is_whole};
use super::{DataArgs, LakeArgs};
use crate::output::{self, Format};
use crate::settings::Settings;

/// Where the jars are, unless a flag says so.
const JARS_VARIABLE: &str = "TIDEGATE_SPARK_JARS";
const LOG_STORE: &str = "io.tidegate.spark.S3ConditionalLogStore";
/// What spark-submit runs; the rest is in the Python package.
const JOB: &str = include_str!("../../../../spark/tidegate_job.py");

/// Run the Structured Streaming job, and see how it stands
///
/// The job makes the same tables as the workers of `tidegate serve`, with the same transform, on a Spark cluster. It needs the journal in Kafka and the lake on S3.
#[derive(Debug, Args)]
pub(crate) struct SparkArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Submit(SubmitArgs),
    Status(StatusArgs),
}

/// Start the job with spark-submit
///
/// It makes the tables that are missing, writes what the job has to know to `spark/settings.json` in the data folder (it may hold Kafka's password; only its owner can read it),
/// and becomes spark-submit. The stream has to be Spark's: `tidegate engine spark`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  export TIDEGATE_SPARK_JARS=spark/jvm/target/jars     made by `mvn package` in spark/jvm
  tidegate engine spark && tidegate spark submit --master 'local[4]'
  tidegate spark submit --master spark://10.0.0.1:7077 -- --executor-memory 4g --total-executor-cores 16
  tidegate spark submit --once                          what the journal holds now, then end
  tidegate spark submit --dry-run                       the command line, to put into a unit or a pod")]
struct SubmitArgs {
    /// The cluster; otherwise as spark-defaults.conf says
    #[arg(long, value_name = "URL")]
    master: Option<String>,
    /// End when what the journal holds now is in the tables
    #[arg(long)]
    once: bool,
    /// Print what came of an experiment, as JSON, and end: made by Spark of the same Gold as that of `tidegate experiment`
    #[arg(long, value_name = "NAME", conflicts_with = "once")]
    experiment: Option<String>,
    /// Folder with the jars [default: $TIDEGATE_SPARK_JARS]
    #[arg(long, value_name = "DIR")]
    jars: Option<PathBuf>,
    /// The program [default: $SPARK_HOME/bin/spark-submit, else spark-submit]
    #[arg(long, value_name = "PROGRAM")]
    spark_submit: Option<PathBuf>,
    /// Where the driver answers Prometheus, such as 127.0.0.1:9108
    #[arg(long, value_name = "ADDR")]
    metrics: Option<String>,
    /// Print the command line, and do not run it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    data: DataArgs,
    /// For spark-submit, as they are
    #[arg(last = true, value_name = "ARGUMENT")]
    further: Vec<String>,
}

/// Show how far the stages are, and who made the newest commit of each table
#[derive(Debug, Args)]
struct StatusArgs {
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    lake: LakeArgs,
}

pub(crate) async fn run(args: SparkArgs) -> anyhow::Result<bool> {
    match args.action {
        Action::Submit(args) => Box::pin(submit(args)).await,
        Action::Status(args) => Box::pin(status(args)).await,
    }
}

async fn submit(args: SubmitArgs) -> anyhow::Result<bool> {
    let settings = args.data.load(Vec::new())?.settings;
    check_reach(&settings)?;
    settings.journal.kafka.check()?;
    let jars = jars(args.jars.clone().or_else(|| env::var_os(JARS_VARIABLE).map(PathBuf::from)))?;
    let lake = Lake::open(&settings.lake_location(), settings.lake.options.clone()).await?;
    // A lake that is in no folder is on S3.
    let hadoop = lake.hadoop_properties().unwrap_or_default();
    let owners = engine::owners(&lake).await?;
    if owners != (Owners { bronze: Engine::Spark, silver: Engine::Spark }) {
        bail!("the stream is the workers': hand it over first with `tidegate engine spark`");
    }
    pipeline::prepare(&lake, &settings.pipeline).await?;
    let folder = fs::canonicalize(made(&settings.data.join("spark"))?)?;
    let file = folder.join("settings.json");
    write_private(&file, &serde_json::to_string_pretty(&told(&settings, lake.location().as_str(), args.metrics.as_deref())?)?)?;
    let job = folder.join("tidegate_job.py");
    fs::write(&job, JOB).with_context(|| format!("{} cannot be written", job.display()))?;

    let mut command = Command::new(program(args.spark_submit));
    command.args(["--name", "tidegate"]);
    if let Some(master) = &args.master {
        command.args(["--master", master]);
    }
    command.arg("--jars").arg(jars.join(","));
    for (name, value) in configuration(hadoop) {
        command.arg("--conf").arg(format!("{name}={value}"));
    }
    command.args(&args.further).arg(&job).arg(&file);
    if args.once {
        command.arg("--once");
    }
    if let Some(name) = &args.experiment {
        command.args(["--experiment", name]);
    }
    if args.dry_run {
        let words = std::iter::once(command.get_program()).chain(command.get_args()).map(|word| word.to_string_lossy().into_owned());
        output::text(&format!("{}\n", shell(&words.collect::<Vec<_>>())))?;
        return Ok(true);
    }
    let program = command.get_program().to_owned();
    // Signals, the exit code and the terminal are spark-submit's from here on.
    Err(command.exec()).with_context(|| {
        format!(
            "{} cannot be run: install Spark 4.2 (`pip install pyspark==4.2.0`), or name the program with --spark-submit",
            program.display()
        )
    })
}

/// What the session must have. Keys are no part of it: they come from the environment or the role of each node.
fn configuration(hadoop: &[(String, String)]) -> Vec<(String, String)> {
    let fixed = [
        ("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension"),
        ("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog"),
        ("spark.delta.logStore.s3a.impl", LOG_STORE),
        ("spark.sql.session.timeZone", "UTC"),
        // What the job has to say is its own log.
        ("spark.log.level", "WARN"),
        // Stages run beside each other.
        ("spark.scheduler.mode", "FAIR"),
        // What the models read goes by the names silver.events and the like in this session, and in no metastore.
        ("spark.sql.catalogImplementation", "in-memory"),
        // Logs of thousands of files; the default suits millions, and costs each commit a job of 50 tasks.
        ("spark.databricks.delta.snapshotPartitions", "4"),
        // Else days would be written to many small files, one of each task.
        ("spark.databricks.delta.optimizeWrite.enabled", "true"),
        // What one task writes; the default of 512 MiB would leave the writing of a whole micro-batch to one core.
        ("spark.databricks.delta.optimizeWrite.binSize", "16m"),
    ];
    let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
    fixed.into_iter().chain(hadoop.iter().map(|(name, value)| (format!("spark.hadoop.{name}"), value.clone()))).collect()
}

/// What the job has to know of the settings.
fn told(settings: &Settings, lake: &str, metrics: Option<&str>) -> anyhow::Result<Value> {
    let (kafka, pipeline) = (&settings.journal.kafka, &settings.pipeline);
    let rules = pipeline.rules();
    let options: serde_json::Map<String, Value> =
        kafka.java_properties()?.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    Ok(json!({
        "lake": lake,
        "topic": kafka.topic,
        "generation": kafka.generation,
        "kafka": options,
        "commit_interval": pipeline.commit_interval.as_secs_f64(),
        "records_max": pipeline.batch_records_max,
        "silver_rows_max": pipeline.silver_rows_max,
        "clock_skew_tolerance_micros": rules.clock_skew_tolerance_micros,
        "allowed_lateness_micros": rules.allowed_lateness_micros,
        "gold_interval": pipeline.gold_interval.as_secs_f64(),
        "ledger_interval": pipeline.ledger_interval.as_secs_f64(),
        "retry_pause_max": pipeline.retry_pause_max.as_secs_f64(),
        "models": pipeline.models()?.iter().map(|model| of_model(model)).collect::<Vec<_>>(),
        "experiments": pipeline.experiments()?.iter().map(of_experiment).collect::<Vec<_>>(),
        "metrics": metrics,
    }))
}

fn of_experiment(experiment: &Experiment) -> Value {
    let Tables { metrics, values, ages, counts, .. } = Tables::of(experiment);
    json!({ "experiment": experiment, "tables": { "metrics": metrics, "values": values, "ages": ages, "counts": counts } })
}

fn of_model(model: &Model) -> Value {
    json!({
        "name": model.name,
        "keys": model.keys,
        "partition_by": model.partition_by,
        "reads": model.reads.iter().map(of_input).collect::<Vec<_>>(),
        "every": model.every.as_secs_f64(),
        "sql": model.sql,
        "definition": pipeline::gold::definition(model),
    })
}

fn of_input(input: &Input) -> Value {
    match input.span {
        Span::Whole => json!({ "table": input.table, "whole": true }),
        Span::Days { before, after } => json!({ "table": input.table, "whole": false, "before": before, "after": after }),
    }
}

fn jars(folder: Option<PathBuf>) -> anyhow::Result<Vec<String>> {
    let Some(folder) = folder else {
        bail!("name the folder with the jars with --jars or {JARS_VARIABLE}; `mvn package` in spark/jvm makes it: spark/jvm/target/jars");
    };
    let entries = fs::read_dir(&folder).with_context(|| format!("the folder of jars {} cannot be read", folder.display()))?;
    let mut jars = Vec::new();
    for entry in entries {
        let path = fs::canonicalize(entry?.path())?;
        if path.extension().is_some_and(|end| end == "jar") {
            jars.push(path.to_str().context("the name of a jar is not UTF-8")?.to_owned());
        }
    }
    jars.sort();
    if !jars.iter().any(|jar| jar.contains("tidegate-spark")) {
        bail!("there is no tidegate-spark jar in {}; `mvn package` in spark/jvm makes the folder: spark/jvm/target/jars", folder.display());
    }
    Ok(jars)
}

fn program(named: Option<PathBuf>) -> PathBuf {
    let of_home = || env::var_os("SPARK_HOME").map(|home| PathBuf::from(home).join("bin/spark-submit"));
    named.or_else(of_home).unwrap_or_else(|| PathBuf::from("spark-submit"))
}

fn made(folder: &Path) -> anyhow::Result<&Path> {
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    Ok(folder)
}

/// Writes a file that only its owner can read, in the place of the one that may be there.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let failed = || format!("{} cannot be written", path.display());
    let new = path.with_extension("new");
    drop(fs::remove_file(&new));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    fs::rename(&new, path).with_context(failed)
}

async fn status(args: StatusArgs) -> anyhow::Result<bool> {
    let (lake, settings) = args.lake.open_with_settings().await?;
    let standing = engine::standing(&lake, &settings.pipeline).await?;
    let columns = ["table", "engine", "version", "behind", "committed at", "committed by", "rows"];
    let mut rows = output::stdout(args.format, output::heads(args.format, columns))?;
    for table in standing {
        rows.write(vec![
            json!(table.name),
            json!(table.owner.map(Engine::as_str)),
            json!(table.version),
            json!(table.behind),
            json!(table.committed_at),
            json!(table.committed_by),
            json!(table.rows),
        ])?;
    }
    rows.finish()?;
    Ok(is_whole(engine::owners(&lake).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_is_told_every_setting_that_silver_hangs_on() {
        let mut settings = Settings::default();
        settings.journal.kafka.brokers = vec!["a:1".to_owned(), "b:2".to_owned()];
        let told = told(&settings, "s3://b/p/", None).unwrap();
        let rules = settings.pipeline.rules();
        assert_eq!(told["clock_skew_tolerance_micros"], json!(rules.clock_skew_tolerance_micros));
        assert_eq!(told["allowed_lateness_micros"], json!(rules.allowed_lateness_micros));
        assert_eq!(told["kafka"]["bootstrap.servers"], "a:1,b:2");
        assert_eq!(told["models"].as_array().unwrap().len(), settings.pipeline.models().unwrap().iter().len());
    }
}
