"""Tables of the lake, as the stages use them. The names of progress are those of the workers in Rust."""

import json

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession

from tidegate_spark.errors import Refused, told

BRONZE = "bronze.events"
SILVER = "silver.events"
EXPOSURES = "silver.exposures"
DEAD_LETTERS = "dead_letters"
LEDGER = "ledger"
ERASED = "erased"

GENERATION = "tidegate:journal"
ERASURES = "tidegate:erasures"
REPLACEMENTS = "tidegate:replacements"
ENGINE = "tidegate:engine"
NEVER = -1
"""Progress that there is none of."""


def in_journal(generation: int, partition: int) -> str:
    return f"tidegate:journal:{generation}:{partition}"


def in_table(name: str) -> str:
    return f"tidegate:{name}"


def in_bucket(bucket: int) -> str:
    return f"tidegate:{BRONZE}:{bucket}"


def is_spark(engine: int) -> bool:
    """Whose the stream is: it grows by one when it changes hands, and an even number, or none, is the workers'."""
    return engine % 2 == 1


class Table:
    """A table at the version it last read, with what its stage was told of its progress."""

    def __init__(self, spark: SparkSession, root: str, name: str) -> None:
        self.spark = spark
        self.name = name
        self.path = f"{root}/{name.replace('.', '/')}"
        self._java = spark._jvm.io.tidegate.spark.LakeTable.open(spark._jsparkSession, self.path)
        self._told: dict[str, int] = {}

    def refresh(self) -> int:
        """Reads what others committed; tells the newest version. What the stage was told stays."""
        return self._java.refresh()

    @property
    def version(self) -> int:
        return self._java.version()

    def peek(self, name: str) -> int:
        """How far something is, without the stage being told: a later commit relies on what it was told before."""
        return self._java.progress(name)

    def progress(self, name: str) -> int:
        """Tells the stage how far something is. A later commit that names it relies on that."""
        number = self.peek(name)
        self._told[name] = number
        return number

    def frame(self) -> DataFrame:
        """The table at this version."""
        return self.spark.read.format("delta").option("versionAsOf", self.version).load(self.path)

    def changes(self, after: int, through: int) -> "Changes":
        """What these versions did."""
        return Changes(after, self._java.changes(after, through))

    @property
    def partition_by(self) -> list[str]:
        """The columns that choose the folder of a row."""
        return list(self._java.partitionBy())

    def partitions(self, column: str) -> set[str]:
        """The values that a partition column has at this version."""
        return set(self._java.partitions(column))

    def read(self, files: list) -> DataFrame:
        """The rows of some of its files."""
        return DataFrame(self._java.read(files), self.spark)

    def append(self, rows: DataFrame | None, progress: dict[str, int], guards: list[str], info: dict) -> int:
        """Commits rows and progress together, if neither this progress nor that of the guards has been moved since the stage was told of it.

        Raises `Fenced` where it has.
        """
        return self._commit(self._java.append, (rows,), progress, guards, info)

    def replace(self, rows: DataFrame, condition: str, progress: dict[str, int], info: dict) -> int:
        """As `append`, in the place of all rows for which a condition on partition columns holds."""
        return self._commit(self._java.replace, (rows, condition), progress, [], info)

    def _commit(self, commit, what: tuple, progress: dict[str, int], guards: list[str], info: dict) -> int:
        asked = {name: self._told[name] for name in [*progress, *guards]}
        arguments = [part._jdf if isinstance(part, DataFrame) else part for part in what]
        try:
            version = commit(*arguments, progress, asked, json.dumps({"tidegate": info}))
        except Py4JJavaError as error:
            raise told(error) from None
        self._told |= progress
        return version


class Changes:
    """What some versions of a table did, read from its log once."""

    def __init__(self, after: int, java) -> None:
        self._after = after
        self._java = java

    def added(self) -> list:
        """The files that they added with new rows, oldest first."""
        return list(self._java.added())

    def removed(self, column: str) -> set[str] | None:
        """The values of a partition column among the files that they removed with their rows; `None` where a writer did not say."""
        removed = self._java.removed(column)
        return None if removed is None else set(removed)

    def infos(self) -> list[tuple[int, dict]]:
        """What their commits tell, by version, oldest first."""
        return [(self._after + 1 + number, info_of(text)) for number, text in enumerate(self._java.infos())]


def check_owner(table: Table) -> None:
    """Reads the table anew; raises `Refused` where it says that the stream is the workers'."""
    table.refresh()
    if not is_spark(table.peek(ENGINE)):
        raise Refused("the stream is the workers'; hand it over first: tidegate engine spark")


def info_of(text: str) -> dict:
    """What a commit's user metadata tells; nothing where it is not ours."""
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    info = document.get("tidegate") if isinstance(document, dict) else None
    return info if isinstance(info, dict) else {}
