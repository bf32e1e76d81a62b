"""What a Python worker of Spark runs: the compiled transform over the batches of one task, for `DataFrame.mapInArrow`."""

from collections.abc import Callable, Iterator

import pyarrow as pa

from tidegate_spark._medallion import BronzeStep, SilverStep

Step = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def bronze(generation: int, refused_from: dict[int, int], erased: list[tuple[str, str]]) -> Step:
    """Records of the journal to rows of Bronze and dead letters."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        step = BronzeStep(generation, refused_from, erased)
        for batch in batches:
            yield from step.push(batch)
        yield from step.finish()

    return run


def silver(clock_skew_tolerance_micros: int, allowed_lateness_micros: int, buckets: set[int]) -> Step:
    """Rows of Bronze to rows of Silver, exposures and dead letters. The task must have all copies of each event that is in it."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        step = SilverStep(clock_skew_tolerance_micros, allowed_lateness_micros, buckets)
        for batch in batches:
            step.push(batch)
        yield from step.finish()

    return run
