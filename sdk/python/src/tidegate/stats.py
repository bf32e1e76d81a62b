"""The counts of a client, and what it tells of each event."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Delivery:
    """What became of one event."""

    event_id: str
    outcome: Literal["delivered", "rejected", "dropped"]
    code: str = ""
    """Why it was not delivered: a code of the gate's for `rejected`; for `dropped` it is `invalid`, `too_large`, `queue_full`, `closed` or `opted_out`."""
    message: str = ""
    """The same for people."""


@dataclass(frozen=True)
class Stats:
    """Of one process since the client was made. `tracked == delivered + rejected + dropped + pending`, whenever it is asked."""

    tracked: int
    delivered: int
    rejected: int
    dropped: int
    pending: int
    """In memory, on its way, or in the spool; of this process."""
    dropped_by: dict[str, int]
    """By reason."""
    rejected_by: dict[str, int]
    """By code."""
    suppressed: int
    """Calls while it was switched off."""
    retries: int
    """Requests that were sent again."""
    recovered: int
    """Events of earlier processes, found in the spool and answered."""
    torn: int
    """Lines of the spool that a process was killed in the middle of."""
    spool_errors: int
    """Times that the spool could not be written."""


@dataclass
class Counts:
    """The same while it is counted. The client's lock is held."""

    tracked: int = 0
    delivered: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    suppressed: int = 0
    retries: int = 0
    recovered: int = 0
    torn: int = 0
    spool_errors: int = 0

    def snapshot(self) -> Stats:
        dropped, rejected = self.dropped.total(), self.rejected.total()
        return Stats(
            tracked=self.tracked,
            delivered=self.delivered,
            rejected=rejected,
            dropped=dropped,
            pending=self.tracked - self.delivered - rejected - dropped,
            dropped_by=dict(self.dropped),
            rejected_by=dict(self.rejected),
            suppressed=self.suppressed,
            retries=self.retries,
            recovered=self.recovered,
            torn=self.torn,
            spool_errors=self.spool_errors,
        )
