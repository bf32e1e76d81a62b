"""The settings of the job, as `tidegate spark submit` writes them from tidegate.toml."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """One JSON document. Times are seconds unless they say otherwise."""

    lake: str
    """Where the tables are: `s3://bucket/prefix`."""
    topic: str
    generation: int
    kafka: dict[str, str]
    """What Kafka's Java clients are told, the brokers among it."""
    commit_interval: float
    records_max: int
    """Records that one commit of Bronze takes at most, over all partitions."""
    silver_rows_max: int
    clock_skew_tolerance_micros: int
    allowed_lateness_micros: int
    gold_interval: float
    ledger_interval: float
    retry_pause_max: float
    models: list[dict]
    """The models of Gold, each after those it reads."""
    experiments: list[dict]
    """The experiments, each as it is defined and with the names of its tables."""
    metrics: str | None
    """Host and port where Prometheus may ask."""

    @classmethod
    def read(cls, path: str) -> "Settings":
        return cls(**json.loads(Path(path).read_text()))

    @property
    def root(self) -> str:
        """The lake, as Hadoop names it."""
        return self.lake.rstrip("/").replace("s3://", "s3a://", 1)

    @property
    def checkpoints(self) -> str:
        """Where the checkpoints are. No table has a name that begins like this."""
        return f"{self.root}/_spark/checkpoints"
