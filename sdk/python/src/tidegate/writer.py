"""The thread that writes the spool."""

import logging
import time

from tidegate.spool import Spool
from tidegate.state import CLOSED, OPTED_OUT, Event, State

log = logging.getLogger("tidegate")

RETRY_SECONDS = 1.0
"""After the spool could not be written."""


class Writer:
    """From the queue to files, each of which is a batch when it is cut."""

    def __init__(self, state: State, spool: Spool) -> None:
        self._state = state
        self._spool = spool
        self._has_adopted = False
        self._opened_at = 0.0
        """When the file that is written to was begun."""
        self._retry_at = 0.0
        """When a spool that could not be written is tried again."""

    def run(self) -> None:
        """Until the client is closed."""
        with self._state.lock:
            # It was being written when this thread failed.
            writing, self._state.writing = self._state.writing, []
            self._state.queued_bytes -= sum(len(payload) for _, _, payload in writing)
            self._put_back(writing)
        if not self._has_adopted:
            self._has_adopted = True
            self._adopt()
        while self._gather():
            self._append()

    def _adopt(self) -> None:
        """Takes on what earlier processes left."""
        try:
            files = self._spool.adopt()
        except OSError as error:
            log.error("what earlier processes left in the spool cannot be read: %s", error)
            return
        with self._state.lock:
            self._state.batches.extend(files)
            self._state.work.notify_all()

    def _gather(self) -> bool:
        """Waits until there is something to write, or a file to cut. False: it is over."""
        state, config = self._state, self._state.config
        with state.lock:
            while not state.is_over:
                self._throw_away_open()
                opened = self._spool.open_events
                # After a failure the queue is the sender's for a while; at the end, for good.
                rest = max(0.0, self._retry_at - time.monotonic())
                if opened and (state.hurry or state.is_closing):
                    break
                if state.is_closing and (not state.queue or state.is_spool_failing):
                    return False
                if state.queue and not rest:
                    break
                due = self._opened_at + config.batch_seconds - time.monotonic() if opened else None
                if due is not None and due <= 0:
                    break
                state.work.wait(min((wait for wait in (due, rest) if wait), default=None))
            until = time.monotonic() + config.spool_seconds
            while state.queue and not (state.is_over or state.hurry or state.is_closing) and (left := until - time.monotonic()) > 0:
                state.work.wait(left)
            if state.is_over:
                return False
            takes = 0 if self._retry_at > time.monotonic() else min(len(state.queue), config.batch_events_max)
            state.writing = [state.queue.popleft() for _ in range(takes)]
            return True

    def _throw_away_open(self) -> None:
        """What was thrown away while it was being written is in the open file. The lock is held."""
        first = self._spool.open_first
        if first is not None and first <= self._state.thrown_away and (file := self._spool.cut()) is not None:
            self._state.abandon_batch(file, *OPTED_OUT)
            self._state.done.notify_all()

    def _append(self) -> None:
        state, config, spool, writing = self._state, self._state.config, self._spool, self._state.writing
        begins = not spool.open_events
        failure: OSError | None = None
        try:
            if writing:
                spool.append([payload for _, _, payload in writing], writing[0][0])
        except OSError as error:
            failure = error
        with state.lock:
            state.writing = []
            state.queued_bytes -= sum(len(payload) for _, _, payload in writing)
            if begins:
                self._opened_at = time.monotonic()
            if writing:
                state.is_spool_failing = failure is not None
            if failure is not None:
                self._not_written(writing, failure)
            is_full = spool.open_events >= config.batch_events_max or spool.open_bytes >= config.batch_bytes_max
            is_due = time.monotonic() >= self._opened_at + config.batch_seconds
            if failure is not None or is_full or is_due or state.hurry or state.is_closing:
                if (file := spool.cut()) is not None:
                    state.batches.append(file)
            state.work.notify_all()
            state.room.notify_all()
            state.done.notify_all()

    def _not_written(self, writing: list[Event], failure: OSError) -> None:
        """The lock is held."""
        state = self._state
        state.counts.spool_errors += 1
        self._retry_at = time.monotonic() + RETRY_SECONDS
        state.warn("spool", f"the spool cannot be written, events are sent from memory: {failure}")
        if state.is_over:
            for _, event_id, _ in writing:
                state.drop(event_id, *CLOSED)
            return
        self._put_back(writing)

    def _put_back(self, writing: list[Event]) -> None:
        """To where they came from; but what was thrown away meanwhile must not be sent. The lock is held."""
        state = self._state
        for event in reversed(writing):
            number, event_id, payload = event
            if number <= state.thrown_away:
                state.drop(event_id, *OPTED_OUT)
            else:
                state.queued_bytes += len(payload)
                state.queue.appendleft(event)
