"""Bronze → Silver: a range of Bronze's versions decided about in one step, with the same cut between versions, the same order of commits and the same progress as the workers'.

Whether Silver has an event already is asked of Silver itself, without a window: its rows with the ids of this step, found by a join of which the ids of the step are the small side,
and in those files only whose range of ids can have them.
"""

import json
import logging
import time
from itertools import groupby

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from tidegate_spark import steps
from tidegate_spark._medallion import BUCKETS, SilverStep, merged_counts, next_task, totals
from tidegate_spark import tables
from tidegate_spark.metrics import Metrics
from tidegate_spark.settings import Settings
from tidegate_spark.tables import Table

log = logging.getLogger(__name__)

VERSIONS_MAX = 256
"""Versions of Bronze that are looked at in one step."""
VERSIONS_UNSAID_MAX = 128
"""Versions with nothing for a bucket, after which its progress is committed all the same: the log of Bronze is kept from the least of them on."""
PREFIX_CHARS = 6
"""Of an id. In a UUIDv7 they are 24 bits of its time: 4.7 hours."""
PREFIXES_MAX = 64
"""With more of them, all files are read: they are not the ids of some hours."""
OWNER_SECONDS = 5.0
"""How often it is looked whether the stream is still its own, while there is nothing to do."""
IDENTITY = ["source", "event_id"]


