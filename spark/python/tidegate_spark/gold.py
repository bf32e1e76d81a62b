"""Silver → Gold: the models' SQL as it is, made again for the partitions that hang on what changed, each lot in one commit with the versions it was made of.

What the tables keep of that is what the workers keep: after a take-over in either direction nothing is made twice or left out.
"""

import datetime
import logging
import time
from dataclasses import dataclass

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DateType

from tidegate_spark._medallion import concerned, one_of, values, view
from tidegate_spark import functions, tables
from tidegate_spark.metrics import Metrics
from tidegate_spark.settings import Settings
from tidegate_spark.tables import NEVER, Table

log = logging.getLogger(__name__)

PARTITIONS_MAX = 31
"""Partitions that one query makes; more are made one lot after the other."""
PARTITIONS_OF_ALL_DAYS_MAX = 4
"""The same for a model that reads all days there are."""
RECEIVED = "tidegate:received"
DEFINITION = "tidegate:definition"
DEFINITION_BITS = 40
KEPT_FROM = "tidegate:kept_from"
REPLACED = "replaced"
EPOCH = datetime.date(1970, 1, 1)


class BadModel(Exception):
    """A model's query gives what it may not."""


@dataclass
class Due:
    """What is to be made anew, and of which versions."""

    partitions: set[str]
    newest: list[int]
    received: int


class Model:
    """A model with its table and the tables it reads."""

    def __init__(self, spark: SparkSession, root: str, model: dict) -> None:
        self._spark = spark
        self.name: str = model["name"]
        self.every: float = model["every"]
        self._keys: list[str] = model["keys"]
        self._column: str = model["partition_by"]
        self._sql: str = model["sql"]
        self._asked: int = model["definition"]
        self._reads: list[dict] = model["reads"]
        self._table = Table(spark, root, self.name)
        self._schema = self._table.frame().schema
        self._is_by_day = isinstance(self._schema[self._column].dataType, DateType)
        self._inputs = [Table(spark, root, read["table"]) for read in self._reads]
        self._are_days = [self._column in (schema := table.frame().schema).names and isinstance(schema[self._column].dataType, DateType) for table in self._inputs]
        self.take_position()

    def take_position(self) -> None:
        """Forgets what it believes, and takes its place from the table."""
        self._table.refresh()
        self._through = [self._table.progress(tables.in_table(read["table"])) for read in self._reads]
        self._definition = max(self._table.progress(DEFINITION), 0)
        self._received = self._table.progress(RECEIVED)

    def refresh(self) -> bool:
        """Brings the table up to what the model reads. False: there was nothing to do."""
        due = self._due()
        return due is not None and self._make(due)

    @property
    def _is_of_another_definition(self) -> bool:
        return self._definition & ((1 << DEFINITION_BITS) - 1) != self._asked

    def _due(self) -> Due | None:
        newest = [table.refresh() for table in self._inputs]
        if self._is_of_another_definition:
            return self._everything(newest)
        if all(version <= through for version, through in zip(newest, self._through)):
            return None
        try:
            due = self._changed(newest)
        except Exception as error:
            # As when the log no longer has the versions between; to make it all is right in any case.
            log.info("%s: what changed is not told any more, it is made anew as a whole: %s", self.name, error)
            due = None
        return due or self._everything(newest)

    def _changed(self, newest: list[int]) -> Due | None:
        """What hangs on what changed; nothing where that cannot be told."""
        known = set(self._table.partitions(self._column))
        received, changed = self._received, []
        for table, read, after, through in zip(self._inputs, self._reads, self._through, newest):
            changes = table.changes(after, through)
            if any(REPLACED in info for _, info in changes.infos()):
                return None
            files = changes.added()
            rows = table.read(files) if files else None
            removed = changes.removed(self._column)
            if self._is_divided(table):
                if removed is None:
                    return None
                known |= set(table.partitions(self._column))
                values = {value for file in files if (value := file.partitionValue(self._column)) is not None} | removed
            elif read["whole"]:
                values = {""} if files or removed is None or removed else set()
            elif removed is None or removed:
                return None
            else:
                values = self._values(rows) if rows is not None else set()
                known |= values
            received = max(received, self._received_in(table, rows))
            changed.append(values)
        partitions: set[str] = set()
        for read, values in zip(self._reads, changed):
            partitions |= concerned(values, read["whole"], read.get("before"), read.get("after"), known)
        return Due(self._makeable(partitions), newest, received)

    def _everything(self, newest: list[int]) -> Due:
        partitions = set(self._table.partitions(self._column))
        received = NEVER
        for table, read in zip(self._inputs, self._reads):
            if self._is_divided(table):
                partitions |= set(table.partitions(self._column))
            elif not read["whole"]:
                partitions |= self._values(table.frame())
            received = max(received, self._received_in(table, table.frame()))
        return Due(self._makeable(partitions), newest, received)

    def _makeable(self, partitions: set[str]) -> set[str]:
        """Without those days that are no longer kept, or need days of what it reads that are not: they stay as they were made."""
        if not self._is_by_day:
            return partitions
        kept = self._table.progress(KEPT_FROM)
        for table, read in zip(self._inputs, self._reads):
            if not read["whole"]:
                found = table.progress(KEPT_FROM)
                kept = max(kept, found + (read["before"] or 0) if found != NEVER else NEVER)
        if kept == NEVER:
            return partitions
        first = str(EPOCH + datetime.timedelta(days=kept))
        return {partition for partition in partitions if partition >= first}

    def _is_divided(self, table: Table) -> bool:
        return self._column in table.partition_by

    def _values(self, rows: DataFrame) -> set[str]:
        values = rows.select(F.col(self._column).cast("string")).where(f"{self._column} IS NOT NULL").distinct()
        return {row[0] for row in values.collect()}

    @staticmethod
    def _received_in(table: Table, rows: DataFrame | None) -> int:
        """The newest time of receipt in these rows of a table, in microseconds; of a table of Gold, of what that was made of."""
        if rows is None:
            return NEVER
        if "received_at" not in rows.columns:
            return table.progress(RECEIVED)
        newest = rows.select(F.max(F.unix_micros("received_at"))).first()[0]
        return NEVER if newest is None else newest

    def _make(self, due: Due) -> bool:
        progress = {
            tables.in_table(read["table"]): newest
            for read, newest, through in zip(self._reads, due.newest, self._through)
            if newest > through
        }
        if due.received > self._received:
            progress[RECEIVED] = due.received
        if self._is_of_another_definition:
            progress[DEFINITION] = ((self._definition >> DEFINITION_BITS) + 1) << DEFINITION_BITS | self._asked
        is_unbounded = any(not read["whole"] and (read["before"] is None or read["after"] is None) for read in self._reads)
        size = PARTITIONS_OF_ALL_DAYS_MAX if is_unbounded else PARTITIONS_MAX
        partitions = sorted(due.partitions)
        lots = [partitions[start : start + size] for start in range(0, len(partitions), size)]
        info = {"stage": "gold", "input_versions": {read["table"]: newest for read, newest in zip(self._reads, due.newest)}}
        for number, lot in enumerate(lots):
            # The last lot's commit tells that the versions are reached: a crash before it makes some partitions again, to the same rows.
            is_last = number == len(lots) - 1
            self._replace(lot, due.newest, progress if is_last else {}, info)
        if not lots:
            if self._is_of_another_definition:
                self._table.append(None, progress, [], info)
                self.take_position()
            self._through = list(due.newest)
            return False
        self.take_position()
        return True

    def _replace(self, lot: list[str], newest: list[int], progress: dict[str, int], info: dict) -> None:
        self._show(lot, newest)
        condition = one_of(self._column, lot, self._is_by_day)
        # The query may end in a comment.
        rows = self._spark.sql(f"SELECT * FROM (\n{self._sql}\n) AS model WHERE {condition}")
        rows = rows.select(*(F.col(field.name).cast(field.dataType) for field in self._schema)).persist()
        try:
            twice = rows.groupBy(*self._keys).count().where("count > 1").drop("count").first()
            if twice is not None:
                raise BadModel(f"the model {self.name} cannot be made: its query gives two rows for {twice.asDict()}")
            self._table.replace(rows, condition, progress, info)
        finally:
            rows.unpersist()

    def _show(self, lot: list[str], versions: list[int]) -> None:
        """Makes what the query reads known by its name, at these versions, with no more in view than the lot needs; and the lot itself, as `partitions`."""
        self._spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW partitions AS {values(self._column, lot, self._is_by_day)}")
        for table, read, is_day, version in zip(self._inputs, self._reads, self._are_days, versions):
            schema, _, name = table.name.rpartition(".")
            condition = view(read["whole"], read.get("before"), read.get("after"), lot, self._column, is_day)
            view_name = f"VIEW {schema}.{name}" if schema else f"TEMPORARY VIEW {name}"
            shown = f"SELECT * FROM delta.`{table.path}` VERSION AS OF {version} WHERE {condition}"
            self._spark.sql(f"CREATE OR REPLACE {view_name} AS {shown}")


