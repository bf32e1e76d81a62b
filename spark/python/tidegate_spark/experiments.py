"""The result of an experiment, of the same Gold and by the same compiled statistics that `tidegate experiment` has."""

import json
from decimal import Decimal

from pyspark.sql import SparkSession

from tidegate_spark._medallion import experiment_report
from tidegate_spark.errors import Refused
from tidegate_spark.gold import RECEIVED
from tidegate_spark.settings import Settings
from tidegate_spark.tables import NEVER, Table

DAY = ["CAST(event_date AS STRING) AS date", "variation_id AS variation"]
ROWS = {
    "sums": (
        "metrics",
        [
            *DAY,
            "segment",
            "segment_value AS part",
            "metric",
            "subjects",
            "sum",
            "sum_of_squares",
            "coalesce(other_sum, 0) AS other_sum",
            "coalesce(other_sum_of_squares, 0) AS other_sum_of_squares",
            "coalesce(sum_of_products, 0) AS sum_of_products",
        ],
        ["date", "variation", "segment", "part", "metric"],
    ),
    "counts": ("counts", [*DAY, "measure", "count"], ["date", "variation", "measure"]),
    "values": ("values", [*DAY, "metric", "value", "subjects"], ["date", "variation", "metric", "value"]),
    "ages": (
        "ages",
        [*DAY, "metric", "age", "sum", "sum_of_squares"],
        ["date", "variation", "metric", "age"],
    ),
}
"""What the statistics are made of: from which table, which columns, in which order."""


def report(spark: SparkSession, settings: Settings, name: str) -> str:
    """What came of an experiment, as JSON. Raises `Refused` where there is none of that name."""
    found = [known for known in settings.experiments if known["experiment"]["definition"]["key"] == name]
    if not found:
        raise Refused(f"there is no experiment {name}; there are {', '.join(known['experiment']['definition']['key'] for known in settings.experiments)}")
    of, names = found[0]["experiment"], found[0]["tables"]
    gold: dict = {}
    received = []
    made = {model["name"] for model in settings.models}
    for part, (table, columns, order) in ROWS.items():
        gold[part] = []
        if names[table] in made:
            source = Table(spark, settings.root, names[table])
            source.refresh()
            rows = source.frame().selectExpr(*columns).orderBy(*order)
            # Decimal numbers go as their digits: a float on the way would be rounded twice.
            gold[part] = [{name: str(value) if isinstance(value, Decimal) else value for name, value in row.asDict().items()} for row in rows.collect()]
            if part in ("sums", "counts"):
                received.append(source.progress(RECEIVED))
    letters = Table(spark, settings.root, "gold.dead_letters_by_day").frame().where("stage = 'plan'").groupBy("ingest_date").sum("events")
    gold["kept_out"] = sorted((str(day), count) for day, count in letters.collect())
    reached = min(received) if received else NEVER
    gold["final_up_to_micros"] = None if reached == NEVER else reached - settings.allowed_lateness_micros
    return experiment_report(json.dumps(of), json.dumps(gold))
