"""What all stages of the job have in common: steps, one after the other, made again where they fail."""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from pyspark.sql import SparkSession

from tidegate_spark.errors import Fenced, Refused
from tidegate_spark.metrics import Metrics
from tidegate_spark.settings import Settings

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
"""How often it is looked whether there is something new, where that is to end soon; else it is once in a commit's interval, for each look is a request to the store."""
RETRY_PAUSE_MIN = 0.1
FAILURES_MAX = 20
"""So many failures in a row end the job; whoever supervises it starts it again."""


class Stage(Protocol):
    """What is run. It keeps its place in the tables, so that it can be stopped anywhere."""

    def step(self, is_ending: bool) -> bool:
        """Does what is next; `is_ending`: nothing more will come than what there is now. False: there was nothing to do."""

    def take_position(self) -> None:
        """Forgets what it believes, and takes its place from the tables."""

    def end(self) -> None:
        """No step will be made any more."""


class Runner:
    """One stage in a thread of its own. What it cannot get over stops all of them."""

    def __init__(
        self,
        spark: SparkSession,
        name: str,
        stage: Callable[[], Stage],
        settings: Settings,
        metrics: Metrics,
        stop: threading.Event,
        after: "Runner | None" = None,
        pace: float = 0,
    ) -> None:
        """`pace`: seconds from the end of a step to the next one, where that does not follow at once."""
        self._spark = spark
        self._name = name
        self._make_stage = stage
        self._settings = settings
        self._metrics = metrics
        self._stop = stop
        self._after = after
        self._pace = pace
        self._failures = 0
        self._once = False
        self._thread = threading.Thread(target=self._run, name=name)
        self.fault: Exception | None = None
        """What it could not get over."""

    def start(self, once: bool) -> None:
        """`once`: it ends when the stage that it comes after has ended and nothing is left to do; a stage with a pace of its own only begins then."""
        self._once = once
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        try:
            # One of its own: else what one stage submits first is served first.
            self._spark.sparkContext.setLocalProperty("spark.scheduler.pool", self._name)
            # Here, so that no stage waits until all tables of the others are open.
            self._stage = self._make_stage()
            try:
                self._steps()
            finally:
                self._stage.end()
        except Exception as error:
            self.fault = error
            self._stop.set()

    def _steps(self) -> None:
        if self._once and self._pace and self._after is not None:
            # What is made anew with all that changed is made of everything, at the end.
            self._after.join()
        while not self._stop.is_set():
            is_ending = self._once and (self._after is None or not self._after._thread.is_alive())
            try:
                moved = self._stage.step(is_ending)
            except Refused:
                raise
            except Exception as error:
                self._failed(error)
                self._recover()
                continue
            self._failures = 0
            if is_ending:
                if not moved:
                    return
            elif self._pace or not moved:
                self._stop.wait(LOOK_SECONDS if self._once else self._pace or max(LOOK_SECONDS, self._settings.commit_interval))

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        is_fenced = isinstance(error, Fenced)
        self._metrics.failed(self._name, is_fenced)
        if self._failures > FAILURES_MAX:
            raise error
        if is_fenced:
            log.warning("%s is fenced: another process did this part of the work, its place is taken from the tables anew: %s", self._name, error)
        else:
            log.warning("a step of %s failed and will be made again (%d): %s", self._name, self._failures, error, exc_info=self._failures == 1)

    def _recover(self) -> None:
        while not self._stop.wait(min(RETRY_PAUSE_MIN * 2 ** min(self._failures, 16), self._settings.retry_pause_max)):
            try:
                self._stage.take_position()
                return
            except Refused:
                raise
            except Exception as error:
                self._failed(error)
