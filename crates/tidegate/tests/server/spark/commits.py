"""A Spark session that commits one row at a time to a table of the lake, as often as it is told to on its input."""

import sys

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from tidegate_spark.tables import Table

endpoint, log_store, jars = sys.argv[1:]
settings = {
    "spark.master": "local[1]",
    "spark.driver.memory": "768m",
    "spark.driver.extraClassPath": jars,
    "spark.ui.enabled": "false",
    "spark.log.level": "ERROR",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.delta.logStore.s3a.impl": log_store,
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.session.timeZone": "UTC",
    "spark.hadoop.fs.s3a.endpoint": endpoint,
    "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",
    "spark.hadoop.fs.s3a.path.style.access": "true",
    "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
    "spark.hadoop.fs.s3a.retry.interval": "50ms",
    "spark.hadoop.fs.s3a.attempts.maximum": "20",
}
builder = SparkSession.builder.appName("commits")
for name, value in settings.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
print("ready", flush=True)
for line in sys.stdin:
    name, commits = line.split()
    while True:
        try:
            table = Table(spark, "s3a://tidegate/lake", name)
            break
        except Py4JJavaError as error:
            print("opening failed, once more:", error, file=sys.stderr)
    rows = spark.createDataFrame([("spark", 0)], table.frame().schema)
    print("go", flush=True)
    for number in range(int(commits)):
        table.append(rows.selectExpr("who", f"CAST({number} AS BIGINT) AS number"), {}, [], {})
    print(commits, flush=True)
