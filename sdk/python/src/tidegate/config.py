"""How a client is set up."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

WhenFull = Literal["drop_newest", "drop_oldest", "block"]


@dataclass(frozen=True)
class Config:
    """Bounds and paces; docs/sdk-contract.md says what they mean."""

    write_key: str
    signing_secret: str | None
    url: str
    batch_events_max: int
    batch_bytes_max: int
    batch_seconds: float
    queue_events_max: int
    queue_bytes_max: int
    when_full: WhenFull
    block_seconds: float
    timeout: float
    spool: Path | None
    spool_bytes_max: int
    spool_seconds: float

    def __post_init__(self) -> None:
        if not self.write_key:
            raise ValueError("write_key is empty; `tidegate source add NAME` makes one")
        if self.signing_secret == "":
            raise ValueError("signing_secret is empty; `tidegate source add NAME --signed` makes one")
        if self.when_full not in get_args(WhenFull):
            raise ValueError(f"when_full is {self.when_full!r}, must be one of {', '.join(get_args(WhenFull))}")
        for name in ("batch_events_max", "batch_bytes_max", "queue_events_max", "queue_bytes_max", "spool_bytes_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("batch_seconds", "block_seconds", "spool_seconds"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        if self.timeout <= 0:
            raise ValueError("timeout must be positive")

    @property
    def due_events(self) -> int:
        """So many events are sent without waiting for more: a batch, or half of what the queue holds."""
        return min(self.batch_events_max, max(1, self.queue_events_max // 2))

    @property
    def due_bytes(self) -> int:
        """The same in bytes."""
        return min(self.batch_bytes_max, max(1, self.queue_bytes_max // 2))
