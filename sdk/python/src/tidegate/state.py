"""What the calls and the threads of a client share, and what may be done to it. One lock is over all of it; each method says nothing of it, and has it held by its caller."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from tidegate import spool as spooling
from tidegate.answers import Rejected
from tidegate.config import Config
from tidegate.stats import Counts, Delivery

log = logging.getLogger("tidegate")

LOG_PAUSE_SECONDS = 60.0
"""Between two warnings of one kind: an application must not drown in them."""
UNTOLD_MAX = 10_000
"""Drops that wait to be told to `on_delivery`."""
CLOSED = ("closed", "the client was closed before it could be sent")
OPTED_OUT = ("opted_out", "the client was switched off")
NONE = 2**63
"""Greater than the number of any event."""

Event = tuple[int, str, bytes]
"""Its number in this process, 0 where it is of an earlier one; its id; its JSON without the brace at the end."""


@dataclass
class Batch:
    """What is sent in one request."""

    events: list[Event]
    file: spooling.File | None = None
    """What is to be removed when the last of them is answered."""
    is_spooled: bool = False
    is_thrown_away: bool = False
    """No further attempt is to be made."""
    attempt: int = 0


class State:
    """Of one client in one process."""

    def __init__(self, config: Config, on_delivery: Callable[[Delivery], None] | None) -> None:
        self.config = config
        self.on_delivery = on_delivery
        self.lock = threading.Lock()
        self.work = threading.Condition(self.lock)
        """There may be something for a thread to do."""
        self.room = threading.Condition(self.lock)
        """There may be room in the queue."""
        self.done = threading.Condition(self.lock)
        """Events may have been settled, or be on disk."""
        self.counts = Counts()
        self.queue: deque[Event] = deque()
        self.queued_bytes = 0
        """Of the queue, and of what is being written."""
        self.oldest_at = 0.0
        """When the first of those in the queue came."""
        self.writing: list[Event] = []
        """Taken from the queue, and not on disk yet."""
        self.batches: deque[Batch | spooling.File] = deque()
        """Cut, and not begun: halves of a batch that was too large, and files of the spool."""
        self.sending: Batch | None = None
        self.spool: spooling.Spool | None = None if config.spool is None else spooling.Spool(config.spool, config.spool_bytes_max)
        """None also after it was closed."""
        self.is_spool_failing = False
        self.thrown_away = 0
        """The number of the last event when all was thrown away."""
        self.hurry = 0
        """How many wait for a flush or a sync."""
        self.is_closing = False
        self.is_over = False
        self.untold: deque[Delivery] = deque(maxlen=UNTOLD_MAX)
        self._warned: dict[str, float] = {}

    def drop(self, event_id: str, code: str, message: str) -> None:
        """Counts an event that is given up."""
        self.counts.dropped[code] += 1
        self._ended(event_id, "dropped", code, message)

    def reject(self, event_id: str, code: str, message: str) -> None:
        """Counts an event that the gate would refuse."""
        self.counts.rejected[code] += 1
        self._ended(event_id, "rejected", code, message)

    def _ended(self, event_id: str, outcome: Literal["rejected", "dropped"], code: str, message: str) -> None:
        self.warn(f"{outcome} {code}", f"an event was {outcome} ({code}): {message}")
        if self.on_delivery is not None:
            self.untold.append(Delivery(event_id, outcome, code, message))
            self.work.notify_all()

    def outcome(self, outcomes: list[Delivery], event: Event, outcome: Literal["delivered", "rejected", "dropped"], why: Rejected | None = None) -> None:
        """Counts what became of an event that was sent."""
        number, event_id, _ = event
        code, message = ("", "") if why is None else (why.code, why.message)
        if not number:
            self.counts.recovered += 1
        elif outcome == "delivered":
            self.counts.delivered += 1
        elif outcome == "rejected":
            self.counts.rejected[code] += 1
        else:
            self.counts.dropped[code] += 1
        if why is not None:
            self.warn(f"{outcome} {code}", f"event {event_id} was {outcome} ({code}): {message}")
        if self.on_delivery is not None:
            outcomes.append(Delivery(event_id, outcome, code, message))

    def abandon(self, code: str, message: str, keeps_spool: bool) -> None:
        """Drops what is queued; also what is spooled, or else what is on its way and nowhere else."""
        for _, event_id, _ in self.queue:
            self.drop(event_id, code, message)
        self.queue.clear()
        self.queued_bytes = sum(len(payload) for _, _, payload in self.writing)
        for batch in list(self.batches):
            is_spooled = isinstance(batch, spooling.File) or batch.is_spooled
            if not (is_spooled and keeps_spool):
                self.batches.remove(batch)
                self.abandon_batch(batch, code, message)
        if keeps_spool:
            # The thread that sends finds that this is no longer its batch.
            sending, self.sending = self.sending, None
            if sending is not None and sending.is_thrown_away:
                self.abandon_batch(sending, *OPTED_OUT)
            elif sending is not None and not sending.is_spooled:
                self.abandon_batch(sending, code, message)
        self.room.notify_all()
        self.done.notify_all()

    def abandon_batch(self, batch: Batch | spooling.File, code: str, message: str) -> None:
        """Drops the events of a batch, and removes its file."""
        if isinstance(batch, spooling.File):
            # Their ids are on disk only: they are counted, and not told one by one.
            self.counts.dropped[code] += batch.events
            self.remove(batch)
        else:
            for number, event_id, _ in batch.events:
                if number:
                    self.drop(event_id, code, message)
            self.remove(batch.file)

    def remove(self, file: spooling.File | None) -> None:
        """The events of a file are settled."""
        if file is not None and self.spool is not None:
            self.spool.remove(file)

    def first_unsettled(self) -> int:
        """The number of the oldest event that is neither delivered, rejected nor dropped; `NONE` where there is none."""
        numbers = [event[0] for event in (self.sending.events if self.sending else []) if event[0]]
        for batch in self.batches:
            if isinstance(batch, spooling.File):
                numbers += [batch.first] if batch.events else []
            else:
                numbers += [event[0] for event in batch.events if event[0]]
        numbers += self._in_memory()
        if self.spool is not None and (first := self.spool.open_first) is not None:
            numbers.append(first)
        return min(numbers, default=NONE)

    def is_synced(self, through: int) -> bool:
        """Whether all events up to this number are on disk or settled."""
        numbers = self._in_memory()
        for batch in [*self.batches, self.sending]:
            if isinstance(batch, Batch) and not batch.is_spooled:
                numbers += [event[0] for event in batch.events]
        return min(numbers, default=NONE) > through

    def _in_memory(self) -> list[int]:
        return [event[0] for event in self.writing[:1]] + [event[0] for event in islice(self.queue, 1)]

    def is_full_with(self, size: int) -> bool:
        """Whether the queue has no room for an event of so many bytes."""
        return len(self.queue) + len(self.writing) >= self.config.queue_events_max or self.queued_bytes + size > self.config.queue_bytes_max

    def warn(self, kind: str, message: str) -> None:
        """Logs, but not too often."""
        now = time.monotonic()
        if now - self._warned.get(kind, -LOG_PAUSE_SECONDS) >= LOG_PAUSE_SECONDS:
            self._warned[kind] = now
            log.warning("%s", message)
