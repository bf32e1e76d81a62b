"""The job: one driver that runs the stages, for as long as the stream is its own."""

import argparse
import logging
import signal
import threading
from collections.abc import Callable

from pyspark.sql import SparkSession

from tidegate_spark.bronze import Bronze
from tidegate_spark.errors import Refused
from tidegate_spark.experiments import report
from tidegate_spark.gold import Gold
from tidegate_spark.ledger import Ledger
from tidegate_spark.metrics import Metrics
from tidegate_spark.runner import Runner, Stage
from tidegate_spark.settings import Settings
from tidegate_spark.silver import Silver

log = logging.getLogger("tidegate")

LOG_STORE = "io.tidegate.spark.S3ConditionalLogStore"


class Job:
    """The stages of one driver, each in a thread of its own."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        metrics = Metrics()
        if settings.metrics is not None:
            metrics.serve(settings.metrics, settings.allowed_lateness_micros)
        self._stop = threading.Event()

        def runner(name: str, stage: Callable[[], Stage], after: Runner | None = None, pace: float = 0) -> Runner:
            return Runner(spark, name, stage, settings, metrics, self._stop, after, pace)

        bronze = runner("bronze", lambda: Bronze(spark, settings, metrics))
        silver = runner("silver", lambda: Silver(spark, settings, metrics), after=bronze)
        gold = runner("gold", lambda: Gold(spark, settings, metrics), after=silver, pace=settings.gold_interval)
        ledger = runner("ledger", lambda: Ledger(spark, settings), after=silver, pace=settings.ledger_interval)
        self._runners = [bronze, silver, gold, ledger]

    def stop(self) -> None:
        """Asks every stage to end after the step that it is at."""
        self._stop.set()

    def run(self, once: bool) -> None:
        """Runs until it is asked to stop; with `once`, until what the journal holds now is in Silver, Gold and the ledger.

        Raises `Refused` where it cannot, as when the stream was handed over to the workers.
        """
        for runner in self._runners:
            runner.start(once)
        for runner in self._runners:
            runner.join()
        for runner in self._runners:
            if runner.fault is not None:
                raise runner.fault


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
    parser.add_argument("--experiment", metavar="NAME", help="print what came of an experiment, as JSON, and end")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("py4j").setLevel(logging.WARNING)
    settings = Settings.read(options.settings)
    spark = SparkSession.builder.appName("tidegate").getOrCreate()
    try:
        check(spark, settings)
        if options.experiment is not None:
            print(report(spark, settings, options.experiment), flush=True)
            return 0
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
