"""The thread that sends: batch by batch, until each is answered."""

import logging
import random
import time

from tidegate import spool as spooling
from tidegate.answers import Meaning, Rejected, meaning, pause
from tidegate.event import time_text, with_sent_at
from tidegate.state import NONE, OPTED_OUT, Batch, Event, State
from tidegate.stats import Delivery
from tidegate.transport import Transport, Unanswered

log = logging.getLogger("tidegate")

TOO_LARGE = Rejected("too_large", "the gate takes no event of this size")


class Sender:
    """Takes batches from the queue or from the spool."""

    def __init__(self, state: State) -> None:
        self._state = state

    def run(self) -> None:
        """Until the client is closed."""
        state, config = self._state, self._state.config
        with state.lock:
            if state.sending is not None:
                # It was being sent when this thread failed.
                state.batches.appendleft(state.sending)
                state.sending = None
        transport = Transport(config.url, config.write_key, config.timeout, config.signing_secret)
        try:
            while (batch := self._next_batch()) is not None:
                self._deliver(transport, batch)
        finally:
            transport.close()

    def tell(self) -> None:
        """Tells the application of what was dropped."""
        with self._state.lock:
            untold = list(self._state.untold)
            self._state.untold.clear()
        self._call(untold)

    def _next_batch(self) -> Batch | None:
        state = self._state
        while True:
            self.tell()
            with state.lock:
                if state.is_over:
                    return None
                first = state.batches[0] if state.batches else None
                if isinstance(first, Batch):
                    state.batches.popleft()
                    state.sending = first
                    return first
                if first is None:
                    due = self._until_due()
                    if due == 0:
                        state.sending = Batch(self._cut())
                        return state.sending
                    if state.is_closing and state.first_unsettled() == NONE:
                        return None
                    if not state.untold:
                        state.work.wait(due)
                    continue
            self._load(first)

    def _load(self, file: spooling.File) -> None:
        """Reads the file that is first among the batches into its place."""
        state, fault, torn = self._state, None, 0
        events: list[tuple[str, bytes]] = []
        try:
            events, torn = spooling.read(file)
        except OSError as error:
            fault = error
        with state.lock:
            if not state.batches or state.batches[0] is not file:
                # It was thrown away meanwhile.
                return
            state.batches.popleft()
            state.counts.torn += torn
            number = file.first if file.events else 0
            if fault is not None:
                log.error("a file of the spool cannot be read, its events are left there: %s", fault)
            elif events:
                state.batches.appendleft(Batch([(number, event_id, payload) for event_id, payload in events], file, is_spooled=True))
            else:
                state.remove(file)

    def _until_due(self) -> float | None:
        """Seconds until what is queued is a batch; nothing where there is none. The lock is held."""
        state, config = self._state, self._state.config
        if not state.queue or (state.spool is not None and not state.is_spool_failing):
            return None
        is_full = len(state.queue) >= config.due_events or state.queued_bytes >= config.due_bytes
        return 0 if is_full or state.hurry or state.is_closing else max(0.0, state.oldest_at + config.batch_seconds - time.monotonic())

    def _cut(self) -> list[Event]:
        """The lock is held."""
        state, config = self._state, self._state.config
        events: list[Event] = []
        size = 0
        while state.queue and len(events) < config.batch_events_max:
            if events and size + len(state.queue[0][2]) > config.batch_bytes_max:
                break
            event = state.queue.popleft()
            size += len(event[2])
            events.append(event)
        state.queued_bytes -= size
        state.oldest_at = time.monotonic()
        state.room.notify_all()
        return events

    def _deliver(self, transport: Transport, batch: Batch) -> None:
        state, retry_after = self._state, None
        while batch.events:
            if batch.attempt and not self._wait_before(batch, retry_after):
                return
            retry_after = None
            sent_at = time_text(time.time_ns() // 1000).encode()
            try:
                answer = transport.post([with_sent_at(payload, sent_at) for _, _, payload in batch.events], batch.attempt)
            except Unanswered as error:
                with state.lock:
                    state.warn("unanswered", f"{state.config.url} gives no answer, events wait: {error}")
            else:
                told = meaning(len(batch.events), answer.status, answer.body, answer.retry_after)
                retry_after = told.retry_after
                if not self._settle(batch, told, answer.status):
                    return
            batch.attempt += 1

    def _wait_before(self, batch: Batch, retry_after: int | None) -> bool:
        """False: there will be no further attempt."""
        state = self._state
        until = time.monotonic() + pause(batch.attempt, retry_after, random.random())
        while True:
            self.tell()
            with state.lock:
                if state.is_over or state.sending is not batch:
                    return False
                if batch.is_thrown_away:
                    state.sending = None
                    state.abandon_batch(batch, *OPTED_OUT)
                    state.done.notify_all()
                    return False
                left = until - time.monotonic()
                if left <= 0:
                    state.counts.retries += 1
                    return True
                state.work.wait(left)

    def _settle(self, batch: Batch, told: Meaning, status: int) -> bool:
        """Counts what an answer says. False: nothing of the batch is left to do."""
        state, events = self._state, batch.events
        outcomes: list[Delivery] = []
        left: list[Event] = []
        with state.lock:
            if state.sending is not batch:
                # It was given up while the answer was on its way.
                return False
            if told.split and len(events) > 1 and not batch.is_thrown_away:
                middle = len(events) // 2
                # The file goes with the half that is sent last.
                second = Batch(events[middle:], batch.file, batch.is_spooled)
                state.batches.extendleft((second, Batch(events[:middle], None, batch.is_spooled)))
                state.sending = None
                return False
            for place, event in enumerate(events):
                if place in told.again or (told.split and len(events) > 1):
                    left.append(event)
                elif told.split:
                    state.outcome(outcomes, event, "dropped", TOO_LARGE)
                elif (rejected := told.rejected.get(place)) is not None:
                    state.outcome(outcomes, event, "rejected", rejected)
                else:
                    state.outcome(outcomes, event, "delivered")
            batch.events = left
            if left:
                state.warn("again", f"{state.config.url} answers {status}, events wait")
            else:
                state.remove(batch.file)
                state.sending = None
            state.done.notify_all()
        self._call(outcomes)
        return bool(left)

    def _call(self, deliveries: list[Delivery]) -> None:
        if self._state.on_delivery is None:
            return
        for delivery in deliveries:
            try:
                self._state.on_delivery(delivery)
            except Exception:
                log.exception("on_delivery failed for event %s", delivery.event_id)
