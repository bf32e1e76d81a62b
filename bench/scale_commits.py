"""A simulation of workers that commit to one table, by the rule of `crates/lake/src/commit.rs`. The same seed gives the same outcome; there is no clock in it.

Each worker takes what has come since it last read, prepares it, and puts its entry after the version that it knows of. Where another one has that version already, the store refuses:
the worker reads the entry that is there, moves on by one version, and tries again, `lake.commit_attempts_max` times. Then it pauses, reads all versions there are, and begins the step again.
"""

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from scale_constants import Constants

PAUSE_SECONDS = 0.2
"""After the first failure of a step; it doubles (`crates/pipeline/src/stage.rs`)."""
PAUSE_MAX_SECONDS = 30.0
SAMPLES = 20
"""Events of each commit whose delay is looked at, spread evenly over the time in which they came."""
INTERVALS, WARM_UP_INTERVALS, SECONDS_MIN = 30, 5, 60.0


@dataclass(frozen=True)
class Writers:
    """What is played."""

    workers: int
    interval: float
    attempts_max: int
    event_seconds: float
    """What a worker computes for a second of its events, in seconds."""
    constants: Constants
    seed: int = 1


@dataclass(frozen=True)
class Outcome:
    """What came of it, after a warm-up."""

    commits_per_second: float
    attempts_per_commit: float
    given_up_per_commit: float
    """Steps that were begun again, for each commit."""
    delay_p99: float
    """From when an event was in the journal until it was committed, in seconds."""


@dataclass
class Worker:
    version: int = 0
    read_from: float = 0
    read_to: float = 0
    lost: int = 0
    failures: int = 0
    attempts: int = 0


@dataclass
class Table:
    """The table, those who write it, and what is still to happen, in order of time."""

    writers: Writers
    random: random.Random
    newest: int = 0
    queue: list[tuple[float, int, Callable[[float], None]]] = field(default_factory=list)
    scheduled: int = 0
    commits: int = 0
    attempts: int = 0
    given_up: int = 0
    delays: list[float] = field(default_factory=list)

    def takes(self, milliseconds: float) -> float:
        """A latency with that mean, in seconds."""
        sigma = self.writers.constants.latency_spread
        return self.random.lognormvariate(math.log(milliseconds / 1e3) - sigma * sigma / 2, sigma)

    def at(self, time: float, happens: Callable[[float], None]) -> None:
        self.scheduled += 1
        heapq.heappush(self.queue, (time, self.scheduled, happens))

    def begin(self, worker: Worker, now: float) -> None:
        """Reads what there is, and prepares it: the rows, whether the worker's version is still in the log, and the file."""
        constants = self.writers.constants
        worker.read_to, worker.lost = now, 0
        compute = (now - worker.read_from) * self.writers.event_seconds
        self.attempt(worker, now + compute + self.takes(constants.get_ms) + self.takes(constants.file_put_ms))

    def attempt(self, worker: Worker, now: float) -> None:
        """The store decides half-way between question and answer."""
        worker.attempts += 1
        takes = self.takes(self.writers.constants.put_ms)
        self.at(now + takes / 2, lambda decided: self.decide(worker, decided, takes / 2))

    def decide(self, worker: Worker, now: float, rest: float) -> None:
        if worker.version == self.newest:
            self.newest += 1
            worker.version = self.newest
            self.at(now + rest, lambda answered: self.committed(worker, answered))
        else:
            self.at(now + rest + self.takes(self.writers.constants.get_ms), lambda looked: self.refused(worker, looked))

    def refused(self, worker: Worker, now: float) -> None:
        worker.version += 1
        worker.lost += 1
        if worker.lost < self.writers.attempts_max:
            self.attempt(worker, now)
            return
        worker.failures += 1
        self.given_up += 1
        pause = min(PAUSE_SECONDS * 2 ** (worker.failures - 1), PAUSE_MAX_SECONDS)
        self.at(now + pause, lambda then: self.look(worker, then))

    def look(self, worker: Worker, now: float) -> None:
        """Reads one version after the other until there is none."""
        there = worker.version < self.newest
        worker.version += there
        go_on = self.look if there else self.begin
        self.at(now + self.takes(self.writers.constants.get_ms), lambda then: go_on(worker, then))

    def committed(self, worker: Worker, now: float) -> None:
        self.commits += 1
        self.attempts += worker.attempts
        came = worker.read_to - worker.read_from
        self.delays += [now - worker.read_from - came * (sample + 0.5) / SAMPLES for sample in range(SAMPLES)]
        began, worker.read_from, worker.attempts, worker.failures = worker.read_to, worker.read_to, 0, 0
        self.at(max(began + self.writers.interval, now), lambda then: self.begin(worker, then))

    def run_until(self, end: float) -> None:
        while self.queue and self.queue[0][0] <= end:
            time, _, happens = heapq.heappop(self.queue)
            happens(time)


def starter(table: Table, worker: Worker) -> Callable[[float], None]:
    return lambda now: table.begin(worker, now)


def play(writers: Writers) -> Outcome:
    """Plays it for at least a minute, and at least thirty intervals."""
    table = Table(writers, random.Random(writers.seed))
    for number in range(writers.workers):
        # Nobody has them begin at the same moment.
        first = writers.interval * (number + table.random.random()) / writers.workers
        table.at(first, starter(table, Worker()))
    warm_up = max(writers.interval * WARM_UP_INTERVALS, SECONDS_MIN / 10)
    seconds = max(writers.interval * INTERVALS, SECONDS_MIN)
    table.run_until(warm_up)
    table.commits = table.attempts = table.given_up = 0
    table.delays.clear()
    table.run_until(warm_up + seconds)
    delays = sorted(table.delays)
    commits = max(table.commits, 1)
    p99 = delays[min(len(delays) - 1, math.ceil(0.99 * len(delays)) - 1)] if delays else math.inf
    return Outcome(table.commits / seconds, table.attempts / commits, table.given_up / commits, p99)
