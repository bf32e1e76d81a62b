"""Structured Streaming from Kafka to Delta, as one would write it today: what Tidegate's worker is measured beside.

`bronze` appends what the topic has, as it is. `silver` reads the events, gives them typed columns, and puts each in once: exactly, by a MERGE on the event's
id, or within a watermark of a day (`--deduplication watermark`), which keeps what it has seen for so long only and drops events that are later. The topic is
read to its end in micro-batches of one size; rates are those of Spark's own progress, without the first ones.

    python stream.py silver --brokers 127.0.0.1:9092 --topic tidegate.events --jars JARS --folder DIR --json report.json
"""

import argparse
import json
import os
import platform
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

EVENT = T.StructType(
    [
        T.StructField("event_id", T.StringType()),
        T.StructField("event_type", T.StringType()),
        T.StructField("name", T.StringType()),
        T.StructField("event_time", T.TimestampType()),
        T.StructField("sent_at", T.TimestampType()),
        T.StructField("user_id", T.StringType()),
        T.StructField("anonymous_id", T.StringType()),
        T.StructField("session_id", T.StringType()),
        # Kept as JSON, for what is in them differs from type to type.
        T.StructField("properties", T.StringType()),
        T.StructField("context", T.StringType()),
    ]
)
SETTINGS = {
    "spark.driver.memory": "3g",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.catalogImplementation": "in-memory",
    "spark.sql.session.timeZone": "UTC",
    # As many tasks as there are cores, and not 200.
    "spark.sql.shuffle.partitions": "2",
    # As the other side writes.
    "spark.sql.parquet.compression.codec": "zstd",
    # Joins what tasks have for a partition of the table before it is written, into no more files than there is need of.
    "spark.databricks.delta.optimizeWrite.enabled": "true",
    "spark.databricks.delta.optimizeWrite.binSize": "16m",
    # For logs of some thousand files; the default is for millions.
    "spark.databricks.delta.snapshotPartitions": "2",
    # The state of a watermark outside of the heap.
    "spark.sql.streaming.stateStore.providerClass": "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "WARN",
}


def session(jars: Path) -> SparkSession:
    builder = SparkSession.builder.master("local[2]").appName("peer")
    builder = builder.config("spark.driver.extraClassPath", f"{jars}/*")
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def records(spark: SparkSession, options: argparse.Namespace) -> DataFrame:
    source = spark.readStream.format("kafka").option("kafka.bootstrap.servers", options.brokers).option("subscribe", options.topic)
    source = source.option("startingOffsets", "earliest").option("includeHeaders", True)
    return source.option("maxOffsetsPerTrigger", options.batch_records).load()


def as_it_is(records: DataFrame) -> DataFrame:
    """Rows of Bronze: what came, and from where."""
    return records.select(
        F.to_date("timestamp").alias("ingest_date"),
        F.col("timestamp").alias("received_at"),
        "partition",
        "offset",
        "headers",
        F.col("value").cast("string").alias("payload"),
    )


def typed(records: DataFrame) -> DataFrame:
    """Rows of Silver, copies among them."""
    event = F.from_json(F.col("value").cast("string"), EVENT).alias("event")
    rows = records.select(event, F.col("timestamp").alias("received_at"), "partition", "offset")
    rows = rows.where(F.col("event.event_id").isNotNull())
    late = (F.col("received_at") - F.col("event.event_time")) > F.expr("INTERVAL 1 HOUR")
    return rows.select(
        F.to_date("event.event_time").alias("event_date"),
        "event.*",
        "received_at",
        late.alias("is_late"),
        "partition",
        "offset",
    )


def merging(table: Path) -> Callable[[DataFrame, int], None]:
    """Puts in what the table has not: whatever its time is, and however often the batch is made."""

    def merge(batch: DataFrame, _: int) -> None:
        # With nothing to update Delta joins once, and writes only what is new.
        batch.dropDuplicates(["event_id"]).createOrReplaceTempView("batch")
        on = "kept.event_id = batch.event_id"
        batch.sparkSession.sql(f"MERGE INTO delta.`{table}` AS kept USING batch ON {on} WHEN NOT MATCHED THEN INSERT *")

    return merge