class Silver:
    """The stage."""

    def __init__(self, spark: SparkSession, settings: Settings, metrics: Metrics) -> None:
        self._spark = spark
        self._settings = settings
        self._metrics = metrics
        self._bronze, self._silver, self._exposures, self._dead_letters = (
            Table(spark, settings.root, name) for name in (tables.BRONZE, tables.SILVER, tables.EXPOSURES, tables.DEAD_LETTERS)
        )
        self._reached: dict[int, tuple[int, int, int]] = {}
        self._said: dict[int, int] = {}
        self._owner_due = 0.0
        self.take_position()

    def take_position(self) -> None:
        """Forgets what it believes, and takes its place from the tables."""
        for table in (self._bronze, self._exposures, self._dead_letters):
            table.refresh()
        tables.check_owner(self._silver)
        # Every commit relies on these: what is decided here is decided by this engine, on these rows and no others.
        self._silver.progress(tables.ENGINE)
        for table in (self._silver, self._exposures, self._dead_letters):
            table.progress(tables.REPLACEMENTS)
        self._reached = {
            bucket: tuple(table.progress(tables.in_bucket(bucket)) for table in (self._silver, self._exposures, self._dead_letters))
            for bucket in range(BUCKETS)
        }
        self._said = {bucket: reached[0] for bucket, reached in self._reached.items()}

    def end(self) -> None:
        pass

    def step(self, is_ending: bool) -> bool:
        """Decides about what is next, in one commit of each table. False: there is nothing."""
        began = time.monotonic()
        newest = self._bronze.refresh()
        task = next_task(self._reached, newest, VERSIONS_MAX)
        if task is None:
            self._look_at_owner()
            return False
        buckets, after, through, whole, ahead = task
        files = self._bronze.changes(after, through).added()
        if not whole:
            through, files = self._cut(files, through)
        if not files:
            self._pass(buckets, through, ahead)
            return True
        self._decide(buckets, after, through, files, ahead)
        self._metrics.silver_step(time.monotonic() - began)
        return True

    def _look_at_owner(self) -> None:
        """With nothing to commit it would not be noticed that the stream was handed over."""
        if time.monotonic() >= self._owner_due:
            tables.check_owner(self._silver)
            self._owner_due = time.monotonic() + OWNER_SECONDS

    def _cut(self, files: list, window: int) -> tuple[int, list]:
        """Whole versions from the front, as many as are not over the bound together, and the first in any case."""
        rows, taken = 0, []
        for version, files_of_version in groupby(files, lambda file: file.version()):
            some = list(files_of_version)
            rows += sum(max(file.rows(), 0) for file in some)
            if taken and rows > self._settings.silver_rows_max:
                return version - 1, taken
            taken += some
        return window, taken

    def _decide(self, buckets: set[int], after: int, through: int, files: list, ahead: tuple[int, int]) -> None:
        self._silver.refresh()
        bronze = self._bronze.read(files)
        known = self._known(bronze)
        step = steps.silver(self._settings.clock_skew_tolerance_micros, self._settings.allowed_lateness_micros, buckets)
        parted = bronze.join(F.broadcast(known), IDENTITY, "left").repartition(*IDENTITY)
        results = parted.mapInArrow(step, from_arrow_schema(SilverStep.schema())).persist(StorageLevel.MEMORY_AND_DISK)
        try:
            told = [json.loads(row.told) for row in results.select("told").where("told IS NOT NULL").collect()]
            counts = merged_counts([json.dumps(task["counts"]) for task in told])
            self._commit(buckets, through, results, told, counts, ahead)
        finally:
            results.unpersist()
        self._metrics.silver(sum(task["read"] for task in told), totals(counts))

    def _known(self, bronze: DataFrame) -> DataFrame:
        """The content of the row that Silver has of an event, for those events of the step that it has."""
        ids = bronze.select(*IDENTITY).distinct().persist(StorageLevel.MEMORY_AND_DISK)
        try:
            silver = self._silver.frame().select(*IDENTITY, F.col("content_hash").alias("known_content"))
            spans = self._spans(ids)
            if spans is not None:
                silver = silver.where(spans)
            known = silver.join(F.broadcast(ids), IDENTITY, "left_semi")
            if self._bronze.progress(tables.ERASURES) != tables.NEVER:
                known = known.unionByName(self._erased(bronze, ids, known))
            # Asked once: the plan of the step must not ask again for each of its actions.
            return self._spark.createDataFrame(known.toArrow(), known.schema)
        finally:
            ids.unpersist()

    def _spans(self, ids: DataFrame):
        """Where the ids of the step lie, as a condition by which files of Silver are left out; nothing where they lie everywhere."""
        prefix = F.substring("event_id", 1, PREFIX_CHARS)
        spans = ids.groupBy(prefix).agg(F.min("event_id").alias("least"), F.max("event_id").alias("greatest")).limit(PREFIXES_MAX + 1).collect()
        if not 0 < len(spans) <= PREFIXES_MAX:
            return None
        condition = F.lit(False)
        for span in spans:
            condition = condition | F.col("event_id").between(span.least, span.greatest)
        return condition

    def _erased(self, bronze: DataFrame, ids: DataFrame, known: DataFrame) -> DataFrame:
        """Events that were erased keep their identity, and only Bronze has it: with a content that no event has."""
        place = ["journal_generation", "journal_partition", "journal_offset"]
        erased = self._bronze.frame().where("wire_format = 'erased'").select(*IDENTITY, *place)
        # Those of the step take their turn among its rows.
        erased = erased.join(F.broadcast(bronze.select(*place)), place, "left_anti")
        erased = erased.select(*IDENTITY).distinct().join(F.broadcast(ids), IDENTITY, "left_semi")
        return erased.join(known.select(*IDENTITY), IDENTITY, "left_anti").withColumn("known_content", F.lit(0).cast("long"))

    def _commit(self, buckets: set[int], through: int, results: DataFrame, told: list[dict], counts: str, ahead: tuple[int, int]) -> None:
        exposures, dead_letters = ahead
        progress = {tables.in_bucket(bucket): through for bucket in buckets}
        guards = [tables.REPLACEMENTS]
        info = {"stage": "silver", "input_version": through}
        if exposures < through and sum(task["exposures"] for task in told):
            self._exposures.append(results.where("exposure IS NOT NULL").select("exposure.*"), progress, guards, info)
        if dead_letters < through and sum(task["dead_letters"] for task in told):
            self._dead_letters.append(results.where("dead_letter IS NOT NULL").select("dead_letter.*"), progress, guards, info)
        # What was counted is told by Silver's own commit, also for the dead letters: it alone says that a range is decided about.
        rows = results.where("event IS NOT NULL").select("event.*")
        self._silver.append(rows, progress, [*guards, tables.ENGINE], info | {"counts": json.loads(counts)})
        self._moved(buckets, through, ahead, said=True)

    def _pass(self, buckets: set[int], through: int, ahead: tuple[int, int]) -> None:
        """Goes on where there is nothing to decide about. It need not be remembered, but for keeping the log of Bronze short."""
        unsaid = any(through - self._said[bucket] >= VERSIONS_UNSAID_MAX for bucket in buckets)
        if unsaid:
            progress = {tables.in_bucket(bucket): through for bucket in buckets}
            self._silver.append(None, progress, [tables.REPLACEMENTS, tables.ENGINE], {"stage": "silver", "input_version": through})
        self._moved(buckets, through, ahead, said=unsaid)

    def _moved(self, buckets: set[int], through: int, ahead: tuple[int, int], said: bool) -> None:
        for bucket in buckets:
            self._reached[bucket] = (through, *ahead)
            if said:
                self._said[bucket] = through