class Gold:
    """The stage."""

    def __init__(self, spark: SparkSession, settings: Settings, metrics: Metrics) -> None:
        self._metrics = metrics
        functions.register(spark)
        for schema in ("silver", "gold"):
            if not spark.catalog.databaseExists(schema):
                spark.sql(f"CREATE DATABASE {schema}")
        self._models = [Model(spark, settings.root, model) for model in settings.models]
        self._made_at: dict[str, float] = {}

    def take_position(self) -> None:
        for model in self._models:
            model.take_position()

    def end(self) -> None:
        pass

    def step(self, is_ending: bool) -> bool:
        """Brings the models up whose time has come; at the end all, whatever their pace. A model whose query fails holds no other one up. False: there was nothing to do."""
        moved = False
        for model in self._models:
            made_at = self._made_at.get(model.name)
            if not is_ending and made_at is not None and time.monotonic() - made_at < model.every:
                continue
            began = time.monotonic()
            try:
                made = model.refresh()
            except (AnalysisException, BadModel) as error:
                log.error("%s cannot be made, the others go on: %s", model.name, error)
                self._metrics.failed("gold", False)
                self._made_at[model.name] = time.monotonic()
                continue
            if made:
                moved = True
                self._made_at[model.name] = time.monotonic()
                self._metrics.gold(model.name, time.monotonic() - began)
        return moved
