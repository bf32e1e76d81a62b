"""The model of scale: from a load and the settings to cores, commits, files, bytes, requests and dollars, and to the limits that are reached. Pure arithmetic.

A worker has two stages that run at the same time, and each of them does one step after the other: read, compute, write files, commit. So the model asks how long a step takes,
and how many events it takes at most; what else there is follows from the number of steps. What a commit does is what `crates/lake/src/commit.rs` and `crates/pipeline/src` do.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from scale_constants import Constants

DAY = 86_400
HOURS_OF_A_MONTH = 730
DAYS_OF_A_MONTH = HOURS_OF_A_MONTH / 24
BUCKETS = 16
"""What Silver is divided by, and so how many workers it can have."""
WORKERS = (1, 2, 4, 8, 16)
FETCHES = 8
"""Entries of a log that are read at a time."""
BROKERS = 3
ONE_MACHINE_RATE = 10
"""Up to here all is on one small machine with the embedded journal."""
SMALL_BROKERS_RATE = 1_000
CORES_OF_A_GATE, CORES_OF_A_WORKER = 2, 4
GIGABYTE = 1e9


@dataclass(frozen=True)
class Load:
    """Events, and how late they are."""

    rate: float
    late_share: float
    late_days: float

    def days(self, events: float) -> float:
        """Over how many days of Silver so many of its events go, on the average."""
        return min(1 + self.late_days * (1 - math.exp(-self.late_share * events / self.late_days)), max(events, 1))


def typical(constants: Constants, rate: float) -> Load:
    """What the tables are made with."""
    return Load(rate, constants.late_share, constants.late_days)


def of_the_harness(constants: Constants, rate: float) -> Load:
    """What `cargo xtask bench` makes: many late events of nearly a year."""
    return Load(rate, constants.harness_late_share, constants.harness_late_days)


@dataclass(frozen=True)
class Pace:
    """How a stage of one worker goes on: a step every `seconds`, of so many events, and how much of its time it is busy when its steps are as large as they may be."""

    seconds: float
    events: float
    takes: float
    busy: float


def paced(rate: float, least: float, batch: float, takes: Callable[[float], float]) -> Pace:
    """A step is due when `least` seconds have gone by, or a whole batch is there, and not before the one before it is done: then it has more events to take."""
    busy = rate * takes(batch) / batch
    seconds = least
    for _ in range(200):
        longer = max(least, takes(min(batch, rate * seconds)))
        if abs(longer - seconds) < 1e-6:
            break
        seconds = longer
    if rate * seconds >= batch:
        return Pace(batch / rate, batch, takes(batch), busy)
    # Where less than one event comes in that time, steps are as rare as events.
    seconds = max(seconds, 1 / rate)
    events = rate * seconds
    return Pace(seconds, events, takes(events), busy)


@dataclass(frozen=True)
class State:
    """So many workers under a load, with these settings."""

    constants: Constants
    settings: dict[str, float]
    prices: dict[str, float]
    load: Load
    workers: int

    def setting(self, name: str) -> float:
        return self.settings[name]

    # A step.

    @property
    def record_bytes(self) -> float:
        return self.constants.event_bytes + self.constants.receipt_bytes

    @property
    def bronze_batch(self) -> float:
        """Events that one commit of Bronze takes at most."""
        return min(self.setting("pipeline.batch_records_max"), self.setting("pipeline.batch_bytes_max") / self.record_bytes)

    @property
    def silver_batch(self) -> float:
        """The same of Silver, which takes whole commits of Bronze."""
        most = min(self.setting("pipeline.silver_rows_max"), self.setting("pipeline.silver_bytes_max") / self.record_bytes)
        return max(self.bronze_batch, most // self.bronze_batch * self.bronze_batch)

    @property
    def walk_seconds(self) -> float:
        """A handle stands at its own last commit, and tries each version that the others have made since: a PUT that is refused, and a GET of what is there."""
        return (self.workers - 1) * (self.constants.put_ms + self.constants.get_ms) / 1e3

    @property
    def entry_seconds(self) -> float:
        """What every commit takes besides its files: whether the handle's version is still in the log, the walk, and the entry."""
        return self.constants.get_ms / 1e3 + self.walk_seconds + self.constants.put_ms / 1e3

    def bronze_seconds(self, events: float) -> float:
        """A step of Bronze: one file, for all of a step's events were received on one day."""
        constants = self.constants
        return events * constants.bronze_wall_us / 1e6 + constants.file_put_ms / 1e3 + self.entry_seconds

    def silver_seconds(self, events: float) -> float:
        """A step of Silver. The files of others, which the index takes in, are read one after the other."""
        constants, others = self.constants, self.workers - 1
        get = constants.get_ms / 1e3
        files = self.load.days(events)
        commits = max(1.0, events / self.bronze_batch)
        look = get + self.workers * commits * get * (1 + 1 / FETCHES)
        read = 2 * commits * get
        upload = math.ceil(files / self.setting("lake.uploads_max")) * constants.file_put_ms / 1e3
        compute = events * constants.silver_wall_us / 1e6
        index = others * (get / FETCHES + files * get + events * (constants.index_insert_us + constants.index_read_us) / 1e6)
        return look + read + compute + upload + self.entry_seconds + index

    @cached_property
    def bronze(self) -> Pace:
        return paced(self.load.rate / self.workers, self.setting("pipeline.commit_interval"), self.bronze_batch, self.bronze_seconds)

    @cached_property
    def silver(self) -> Pace:
        return paced(self.load.rate / self.workers, self.bronze.seconds, self.silver_batch, self.silver_seconds)

    @property
    def busy(self) -> float:
        """Of the busier stage. Over 1, it never catches up."""
        return max(self.bronze.busy, self.silver.busy)

    @property
    def queryable_seconds(self) -> float:
        """From the gate's answer until an event that came at the worst moment can be queried, where nothing is behind."""
        return self.bronze.seconds + self.bronze.takes + self.silver.takes

    # Cores.

    @property
    def gate_cores(self) -> float:
        return self.load.rate * self.constants.gate_batch_cpu_us / 1e6

    @property
    def gate_cores_singly(self) -> float:
        return self.load.rate * self.constants.gate_single_cpu_us / 1e6

    @property
    def worker_cores(self) -> float:
        """All workers together: events, commits, and for each event its identity in the index of every other worker."""
        constants = self.constants
        index = (self.workers - 1) * (constants.index_insert_us + constants.index_read_us)
        return (self.load.rate * (constants.worker_cpu_us + index) + (self.bronze_commits + self.silver_commits) * constants.commit_cpu_us) / 1e6

    @property
    def gates(self) -> int:
        return max(1, math.ceil(self.gate_cores / self.constants.busy_max / CORES_OF_A_GATE))

    @property
    def worker_machines(self) -> int:
        """At least one for each worker."""
        return max(self.workers, math.ceil(self.worker_cores / self.constants.busy_max / CORES_OF_A_WORKER))

    # Kafka.

    @property
    def kafka_mb(self) -> float:
        """Megabytes a second that Kafka takes, before its replicas."""
        return self.load.rate * self.record_bytes * self.constants.kafka_ratio / 1e6

    @property
    def partitions(self) -> int:
        """As many as workers, and as bytes need; numbers that divide 16, or that 16 divides."""
        needed = max(self.workers, math.ceil(self.kafka_mb / self.constants.partition_mb))
        return 1 << max(2, math.ceil(math.log2(needed)))

    @property
    def brokers(self) -> int:
        return 0 if self.load.rate <= ONE_MACHINE_RATE else max(BROKERS, math.ceil(self.kafka_mb / self.constants.broker_mb))

    # Tables.

    @property
    def bronze_commits(self) -> float:
        """A second, of all workers."""
        return self.workers / self.bronze.seconds

    @property
    def silver_commits(self) -> float:
        return self.workers / self.silver.seconds

    @property
    def silver_files(self) -> float:
        """Files of one commit."""
        return self.load.days(self.silver.events)

    @property
    def files_a_day(self) -> float:
        """Of Bronze and Silver, as they are written."""
        return DAY * (self.bronze_commits + self.silver_commits * self.silver_files)

    @property
    def files_a_day_joined(self) -> float:
        """What compaction leaves of a day: full files, and in each partition and size class up to seven that wait for the eighth."""
        target = self.setting("pipeline.compaction.target_file_bytes")
        waiting = (self.setting("pipeline.compaction.min_files") - 1) / 2 * math.ceil(math.log(target / 2 / (64 << 10), 8) + 1)
        bytes_a_day = self.load.rate * DAY * (self.constants.bronze_bytes + self.constants.silver_bytes)
        return min(self.files_a_day, bytes_a_day / target + waiting * (1 + self.load.days(self.load.rate * DAY)))

    @property
    def log_bytes_a_day(self) -> float:
        """Entries of both logs."""
        constants = self.constants
        bronze = constants.entry_bytes + constants.progress_bytes * max(1, self.partitions / self.workers) + constants.add_bytes
        silver = constants.entry_bytes + constants.progress_bytes * BUCKETS / min(BUCKETS, self.workers) + constants.add_bytes * self.silver_files
        return DAY * (self.bronze_commits * bronze + self.silver_commits * silver)

    @property
    def checkpoint_files(self) -> float:
        """Files that a checkpoint of Silver names: those that were replaced within `lake.file_retention` too."""
        replaced = DAY * self.silver_commits * self.silver_files * self.setting("lake.file_retention") / DAY
        return replaced + self.constants.kept_days * self.files_a_day_joined / 2

    @property
    def checkpoint_seconds(self) -> float:
        return self.checkpoint_files * self.constants.checkpoint_us / 1e6

    @property
    def checkpoint_busy(self) -> float:
        """How much of the time somebody writes a checkpoint of Silver."""
        return self.checkpoint_seconds * self.silver_commits / self.setting("lake.checkpoint_interval")

    @property
    def compaction_busy(self) -> float:
        """What has to be read to join files, as a part of what may be read: `input_bytes_max` of each table every `compaction_interval`. Nobody but the first worker does it."""
        sizes = ((self.constants.bronze_bytes, self.bronze.events), (self.constants.silver_bytes, self.silver.events))
        target = self.setting("pipeline.compaction.target_file_bytes") / 2
        times = [size * min(4, max(0, math.ceil(math.log(target / max(size * events, 64 << 10), 8)))) for size, events in sizes]
        most = self.setting("pipeline.compaction.input_bytes_max") / self.setting("pipeline.compaction_interval")
        return self.load.rate * max(times) / most

    # The index of identities, which every worker has all of.

    @property
    def identities(self) -> float:
        return self.load.rate * DAY * self.constants.known_days

    @property
    def filter_bytes(self) -> float:
        return self.identities * self.constants.index_filter_bytes

    @property
    def index_disk_bytes(self) -> float:
        return self.identities * self.constants.index_disk_bytes

    # Gold, at the end of a day.

    @property
    def gold_bytes(self) -> float:
        """Memory and disk that a statement over the day wants."""
        return self.load.rate * DAY * self.constants.gold_bytes

    @property
    def gold_seconds(self) -> float:
        """Making the newest day anew, and the days that late events have come for since."""
        late = self.load.days(self.load.rate * self.setting("pipeline.gold_interval"))
        return late * self.load.rate * DAY / self.constants.gold_rows

    # The console.

    @property
    def live_seconds(self) -> float:
        """How far back the page of live events goes."""
        return min(self.constants.live_events, self.constants.live_bytes / self.constants.event_bytes) / self.load.rate

    # Requests of S3 a second, and dollars a month.

    @property
    def puts(self) -> float:
        commits = self.bronze_commits + self.silver_commits
        entries = commits * self.workers
        files = self.bronze_commits + self.silver_commits * self.silver_files
        aside = self.constants.gold_puts / self.gold_every + self.constants.ledger_puts / self.setting("pipeline.ledger_interval")
        joined = files / self.setting("pipeline.compaction.min_files")
        return entries + files + joined + aside + 2 * commits / self.setting("lake.checkpoint_interval")

    @property
    def gold_every(self) -> float:
        return max(self.setting("pipeline.gold_interval"), self.gold_seconds)

    @property
    def gets(self) -> float:
        """GET and HEAD: what all who read were counted with for each commit, and what other workers add."""
        others = self.workers - 1
        walks = (self.bronze_commits + self.silver_commits) * others
        looks = 2 * self.bronze_commits * others
        index = self.silver_commits * others * (1 + self.silver_files)
        joined = self.bronze_commits + self.silver_commits * self.silver_files
        return self.workers * self.constants.reads_always + self.bronze_commits * self.constants.reads + walks + looks + index + joined

    @property
    def lists(self) -> float:
        workers = self.workers * self.constants.lists_always + self.bronze_commits * self.constants.lists
        return workers + self.gates * self.constants.gate_lists

    @property
    def request_dollars(self) -> float:
        """A month."""
        a_second = (self.puts + self.lists) * self.prices["S3: PUT, COPY, POST, LIST"] + self.gets * self.prices["S3: GET, HEAD"]
        return a_second / 1e3 * HOURS_OF_A_MONTH * 3600

    @property
    def machine_dollars(self) -> float:
        """A month of gates, workers, and brokers with a week of records in three places."""
        prices = self.prices
        if self.brokers == 0:
            return HOURS_OF_A_MONTH * prices["t3.micro"]
        broker = prices["kafka.t3.small" if self.load.rate <= SMALL_BROKERS_RATE else "kafka.m7g.xlarge"]
        machines = self.gates * prices["c7i.large"] + self.worker_machines * prices["m7i.xlarge"] + self.brokers * broker
        week = self.kafka_mb / 1e3 * self.setting("journal.kafka.retention") * BROKERS
        return HOURS_OF_A_MONTH * machines + week * prices["MSK's disks"]

    @property
    def index_dollars(self) -> float:
        """A month of the disks that every worker has its index on."""
        return self.workers * self.index_disk_bytes / GIGABYTE * self.prices["EBS gp3"]

    @property
    def traffic_dollars(self) -> float:
        """A month of bytes between zones: two thirds of them, out and in, to the brokers and from there to the workers."""
        if self.brokers == 0:
            return 0
        return self.kafka_mb / 1e3 * HOURS_OF_A_MONTH * 3600 * 2 / 3 * 2 * self.prices["between zones"] * 2

    @property
    def storage_dollars(self) -> float:
        """A month of all that is kept, and a tenth for what was replaced."""
        kept = self.load.rate * DAY * self.constants.kept_days * (self.constants.bronze_bytes + self.constants.silver_bytes)
        return 1.1 * kept / GIGABYTE * self.prices["S3: storage"]

    @property
    def dollars(self) -> float:
        return self.request_dollars + self.machine_dollars + self.index_dollars + self.traffic_dollars + self.storage_dollars

    @property
    def events_a_month(self) -> float:
        return self.load.rate * DAY * DAYS_OF_A_MONTH

    def a_million(self, dollars: float) -> float:
        return dollars / self.events_a_month * 1e6

    def changed(self, **settings: float) -> "State":
        """The same with some settings changed, named with `__` for each dot, and as many workers as are needed then."""
        changed = self.settings | {name.replace("__", "."): value for name, value in settings.items()}
        return manned(replace(self, settings=changed))


