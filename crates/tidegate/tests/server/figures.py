"""Journal to Bronze and Silver as one would write it in Spark's own functions: what the job with the compiled transform is measured beside.

It does most of what Silver is: receipts and payloads parsed, clocks corrected, lateness, one row an event without a window, exposures. It has no canonical JSON, no hash of the content, no
bots and browsers, no pages and campaigns, no counts and digests, no reasons for what it drops.
"""

import sys
import time

from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F

brokers, topic, lake, records, endpoint, jars = sys.argv[1:]
settings = {
    "spark.master": "local[2]",
    "spark.driver.memory": "2g",
    "spark.driver.extraClassPath": jars,
    "spark.ui.enabled": "false",
    "spark.log.level": "ERROR",
    "spark.sql.shuffle.partitions": "4",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.delta.logStore.s3a.impl": "io.tidegate.spark.S3ConditionalLogStore",
    "spark.databricks.delta.snapshotPartitions": "4",
    "spark.databricks.delta.optimizeWrite.enabled": "true",
    "spark.databricks.delta.optimizeWrite.binSize": "16m",
    "spark.sql.session.timeZone": "UTC",
    "spark.hadoop.fs.s3a.endpoint": endpoint,
    "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",
    "spark.hadoop.fs.s3a.path.style.access": "true",
    "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
}
builder = SparkSession.builder.appName("own functions")
for name, value in settings.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
RECEIPT = "source string, event_id string, received_at bigint, sent_at bigint, format string, verdict string, plan_version string, client_ip string, user_agent string"
EVENT = (
    "event_type string, event_time string, user_id string, anonymous_id string, session_id string, properties string, context string, "
    "sent_at string"
)


def batch(rows, number):
    rows = rows.persist()
    bronze = rows.select("receipt.*", "partition", "offset", "value").withColumn("ingest_date", F.to_date(F.timestamp_micros("received_at")))
    bronze.write.format("delta").mode("append").partitionBy("ingest_date").save(f"{lake}/bronze")
    event = F.from_json(F.col("value").cast("string"), EVENT)
    events = bronze.where("verdict = 'accepted'").withColumn("event", event)
    received = F.timestamp_micros("received_at")
    skew = F.coalesce((F.col("received_at") - F.col("sent_at")), F.lit(0))
    client = F.try_to_timestamp("event.event_time")
    corrected = F.abs(skew) > 300_000_000
    shifted = F.timestamp_micros(F.unix_micros(client) + skew)
    silver = events.select(
        "source", "event_id", "event.event_type", F.least(F.when(corrected, shifted).otherwise(client), received).alias("event_time"),
        client.alias("client_time"), received.alias("received_at"), corrected.alias("clock_corrected"), "event.user_id", "event.anonymous_id",
        "event.session_id", "event.properties", "event.context", "client_ip", "user_agent", "plan_version", "partition", "offset",
    ).where("event_type IS NOT NULL AND event_time IS NOT NULL")
    silver = silver.withColumn("event_date", F.to_date("event_time"))
    silver = silver.withColumn("is_late", F.col("received_at") > F.expr("event_time + INTERVAL 1 HOUR"))
    copies = Window.partitionBy("source", "event_id").orderBy("partition", "offset")
    silver = silver.withColumn("copy", F.row_number().over(copies)).where("copy = 1").drop("copy")
    if number > 0:
        known = spark.read.format("delta").load(f"{lake}/silver").select("source", "event_id")
        ids = silver.select("source", "event_id")
        silver = silver.join(F.broadcast(known.join(F.broadcast(ids), ["source", "event_id"], "left_semi")), ["source", "event_id"], "left_anti")
    silver = silver.persist()
    exposures = silver.where("event_type = 'feature_exposure'")
    exposures = exposures.withColumn("subject_id", F.coalesce("user_id", "anonymous_id"))
    exposures.write.format("delta").mode("append").partitionBy("event_date").save(f"{lake}/exposures")
    silver.write.format("delta").mode("append").partitionBy("event_date").save(f"{lake}/silver")
    silver.unpersist()
    rows.unpersist()


began = time.monotonic()
header = F.expr("try_element_at(filter(headers, header -> header.key = 'tidegate'), 1).value")
source = spark.readStream.format("kafka").option("kafka.bootstrap.servers", brokers).option("subscribe", topic).option("includeHeaders", True)
source = source.option("startingOffsets", "earliest").option("maxOffsetsPerTrigger", records).load()
rows = source.select(F.from_json(header.cast("string"), RECEIPT).alias("receipt"), "partition", "offset", "value")
query = rows.writeStream.foreachBatch(batch).option("checkpointLocation", f"{lake}/checkpoint").trigger(availableNow=True).start()
query.awaitTermination()
print(time.monotonic() - began, spark.read.format("delta").load(f"{lake}/silver").count())
