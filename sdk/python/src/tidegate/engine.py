"""What goes on behind the calls of a client, in one process."""

import logging
import threading
import time
from collections.abc import Callable

from tidegate.config import Config
from tidegate.sender import Sender
from tidegate.state import CLOSED, OPTED_OUT, State
from tidegate.stats import Delivery, Stats
from tidegate.writer import Writer

log = logging.getLogger("tidegate")

FAULT_PAUSE_SECONDS = 1.0
JOIN_SECONDS = 0.1
"""For a thread that has nothing left to do."""


class Engine:
    """A bounded queue, and the threads that empty it: one sends; where there is a spool, another one writes it."""

    def __init__(self, config: Config, on_delivery: Callable[[Delivery], None] | None) -> None:
        self._state = State(config, on_delivery)
        self._lock = self._state.lock
        self._sender = Sender(self._state)
        self._threads: list[threading.Thread] = []
        # What every call looks at.
        self._queue_events_max = config.queue_events_max
        self._queue_bytes_max = config.queue_bytes_max
        self._wakes_at = config.due_events - 1
        self._due_bytes = config.due_bytes

    def start(self) -> None:
        """Starts the threads, if they are not running yet."""
        with self._lock:
            self._start()

    def put(self, event_id: str, payload: bytes) -> bool:
        """Takes an event into the queue, or drops one as the policy says. False: it was this one."""
        state, size = self._state, len(payload)
        with self._lock:
            state.counts.tracked = number = state.counts.tracked + 1
            queue = state.queue
            length, queued = len(queue), state.queued_bytes + size
            if length + len(state.writing) >= self._queue_events_max or queued > self._queue_bytes_max or state.is_closing:
                if not self._make_room(event_id, size):
                    return False
                length, queued = len(queue), state.queued_bytes + size
            queue.append((number, event_id, payload))
            state.queued_bytes = queued
            if length == 0:
                state.oldest_at = time.monotonic()
                self._start()
                state.work.notify_all()
            elif length == self._wakes_at or queued - size < self._due_bytes <= queued:
                state.work.notify_all()
            return True

    def refuse(self, event_id: str, code: str, message: str) -> None:
        """Counts an event that cannot be sent."""
        with self._lock:
            self._state.counts.tracked += 1
            self._drop(event_id, code, message)

    def reject(self, event_id: str, code: str, message: str) -> None:
        """Counts an event that the gate would refuse."""
        with self._lock:
            self._state.counts.tracked += 1
            self._state.reject(event_id, code, message)
            self._tell_soon()

    def suppress(self) -> None:
        """Counts a call while the client is switched off."""
        with self._lock:
            self._state.counts.suppressed += 1

    def warn(self, kind: str, message: str) -> None:
        """Logs, but not too often."""
        with self._lock:
            self._state.warn(kind, message)

    def stats(self) -> Stats:
        """The counts."""
        with self._lock:
            return self._state.counts.snapshot()

    def flush(self, deadline: float) -> bool:
        """Waits until all that was tracked before is settled; false where the deadline (of the monotonic clock) is earlier."""
        with self._lock:
            return self._wait_until_settled(self._state.counts.tracked, deadline)

    def sync(self, deadline: float) -> bool:
        """Waits until all that was tracked before is on disk or settled."""
        with self._lock:
            through = self._state.counts.tracked
            return self._state.spool is not None and self._wait(lambda: self._state.is_synced(through), deadline)

    def close(self, deadline: float) -> bool:
        """Sends what there is, as long as there is time, and ends."""
        state = self._state
        with self._lock:
            if state.is_closing:
                return self._wait_until_settled(state.counts.tracked, deadline)
            state.is_closing = True
            state.room.notify_all()
            is_settled = self._wait_until_settled(state.counts.tracked, deadline)
            state.is_over = True
            state.abandon(*CLOSED, keeps_spool=True)
            state.work.notify_all()
            spool, state.spool = state.spool, None
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()) + JOIN_SECONDS)
        if spool is not None:
            spool.close()
        self._sender.tell()
        return is_settled

    def throw_away(self) -> None:
        """Drops what is queued and spooled; what is on its way comes to its end."""
        state = self._state
        with self._lock:
            state.thrown_away = state.counts.tracked
            if state.sending is not None:
                state.sending.is_thrown_away = True
            state.abandon(*OPTED_OUT, keeps_spool=False)
            state.work.notify_all()

    def forget(self) -> None:
        """After a fork: nothing of it is this process's."""
        if self._state.spool is not None:
            self._state.spool.forget()

    # The lock is held in all of these.

    def _start(self) -> None:
        if self._threads or self._state.is_closing:
            return
        runs = {"tidegate-send": self._sender.run}
        if self._state.spool is not None:
            runs["tidegate-spool"] = Writer(self._state, self._state.spool).run
        self._threads = [threading.Thread(target=_again_and_again, args=(run,), name=name, daemon=True) for name, run in runs.items()]
        for thread in self._threads:
            thread.start()

    def _drop(self, event_id: str, code: str, message: str) -> None:
        self._state.drop(event_id, code, message)
        self._tell_soon()

    def _tell_soon(self) -> None:
        if self._state.untold:
            # Somebody has to tell it.
            self._start()

    def _make_room(self, event_id: str, size: int) -> bool:
        state, config = self._state, self._state.config
        if config.when_full == "drop_oldest" and size <= config.queue_bytes_max and not state.is_closing:
            while state.is_full_with(size) and state.queue:
                _, oldest, payload = state.queue.popleft()
                state.queued_bytes -= len(payload)
                self._drop(oldest, "queue_full", "newer events needed its place in the queue")
        elif config.when_full == "block":
            deadline = time.monotonic() + config.block_seconds
            while state.is_full_with(size) and not state.is_closing and (left := deadline - time.monotonic()) > 0:
                state.room.wait(left)
        if state.is_closing:
            self._drop(event_id, "closed", "the client is closed")
            return False
        if state.is_full_with(size):
            self._drop(event_id, "queue_full", "the queue is full")
            return False
        return True

    def _wait_until_settled(self, through: int, deadline: float) -> bool:
        return self._wait(lambda: self._state.first_unsettled() > through, deadline)

    def _wait(self, holds: Callable[[], bool], deadline: float) -> bool:
        state = self._state
        state.hurry += 1
        state.work.notify_all()
        try:
            while not holds():
                left = deadline - time.monotonic()
                if left <= 0 or state.is_over:
                    return False
                state.done.wait(left)
            return True
        finally:
            state.hurry -= 1


def _again_and_again(run: Callable[[], None]) -> None:
    while True:
        try:
            run()
            return
        except Exception:
            # A fault of ours. Nothing is lost by it: what was being sent or written is found again.
            log.exception("a thread of the client failed, and is started again")
            time.sleep(FAULT_PAUSE_SECONDS)
