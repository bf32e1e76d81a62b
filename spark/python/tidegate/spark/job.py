"""The job: one driver that runs the stages, for as long as the stream is its own."""

import argparse
import logging
import signal
import threading
import time
from collections.abc import Callable

from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession
from pyspark.sql.streaming import StreamingQuery

from tidegate.spark.bronze import Bronze
from tidegate.spark.errors import Fenced, Refused
from tidegate.spark.gold import Gold
from tidegate.spark.ledger import Ledger
from tidegate.spark.metrics import Metrics
from tidegate.spark.settings import Settings
from tidegate.spark.silver import Silver

log = logging.getLogger("tidegate")

LOG_STORE = "io.tidegate.spark.S3ConditionalLogStore"
LOOK_SECONDS = 0.2
"""How often it is looked whether there is something new, where that is to end soon; else it is once in a commit's interval, for each look is a request to the store."""
RETRY_PAUSE_MIN = 0.1
FAILURES_MAX = 20
"""So many failures in a row end the job; whoever supervises it starts it again."""
LAG_SECONDS = 5.0
OWNER_SECONDS = 5.0
"""How often it is looked whether the stream is still its own."""


class Job:
    """The stages of one driver."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._spark = spark
        self._settings = settings
        self._metrics = Metrics()
        if settings.metrics is not None:
            self._metrics.serve(settings.metrics, settings.allowed_lateness_micros)
        self._bronze = Bronze(spark, settings, self._metrics)
        self._silver = Silver(spark, settings, self._metrics)
        self._gold = Gold(spark, settings, self._metrics)
        self._ledger = Ledger(spark, settings)
        self._due: dict[str, float] = {}
        self._stage = "bronze"
        """What the driver is at, for the metrics of failures."""
        self._failures = 0
        self._seen_batch = -1
        self._stop = threading.Event()

    def stop(self) -> None:
        """Asks it to end after what it is at."""
        self._stop.set()

    def run(self, once: bool) -> None:
        """Runs until it is asked to stop; with `once`, until what the journal holds now is in Silver, Gold and the ledger.

        Raises `Refused` where it cannot, as when the stream was handed over to the workers.
        """
        query: StreamingQuery | None = None
        is_drained = False
        try:
            while not self._stop.is_set():
                try:
                    self._stage = "bronze"
                    if query is None and not is_drained:
                        query = self._bronze.start(once)
                    is_drained = is_drained or (once and not self._is_running(query))
                    self._note_batch(query)
                    self._paced("lag", LAG_SECONDS, self._note_lag)
                    self._paced("owner", OWNER_SECONDS, self._silver.check_owner)
                    self._stage = "silver"
                    moved = self._silver.step()
                    self._paced("ledger", self._settings.ledger_interval, self._ledger.step)
                    self._paced("gold", self._settings.gold_interval, self._gold.step)
                    self._failures = 0
                    if is_drained and not moved:
                        self._finish()
                        return
                    if not moved:
                        self._stop.wait(LOOK_SECONDS if once else max(LOOK_SECONDS, self._settings.commit_interval))
                except Refused:
                    raise
                except Exception as error:
                    self._failed(error)
                    self._end(query)
                    query = None
                    self._recover()
        finally:
            self._end(query)

    def _is_running(self, query: StreamingQuery) -> bool:
        """Raises what ended it where it failed."""
        if query.isActive:
            return True
        if self._bronze.fault is not None:
            raise self._bronze.fault
        failure = query.exception()
        if failure is not None:
            raise failure
        return False

    def _finish(self) -> None:
        """Everything is brought up, whatever its pace."""
        while self._gold.step(is_ending=True) or self._ledger.step():
            pass

    def _paced(self, name: str, pace: float, step: Callable[[], object]) -> None:
        if time.monotonic() >= self._due.get(name, 0):
            self._stage = name
            step()
            self._due[name] = time.monotonic() + pace

    def _note_lag(self) -> None:
        self._metrics.lag(self._bronze.lag())

    def _note_batch(self, query: StreamingQuery | None) -> None:
        """Also notices a query that failed."""
        if query is None:
            return
        progress = query.lastProgress
        if progress is not None and progress["batchId"] != self._seen_batch and progress["numInputRows"] > 0:
            self._seen_batch = progress["batchId"]
            self._metrics.batch(progress)
        if not query.isActive:
            self._is_running(query)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, StreamingQueryException) and self._bronze.fault is not None:
            error = self._bronze.fault
        self._failures += 1
        is_fenced = isinstance(error, Fenced)
        self._metrics.failed(self._stage, is_fenced)
        if self._failures > FAILURES_MAX:
            raise error
        if is_fenced:
            log.warning("fenced: another process did this part of the work, its place is taken from the tables anew: %s", error)
        else:
            log.warning("a step failed and will be made again (%d): %s", self._failures, error, exc_info=self._failures == 1)

    def _recover(self) -> None:
        while not self._stop.wait(self._pause()):
            try:
                self._silver.take_position()
                self._gold.take_position()
                self._ledger.take_position()
                return
            except Refused:
                raise
            except Exception as error:
                self._failed(error)

    def _pause(self) -> float:
        return min(RETRY_PAUSE_MIN * 2 ** min(self._failures, 16), self._settings.retry_pause_max)

    @staticmethod
    def _end(query: StreamingQuery | None) -> None:
        if query is not None and query.isActive:
            query.stop()


def check(spark: SparkSession, settings: Settings) -> None:
    """Refuses what would lose commits."""
    if not settings.root.startswith("s3a://"):
        raise Refused(f"the lake is at {settings.lake}: Spark and the workers share one on S3 only, s3://bucket/prefix")
    found = spark.conf.get("spark.delta.logStore.s3a.impl", None)
    if found != LOG_STORE:
        raise Refused(
            f"spark.delta.logStore.s3a.impl is {found or 'not set'}: commits of Delta's own log store for S3 overwrite those of other writers. Set it to {LOG_STORE}; "
            "`tidegate spark submit` does"
        )
    if spark.conf.get("spark.sql.catalogImplementation", "in-memory") != "in-memory":
        raise Refused("spark.sql.catalogImplementation is hive: the views that the models read belong to this session alone; set it to in-memory")
    zone = spark.conf.get("spark.sql.session.timeZone")
    if zone != "UTC":
        raise Refused(f"spark.sql.session.timeZone is {zone}: set it to UTC, or days would begin at another hour than the workers'")


def main(arguments: list[str] | None = None) -> int:
    """Runs the job; 0 when it was stopped or has done what there was, 1 when it cannot go on."""
    parser = argparse.ArgumentParser(prog="tidegate-spark", description="Journal to Bronze, Silver, Gold and the ledger, on Spark")
    parser.add_argument("settings", help="the file of settings that `tidegate spark submit` wrote")
    parser.add_argument("--once", action="store_true", help="end when what the journal holds now is in the tables")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("py4j").setLevel(logging.WARNING)
    settings = Settings.read(options.settings)
    spark = SparkSession.builder.appName("tidegate").getOrCreate()
    try:
        check(spark, settings)
        job = Job(spark, settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: job.stop())
        log.info("taking the stream on: %s, topic %s", settings.lake, settings.topic)
        job.run(options.once)
        log.info("ended; the next start goes on here")
        return 0
    except Refused as error:
        log.error("%s", error)
        return 1
    finally:
        spark.stop()
