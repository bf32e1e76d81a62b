"""What breaks first: the limits, how near a load is to each, what happens beyond it, and which setting moves it. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from scale_model import State, manned

MIB, GIB = 1 << 20, 1 << 30
RATES = (1, 100, 10_000, 100_000, 1_000_000)
LOWEST = 0.1
RATES_TRIED = 8 * 9 + 1
"""Up to ten million times that, and a factor of ten more."""


@dataclass(frozen=True)
class Limit:
    """`use` is 1 where it is passed. `settings` are moved together, by `factor` at a time and up to `most` times their defaults; without any, no setting of Tidegate moves it."""

    name: str
    use: Callable[[State], float]
    beyond: str
    fails: bool = False
    """Whether something fails or falls behind for good beyond it, and not only becomes slower or dearer."""
    settings: tuple[str, ...] = ()
    factor: float = 2
    most: float = 1
    instead: str = ""

    def moved(self, state: State, defaults: dict[str, float]) -> State | None:
        """The same load with the settings one step on; nothing where they are as far as they go."""
        if not self.settings:
            return None
        changed = {name: state.setting(name) * self.factor for name in self.settings}
        if any(value > defaults[name] * self.most for name, value in changed.items()):
            return None
        return state.changed(**{name.replace(".", "__"): value for name, value in changed.items()})


LIMITS = (
    Limit(
        "S3 requests cost as much as the machines",
        lambda state: state.request_dollars / state.machine_dollars,
        "nothing fails; the bill is mostly requests",
        settings=("pipeline.commit_interval", "pipeline.gold_interval", "pipeline.ledger_interval"),
        most=64,
    ),
    Limit(
        "a step of Bronze of one worker",
        lambda state: state.bronze.busy,
        "the lag in the journal grows",
        fails=True,
        settings=("pipeline.batch_bytes_max", "pipeline.batch_records_max"),
        most=8,
        instead="more workers, up to 16",
    ),
    Limit(
        "a step of Silver of one worker",
        lambda state: state.silver.busy,
        "Silver falls behind Bronze",
        fails=True,
        settings=("pipeline.silver_bytes_max", "pipeline.silver_rows_max", "lake.uploads_max"),
        most=8,
        instead="more workers, up to 16",
    ),
    Limit(
        "commits on one table: one after the other",
        lambda state: max(state.bronze_commits, state.silver_commits) * (state.constants.put_ms + state.constants.get_ms) / 1e3,
        "commits walk behind each other and come later than their interval",
        settings=("pipeline.commit_interval", "pipeline.batch_bytes_max", "pipeline.batch_records_max"),
        most=8,
    ),
    Limit(
        "a checkpoint of Silver takes as long as the commits until the next one",
        lambda state: state.checkpoint_busy,
        "commits wait for checkpoints",
        settings=("lake.checkpoint_interval", "pipeline.commit_interval"),
        most=64,
        instead="a shorter `lake.file_retention`",
    ),
    Limit(
        "joining small files",
        lambda state: state.compaction_busy,
        "small files stay, and every reader opens more of them",
        settings=("pipeline.compaction.input_bytes_max",),
        factor=4,
        most=64,
    ),
    Limit(
        "PUT on one prefix of S3",
        lambda state: state.puts / state.constants.prefix_puts,
        "S3 answers 503 until it has divided the prefix",
        settings=("pipeline.commit_interval",),
        most=64,
    ),
    Limit(
        "memory of a statement of Gold",
        lambda state: state.gold_bytes / state.setting("lake.query_memory_bytes_max"),
        "sorts go to disk, and take longer",
        settings=("lake.query_memory_bytes_max",),
        most=16,
    ),
    Limit(
        "disk of a statement of Gold",
        lambda state: state.gold_bytes / (state.setting("lake.query_memory_bytes_max") + state.setting("lake.query_spill_bytes_max")),
        "the model fails, and its table stays as it was",
        fails=True,
        settings=("lake.query_spill_bytes_max",),
        most=32,
        instead="models over fewer columns, or another engine",
    ),
    Limit(
        "making the day of Gold anew",
        lambda state: state.gold_seconds / state.setting("pipeline.gold_interval"),
        "Gold is as old as a pass takes",
        settings=("pipeline.gold_interval",),
        factor=6,
        most=360,
    ),
    Limit(
        "filters of the index in memory",
        lambda state: state.filter_bytes / state.setting("pipeline.index.filter_bytes_max"),
        "filters are loaded again for ids that do not grow with time",
        settings=("pipeline.index.filter_bytes_max",),
        most=64,
    ),
    Limit(
        "disk of the index, of each worker",
        lambda state: state.index_disk_bytes / state.constants.worker_disk,
        "the disk is full",
        fails=True,
        instead="`pipeline.retention.silver`, and an index made anew from what is kept",
    ),
    Limit(
        "the console's page of live events",
        lambda state: 1 / state.live_seconds,
        "it goes back less than a second, and says how many it has not shown",
        instead="a filter for one source or type",
    ),
    Limit(
        "bytes into three brokers",
        lambda state: state.kafka_mb / state.constants.broker_mb / 3,
        "the gate's spool fills, then 429",
        fails=True,
        instead="more brokers, and as many partitions",
    ),
)


def exceeded(state: State) -> list[tuple[Limit, float]]:
    """The limits that are passed, the one that is passed by most first."""
    uses = [(limit, limit.use(state)) for limit in LIMITS]
    return sorted((found for found in uses if found[1] > 1), key=lambda found: -found[1])


def at_rate(state: State, rate: float) -> State:
    """The same under another load."""
    return manned(replace(state, load=replace(state.load, rate=rate)))


def reached_at(limit: Limit, state: State) -> tuple[float, bool] | None:
    """The rate at which the limit is first passed, with as many workers as each rate wants, and whether it is passed above that rate or below it; nothing where it never is.

    Rates are tried from below, eight to a factor of ten, and then halved between two of them.
    """

    def passed(rate: float) -> bool:
        return limit.use(at_rate(state, rate)) > 1

    tried = [LOWEST * 10 ** (step / 8) for step in range(RATES_TRIED)]
    first = passed(LOWEST)
    for below, above in pairwise(tried):
        if passed(above) != first:
            for _ in range(40):
                middle = (below * above) ** 0.5
                below, above = (below, middle) if passed(middle) != first else (middle, above)
            return above, not first
    return None


def moves(state: State) -> Iterator[tuple[Limit, State]]:
    """Moves one setting after another, always for the limit that is passed by most of those that a setting still moves, until none is left."""
    defaults = state.settings
    while True:
        steps = ((limit, limit.moved(state, defaults)) for limit, _ in exceeded(state))
        found = next(((limit, moved) for limit, moved in steps if moved is not None), None)
        if found is None:
            return
        state = found[1]
        yield found
