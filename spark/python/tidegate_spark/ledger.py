"""The ledger: what each commit counted, as rows to query, once each."""

import json

import pyarrow as pa
from pyspark.sql import SparkSession

from tidegate_spark._medallion import ledger_rows
from tidegate_spark import tables
from tidegate_spark.settings import Settings
from tidegate_spark.tables import Table

COUNTED = (tables.BRONZE, tables.SILVER, tables.DEAD_LETTERS)
VERSIONS_MAX = 1_000
"""Versions that are read in one step."""


class Ledger:
    """The stage."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._spark = spark
        self._ledger = Table(spark, settings.root, tables.LEDGER)
        self._schema = self._ledger.frame().schema
        self._counted = [Table(spark, settings.root, name) for name in COUNTED]
        self._through: dict[str, int] = {}
        self.take_position()

    def take_position(self) -> None:
        """Forgets what it believes, and takes its place from the table."""
        self._ledger.refresh()
        self._through = {name: self._ledger.progress(tables.in_table(name)) for name in COUNTED}

    def end(self) -> None:
        pass

    def step(self, is_ending: bool) -> bool:
        """Takes in what was committed since. False: there was nothing."""
        moved = False
        for table in self._counted:
            after = self._through[table.name]
            through = min(table.refresh(), after + VERSIONS_MAX)
            commits = [
                (info.get("stage", ""), version, info.get("input_version"), json.dumps(info["counts"]))
                for version, info in table.changes(after, through).infos()
                if "counts" in info
            ]
            if commits:
                posted = pa.Table.from_batches([ledger_rows(table.name, commits)])
                rows = self._spark.createDataFrame(posted, self._schema)
                self._ledger.append(rows.coalesce(1), {tables.in_table(table.name): through}, [], {"stage": "ledger"})
                moved = True
            self._through[table.name] = through
        return moved
