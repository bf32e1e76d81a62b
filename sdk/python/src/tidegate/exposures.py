"""Which exposures have been logged: once a session."""

import threading
import time
from collections import OrderedDict

SESSION_SECONDS = 30 * 60
"""Of a subject whose session is not known."""
REMEMBERED_MAX = 10_000
"""Beyond, the one that was looked at longest ago is forgotten, and would be logged again: the platform counts the first one only."""


class Exposures:
    """May be asked from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[str, str, str, str], float] = OrderedDict()

    def is_first(self, experiment: str, variation: str, subject: str, session: str | None, now: float | None = None) -> bool:
        """Whether it is the first one of its session; from now on it has been."""
        at = time.monotonic() if now is None else now
        key = (experiment, variation, subject, session or "")
        with self._lock:
            before = self._seen.get(key)
            self._seen[key] = at
            self._seen.move_to_end(key)
            if len(self._seen) > REMEMBERED_MAX:
                self._seen.popitem(last=False)
        return before is None or (session is None and at - before >= SESSION_SECONDS)
