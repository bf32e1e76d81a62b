"""Journal → Bronze: a stream of micro-batches, each one commit of the dead letters and one of Bronze, with the places in the journal.

Where the stream is stands in the tables and nowhere else: the query begins at the offsets that they tell, in a new checkpoint, and whatever ends it, the next one does the
same. So it does not matter which engine was there before, and a batch that was committed when the driver was killed is not made again.
"""

import json
import logging
import time

from pyspark import StorageLevel
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.streaming import StreamingQuery

from tidegate_spark import steps
from tidegate_spark._medallion import BronzeStep, merged_counts, totals
from tidegate_spark import tables
from tidegate_spark.errors import Refused
from tidegate_spark.journal import Journal
from tidegate_spark.metrics import Metrics
from tidegate_spark.settings import Settings
from tidegate_spark.tables import Table

log = logging.getLogger(__name__)

WATCH_SECONDS = 0.2
LAG_SECONDS = 5.0


class Bronze:
    """The stage."""

    def __init__(self, spark: SparkSession, settings: Settings, metrics: Metrics) -> None:
        self._spark = spark
        self._settings = settings
        self._metrics = metrics
        self._journal = Journal(spark, settings.kafka, settings.topic)
        self._bronze = Table(spark, settings.root, tables.BRONZE)
        self._dead_letters = Table(spark, settings.root, tables.DEAD_LETTERS)
        self._next: dict[int, int] = {}
        self._next_refused: dict[int, int] = {}
        self._partitions = 0
        self._erased: list[tuple[str, str]] = []
        self._query: StreamingQuery | None = None
        self._fault: Exception | None = None
        """What ended the last query."""
        self._seen_batch = -1
        self._lag_due = 0.0
        self.take_position()

    def step(self, is_ending: bool) -> bool:
        """Looks after the query for a while. With `is_ending` from the first step on it ends when it has what the journal holds now; then False."""
        if self._query is None:
            self._query = self._start(once=is_ending)
        try:
            has_ended = self._query.awaitTermination(WATCH_SECONDS)
        except StreamingQueryException as error:
            raise self._fault or error
        self._note_batch()
        if time.monotonic() >= self._lag_due:
            self._metrics.lag(self._lag())
            self._lag_due = time.monotonic() + LAG_SECONDS
        if has_ended and not is_ending:
            # Somebody stopped it, as one can in Spark's own console.
            self.take_position()
        return not has_ended

    def end(self) -> None:
        """Stops the query."""
        if self._query is not None and self._query.isActive:
            self._query.stop()
        self._query = None

    def _start(self, once: bool) -> StreamingQuery:
        self._fault = None
        self._seen_batch = -1
        starting = json.dumps({self._settings.topic: {str(partition): offset for partition, offset in self._next.items()}})
        source = self._spark.readStream.format("kafka").option("subscribe", self._settings.topic).option("includeHeaders", True)
        for name, value in self._settings.kafka.items():
            source = source.option(f"kafka.{name}", value)
        source = source.option("startingOffsets", starting).option("maxOffsetsPerTrigger", self._settings.records_max)
        header = F.expr("try_element_at(filter(headers, header -> header.key = 'tidegate'), 1).value")
        records = source.load().select(
            "partition",
            "offset",
            F.coalesce(header, F.lit(b"")).alias("header"),
            F.coalesce("value", F.lit(b"")).alias("value"),
        )
        writer = records.writeStream.queryName("tidegate bronze").foreachBatch(self._batch)
        writer = writer.option("checkpointLocation", self._new_checkpoint())
        pace = {"availableNow": True} if once else {"processingTime": f"{self._settings.commit_interval} seconds"}
        return writer.trigger(**pace).start()

    def _note_batch(self) -> None:
        progress = self._query.lastProgress
        if progress is not None and progress["batchId"] != self._seen_batch and progress["numInputRows"] > 0:
            self._seen_batch = progress["batchId"]
            self._metrics.batch(progress)

    def _lag(self) -> dict[int, int]:
        """Records of the journal that Bronze does not have yet, by partition."""
        ends = self._journal.offsets()
        return {partition: max(end - self._next.get(partition, 0), 0) for partition, (_, end) in ends.items()}

    def take_position(self) -> None:
        """Forgets what it believes, and takes its place from the tables. The next step starts a query there."""
        self.end()
        tables.check_owner(self._bronze)
        self._bronze.progress(tables.ENGINE)
        self._dead_letters.refresh()
        generation = self._settings.generation
        for table in (self._bronze, self._dead_letters):
            newest = table.progress(tables.GENERATION)
            if newest > generation:
                raise Refused(f"the lake has records of generation {newest} of the journal, and journal.kafka.generation is {generation}")
        self._erased = self._list_of_erased()
        offsets = self._journal.offsets()
        self._partitions = len(offsets)
        self._next, self._next_refused = {}, {}
        for partition, (start, end) in sorted(offsets.items()):
            name = tables.in_journal(generation, partition)
            place = max(self._bronze.progress(name), 0)
            if place < start:
                raise Refused(
                    f"partition {partition} of {self._settings.topic} begins at offset {start}, and Bronze is at {place}: the records between are gone from the journal"
                )
            if place > end:
                raise Refused(
                    f"partition {partition} of {self._settings.topic} ends at offset {end}, and Bronze is at {place}: this is not the topic that the lake was fed from. "
                    "Where it was made anew, raise journal.kafka.generation"
                )
            self._next[partition] = place
            self._next_refused[partition] = max(self._dead_letters.progress(name), place)

    def _list_of_erased(self) -> list[tuple[str, str]]:
        # After the tables were asked: whoever is erased later makes the commits fail.
        erasures = self._bronze.progress(tables.ERASURES)
        self._dead_letters.progress(tables.ERASURES)
        if erasures == tables.NEVER:
            return []
        erased = Table(self._spark, self._settings.root, tables.ERASED)
        return [(row.digest, row.digest_key) for row in erased.frame().select("digest", "digest_key").collect()]

    def _new_checkpoint(self) -> str:
        """A checkpoint of its own for each query; those of earlier ones, which nobody will read, are removed."""
        jvm = self._spark._jvm
        folder = jvm.org.apache.hadoop.fs.Path(f"{self._settings.checkpoints}/bronze")
        fs = folder.getFileSystem(self._spark._jsc.hadoopConfiguration())
        fs.delete(folder, True)
        return f"{self._settings.checkpoints}/bronze/{time.time_ns()}"

    def _batch(self, records: DataFrame, number: int) -> None:
        try:
            self._commit(records)
        except Exception as error:
            # What Spark makes of it on its way through the JVM is a text.
            self._fault = error
            raise

    def _commit(self, records: DataFrame) -> None:
        step = steps.bronze(self._settings.generation, self._next_refused, self._erased)
        results = records.mapInArrow(step, from_arrow_schema(BronzeStep.schema())).persist(StorageLevel.MEMORY_AND_DISK)
        try:
            told = [json.loads(row.told) for row in results.select("told").where("told IS NOT NULL").collect()]
            ranges = self._ranges(told)
            if not ranges:
                return
            if sum(task["dead_letters"] for task in told):
                self._commit_dead_letters(results, told, ranges)
            self._commit_bronze(results, told, ranges)
        finally:
            results.unpersist()

    def _ranges(self, told: list[dict]) -> dict[int, tuple[int, int]]:
        """What the batch takes from each partition: from where Bronze is, to one past the last record."""
        found: dict[int, tuple[int, int]] = {}
        for task in told:
            for partition, (first, until) in task["ranges"].items():
                other = found.get(int(partition), (first, until))
                found[int(partition)] = (min(first, other[0]), max(until, other[1]))
        for partition, (first, _) in found.items():
            if first < self._next[partition]:
                raise RuntimeError(f"the stream gave offset {first} of partition {partition} again, and Bronze is at {self._next[partition]}")
        return {partition: (self._next[partition], until) for partition, (_, until) in found.items()}

    def _commit_dead_letters(self, results: DataFrame, told: list[dict], ranges: dict[int, tuple[int, int]]) -> None:
        generation = self._settings.generation
        # Only what moves may be named: the dead letters may have a part of these ranges already.
        moved = {
            tables.in_journal(generation, partition): until
            for partition, (_, until) in ranges.items()
            if self._next_refused.get(partition, 0) < until
        }
        refused = merged_counts([json.dumps(task["refused"]) for task in told])
        unreadable = totals(refused).get("unreadable", 0)
        if unreadable:
            log.error("%d records of the journal have no receipt that can be read; they are kept as dead letters", unreadable)
        rows = results.where("dead_letter IS NOT NULL").select("dead_letter.*")
        progress, guards = self._in_generation(self._dead_letters, moved)
        self._dead_letters.append(rows, progress, guards, {"stage": "gate", "counts": json.loads(refused)})
        for partition, (_, until) in ranges.items():
            self._next_refused[partition] = max(self._next_refused.get(partition, 0), until)

    def _commit_bronze(self, results: DataFrame, told: list[dict], ranges: dict[int, tuple[int, int]]) -> None:
        generation = self._settings.generation
        accepted = json.loads(merged_counts([json.dumps(task["accepted"]) for task in told]))
        info = {
            "stage": "bronze",
            "counts": accepted,
            "journal": {
                "generation": generation,
                "partitions": self._partitions,
                "ranges": {str(partition): list(range_) for partition, range_ in ranges.items()},
            },
            "bytes": sum(task["bytes"] for task in told),
        }
        moved = {tables.in_journal(generation, partition): until for partition, (_, until) in ranges.items()}
        progress, guards = self._in_generation(self._bronze, moved)
        rows = results.where("bronze IS NOT NULL").select("bronze.*")
        self._bronze.append(rows, progress, [*guards, tables.ENGINE], info)
        for partition, (_, until) in ranges.items():
            self._next[partition] = until
            self._next_refused[partition] = max(self._next_refused.get(partition, 0), until)
        newest = [task["newest"] for task in told if task["newest"] is not None]
        self._metrics.bronze(
            records=sum(task["records"] for task in told),
            rows=sum(line["count"] for line in accepted),
            read_bytes=info["bytes"],
            newest=max(newest, default=None),
        )

    def _in_generation(self, table: Table, moved: dict[str, int]) -> tuple[dict[str, int], list[str]]:
        """That the lake is in this generation: as progress where it has not been, else as a condition of the commit."""
        generation = self._settings.generation
        if table.progress(tables.GENERATION) == generation:
            return moved, [tables.ERASURES, tables.GENERATION]
        return moved | {tables.GENERATION: generation}, [tables.ERASURES]