def manned(state: State) -> State:
    """With as few workers as bear the load, or, where none do, with those that come nearest."""
    states = [replace(state, workers=count) for count in WORKERS]
    return next((state for state in states if state.busy <= state.constants.busy_max), min(states, key=lambda state: state.busy))


def rate_on_one_machine(state: State) -> float:
    """Events a second to Silver of a journal that is full, where workers, Kafka and the S3 server share the cores of one machine."""
    constants = state.constants
    local = constants.changed(put_ms=constants.local_request_ms, get_ms=constants.local_request_ms, file_put_ms=constants.local_request_ms)
    state = replace(state, constants=local)
    others, batch, files = state.workers - 1, state.silver_batch, state.load.days(state.silver_batch)
    bronze = (3 + 2 * others) / state.bronze_batch
    silver = (2 + files + 2 * others + others * (1 + files)) / batch + (2 * state.workers + 1) / state.bronze_batch
    cpu = local.worker_cpu_us + local.local_kafka_cpu_us + others * (local.index_insert_us + local.index_read_us) + (bronze + silver) * local.local_request_cpu_us
    of_cores = local.local_cores * 1e6 / cpu
    of_stages = state.workers * min(state.bronze_batch / state.bronze_seconds(state.bronze_batch), batch / state.silver_seconds(batch))
    return min(of_cores, of_stages)