def run(spark: SparkSession, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Reads the topic to its end; the progress of each micro-batch."""
    table, checkpoint = options.folder / options.table, options.folder / "checkpoint"
    source = records(spark, options)
    if options.table == "bronze":
        rows, partition = as_it_is(source), "ingest_date"
    else:
        rows, partition = typed(source), "event_date"
    # Made first, empty: a MERGE needs a table to be there.
    spark.createDataFrame([], rows.schema).write.format("delta").partitionBy(partition).save(str(table))
    exact = options.table == "silver" and options.deduplication == "merge"
    if options.table == "silver" and not exact:
        rows = rows.withWatermark("event_time", "1 day").dropDuplicatesWithinWatermark(["event_id"])
    writer = rows.writeStream.trigger(availableNow=True).option("checkpointLocation", str(checkpoint))
    if exact:
        query = writer.foreachBatch(merging(table)).start()
    else:
        query = writer.format("delta").partitionBy(partition).outputMode("append").start(str(table))
    query.awaitTermination()
    return [json.loads(progress.json) for progress in query.recentProgress]


def figures(progress: list[dict[str, Any]], warm_up: int) -> dict[str, float]:
    """Of the micro-batches that had rows, without the first ones."""
    batches = [batch for batch in progress if batch["numInputRows"] > 0]
    warm = batches[warm_up:]
    if not warm:
        raise SystemExit(f"only {len(batches)} micro-batches had rows, and {warm_up} are to warm up: give more events, or a smaller --batch-records")
    seconds = seconds_of(warm)
    return {
        "processed_events_per_second": rows_of(warm) / seconds,
        "cold_events_per_second": rows_of(batches[:warm_up]) / max(seconds_of(batches[:warm_up]), 0.001),
        "batches": float(len(warm)),
        "batch_seconds": seconds / len(warm),
        "events": float(rows_of(warm)),
    }


def rows_of(batches: list[dict[str, Any]]) -> int:
    return sum(batch["numInputRows"] for batch in batches)


def seconds_of(batches: list[dict[str, Any]]) -> float:
    """From the beginning of each to its end: offsets, plan, rows, commit."""
    return float(sum(batch["durationMs"]["triggerExecution"] for batch in batches)) / 1000


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Kafka to Delta on Spark Structured Streaming, to be measured")
    parser.add_argument("table", choices=["bronze", "silver"])
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--jars", type=Path, required=True, help="folder with Delta and Spark's source for Kafka")
    parser.add_argument("--folder", type=Path, required=True, help="where the table goes; an empty one")
    parser.add_argument("--json", type=Path, required=True, help="where the report goes")
    parser.add_argument("--batch-records", type=int, default=100_000, help="records of a micro-batch (%(default)s)")
    parser.add_argument("--warm-up-batches", type=int, default=3, help="micro-batches that do not count (%(default)s)")
    parser.add_argument("--deduplication", choices=["merge", "watermark"], default="merge", help="exact, or within a day, without what is later (%(default)s)")
    return parser.parse_args()


def main() -> None:
    options = parse()
    began = datetime.now(timezone.utc).isoformat()
    spark = session(options.jars)
    # All of them, and not the last hundred.
    spark.conf.set("spark.sql.streaming.numRecentProgressUpdates", "100000")
    try:
        progress = run(spark, options)
        rows = spark.read.format("delta").load(str(options.folder / options.table)).count()
    finally:
        spark.stop()
    report = {
        "version": 1,
        "what": f"spark {options.table}",
        "began": began,
        "machine": {"cores": os.cpu_count(), "kernel": platform.release()},
        "settings": {
            "batch_records": options.batch_records,
            "warm_up_batches": options.warm_up_batches,
            "deduplication": options.deduplication if options.table == "silver" else None,
        }
        | SETTINGS,
        "figures": figures(progress, options.warm_up_batches) | {"table_rows": float(rows)},
    }
    options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
