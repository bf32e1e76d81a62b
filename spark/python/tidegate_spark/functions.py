"""The functions that the models of Gold are written with, beside Spark's own."""

from collections.abc import Callable

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.functions import arrow_udf

from tidegate_spark._medallion import FUNCTIONS, evaluate


def register(spark: SparkSession) -> None:
    """Makes those known that take a property out of JSON."""
    for name, kind in FUNCTIONS.items():
        spark.udf.register(name, arrow_udf(_of(name), kind))


def _of(name: str) -> Callable[[pa.Array, pa.Array], pa.Array]:
    def function(objects: pa.Array, names: pa.Array) -> pa.Array:
        return evaluate(name, objects, names)

    return function
