"""The client: what an application calls."""

import atexit
import contextlib
import datetime
import json
import logging
import os
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import time_ns
from types import TracebackType
from typing import Any

from tidegate.config import Config, WhenFull
from tidegate.engine import Engine
from tidegate.event import Unsendable, event_bytes, object_text, random_bits
from tidegate.experiments import Experiment
from tidegate.exposures import Exposures
from tidegate.plan import Plan
from tidegate.scope import NO_SCOPE, current
from tidegate.stats import Delivery, Stats
from tidegate.trace import traceparent
from tidegate.transport import Transport
from tidegate.version import VERSION

log = logging.getLogger("tidegate")

EXIT_SECONDS = 2.0
"""What an orderly exit of the process gives each client to send what it has."""
Time = datetime.datetime | int | float | str
"""Aware, or naive in local time; seconds since 1970; or a text."""


class Client:
    """Sends events. One for each write key and process is enough; it may be used from all threads.

    No call raises or waits (but with `when_full="block"`); what cannot be sent is counted in `stats()`, told to `on_delivery`, and logged by the logger `tidegate`.
    docs/sdk-contract.md says all that it does.
    """

    def __init__(
        self,
        write_key: str,
        *,
        url: str = "http://127.0.0.1:8099",
        signing_secret: str | None = None,
        spool: str | os.PathLike[str] | None = None,
        on_delivery: Callable[[Delivery], None] | None = None,
        context: Mapping[str, Any] | None = None,
        enabled: bool = True,
        batch_events_max: int = 500,
        batch_bytes_max: int = 512 * 1024,
        batch_seconds: float = 1.0,
        queue_events_max: int = 10_000,
        queue_bytes_max: int = 32 * 1024 * 1024,
        when_full: WhenFull = "drop_newest",
        block_seconds: float = 1.0,
        timeout: float = 10.0,
        spool_bytes_max: int = 256 * 1024 * 1024,
        spool_seconds: float = 0.05,
        experiments: Iterable[Experiment | Mapping[str, Any]] = (),
        plan: str | Mapping[str, Any] | None = None,
    ) -> None:
        """Raises `ValueError` where it is set up wrongly.

        `url` is where the gate is, or a path of one's own that a proxy passes on to it. `signing_secret` is for a key that asks for signed requests. `spool` is a folder; several processes may have the same. `on_delivery` is called for
        each event when it is known what became of it, on a thread of the client's. `context` goes into every event. `enabled=False` makes a client that is switched off until
        `opt_in()`. `experiments` are those that `variation` knows. `plan` is `PLAN` of the code that `tidegate plan codegen` makes: events are checked
        before they are sent, with the gate's verdicts. Times are seconds.
        """
        self._config = Config(
            write_key=write_key,
            signing_secret=signing_secret,
            url=url,
            batch_events_max=batch_events_max,
            batch_bytes_max=batch_bytes_max,
            batch_seconds=batch_seconds,
            queue_events_max=queue_events_max,
            queue_bytes_max=queue_bytes_max,
            when_full=when_full,
            block_seconds=block_seconds,
            timeout=timeout,
            spool=None if spool is None else Path(spool),
            spool_bytes_max=spool_bytes_max,
            spool_seconds=spool_seconds,
        )
        # Finds out whether the address will do.
        Transport(url, write_key, timeout)
        self._on_delivery = on_delivery
        self._context = {"library": {"name": "tidegate-python", "version": VERSION}} | dict(context or {})
        try:
            self._context_text = object_text("context", self._context)
        except Unsendable as error:
            raise ValueError(error.message) from None
        found = [experiment if isinstance(experiment, Experiment) else Experiment.of(experiment) for experiment in experiments]
        self.experiments: Mapping[str, Experiment] = {experiment.id: experiment for experiment in found}
        """Those that `variation` knows, by id."""
        self._plan = None if plan is None else Plan(plan)
        self._exposures = Exposures()
        self._is_enabled = enabled
        self._engine = Engine(self._config, on_delivery)
        self._close_at_exit = _closing(self)
        if enabled:
            self._start_draining()

    def track(
        self,
        event_type: str,
        properties: Mapping[str, Any] | None = None,
        *,
        user_id: Any = None,
        anonymous_id: Any = None,
        session_id: Any = None,
        name: str | None = None,
        event_time: Time | None = None,
        event_id: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> str | None:
        """Sends an event, and tells its id; `None` where it will not be sent.

        What is not said here comes from the `scope` that the call is in.
        """
        if not self._is_enabled:
            self._engine.suppress()
            return None
        scope = current.get()
        try:
            context_text = self._context_text
            if scope is not NO_SCOPE:
                user_id = scope.user_id if user_id is None else user_id
                anonymous_id = scope.anonymous_id if anonymous_id is None else anonymous_id
                session_id = scope.session_id if session_id is None else session_id
            parent = traceparent()
            if context or scope.context or parent:
                if context is not None and not isinstance(context, Mapping):
                    raise Unsendable("invalid", f"context must be a mapping, is a {type(context).__name__}")
                context_text = object_text("context", {**self._context, **({"traceparent": parent} if parent else {}), **scope.context, **(context or {})})
            own_id, payload = event_bytes(
                event_type, properties, user_id, anonymous_id, session_id, name, event_time, event_id, context_text, time_ns(), random_bits()
            )
        except Unsendable as error:
            self._engine.refuse(str(event_id or ""), error.code, error.message)
            return None
        except Exception as error:
            # As where a text of the caller's own type fails when it is read.
            self._engine.refuse("", "invalid", f"the event cannot be read: {error!r}")
            return None
        if self._plan is not None and self._is_rejected(self._plan, own_id, payload):
            return None
        return own_id if self._engine.put(own_id, payload) else None

    def _is_rejected(self, plan: Plan, event_id: str, payload: bytes) -> bool:
        """Whether the gate would not take the event. Of one that it takes and keeps apart or marks, the log tells."""
        event = json.loads(payload + b"}")
        has_subject = "user_id" in event or "anonymous_id" in event
        violations = plan.check(event["event_type"], has_subject, event.get("properties", {}))
        if not violations:
            return False
        code, told = violations[0].code, "; ".join(f"{found.field} {found.message}".strip() for found in violations)
        if plan.policy == "reject":
            self._engine.reject(event_id, code, told)
            return True
        self._engine.warn(f"plan {code}", f"an event breaks the tracking plan ({code}): {told}")
        return False

    def page_view(self, url: str, *, title: str | None = None, referrer: str | None = None, properties: Mapping[str, Any] | None = None, **who: Any) -> str | None:
        """A page was shown. `who` is what `track` takes besides."""
        facts = {"url": url, "title": title, "referrer": referrer}
        return self.track("page_view", {**{key: value for key, value in facts.items() if value is not None}, **(properties or {})}, **who)

    def identify(self, user_id: Any, traits: Mapping[str, Any] | None = None, **who: Any) -> str | None:
        """What is known of a user; with an `anonymous_id`, also who that was."""
        return self.track("identify", traits, user_id=user_id, **who)

    def conversion(self, name: str, *, value: float | None = None, currency: str | None = None, properties: Mapping[str, Any] | None = None, **who: Any) -> str | None:
        """A goal was reached, such as `purchase`."""
        facts = {"value": value, "currency": currency}
        return self.track("conversion", {**{key: value for key, value in facts.items() if value is not None}, **(properties or {})}, name=name, **who)

    def exposure(self, experiment_id: str, variation_id: str, *, properties: Mapping[str, Any] | None = None, **who: Any) -> str | None:
        """A subject was shown a variation."""
        return self.track("feature_exposure", {**(properties or {}), "experiment_id": experiment_id, "variation_id": variation_id}, **who)

    def variation(self, experiment_id: str, default: str | None = None, *, user_id: Any = None, anonymous_id: Any = None, session_id: Any = None) -> str | None:
        """The variation that a subject sees, and logs once a session that it does. The subject is the id that the experiment names, of this call or of the `scope` that it is in.

        `default` where the subject does not take part: without such an id, outside of the coverage, or where there is no such experiment.
        """
        scope = current.get()
        user_id = scope.user_id if user_id is None else user_id
        anonymous_id = scope.anonymous_id if anonymous_id is None else anonymous_id
        session_id = scope.session_id if session_id is None else session_id
        experiment = self.experiments.get(experiment_id)
        if experiment is None:
            self._engine.warn(f"experiment {experiment_id}", f"there is no experiment {experiment_id}, everyone sees the default")
            return default
        try:
            found = user_id if experiment.subject == "user_id" else anonymous_id
            subject = "" if found is None else str(found)
            variation = experiment.variation(subject) if subject else None
            session = None if session_id is None else str(session_id)
        except Exception as error:
            # As where a text of the caller's own type fails when it is read.
            self._engine.warn("variation", f"the subject of {experiment_id} cannot be read: {error!r}")
            return default
        if variation is None:
            return default
        if self._is_enabled and self._exposures.is_first(experiment_id, variation, subject, session):
            self.exposure(experiment_id, variation, user_id=user_id, anonymous_id=anonymous_id, session_id=session_id)
        return variation

    def has_in_scope(self, subject: str) -> bool:
        """Whether the `scope` that the call is in says such an id: `user_id` or `anonymous_id`."""
        return getattr(current.get(), subject) is not None

    def flush(self, timeout: float = 10.0) -> bool:
        """Sends what is queued without waiting for batches to fill; true when all that was tracked before is delivered, rejected or dropped. At the end of a function of
        a serverless platform, which may be frozen afterwards."""
        return self._engine.flush(time.monotonic() + timeout)

    def sync(self, timeout: float = 10.0) -> bool:
        """True when all that was tracked before is on disk or settled: no crash of the process loses it. False without a spool."""
        return self._engine.sync(time.monotonic() + timeout)

    def close(self, timeout: float = 10.0) -> bool:
        """Sends what there is, as long as there is time, and ends. What is left is in the spool, or dropped as `closed`; then false."""
        atexit.unregister(self._close_at_exit)
        return self._engine.close(time.monotonic() + timeout)

    def opt_out(self) -> None:
        """Switches the client off, and throws away what is queued and spooled."""
        self._is_enabled = False
        self._engine.throw_away()

    def opt_in(self) -> None:
        """Switches it on again."""
        self._is_enabled = True
        self._start_draining()

    @property
    def enabled(self) -> bool:
        """Whether it is switched on."""
        return self._is_enabled

    def stats(self) -> Stats:
        """The counts of this process."""
        return self._engine.stats()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _start_draining(self) -> None:
        """With a spool, what earlier processes left there is sent at once."""
        if self._config.spool is not None:
            self._engine.start()

    def _after_fork(self) -> None:
        self._engine.forget()
        self._engine = Engine(self._config, self._on_delivery)
        # Its lock may have been another thread's at that moment.
        self._exposures = Exposures()


def _closing(client: Client) -> Callable[[], None]:
    """Closes a client at the end of the process, if it still is there."""
    reference = weakref.ref(client)

    def close() -> None:
        if (client := reference()) is not None:
            client.close(EXIT_SECONDS)

    atexit.register(close)
    _clients.add(client)
    return close


_clients: "weakref.WeakSet[Client]" = weakref.WeakSet()


def _after_fork() -> None:
    for client in list(_clients):
        with contextlib.suppress(Exception):
            client._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
