"""A gate for your own tests: `tidegate micro` in a process of its own, asked for what it got.

With pytest there is the fixture `tidegate_micro`, a fresh one for each test:

    def test_signup(tidegate_micro):
        client = tidegate.Client("any", url=tidegate_micro.url)
        sign_up(client)
        client.close()
        assert tidegate_micro.bad() == []
        assert [event["event_type"] for event in tidegate_micro.good()] == ["signup"]
"""

import json
import os
import shutil
import subprocess
import time
import urllib.request
from types import TracebackType
from typing import Any

READY_SECONDS = 30.0
PROGRAM_VARIABLE = "TIDEGATE_BIN"


class Micro:
    """A running gate that keeps what it gets in memory. A context manager."""

    def __init__(self, plan: str | os.PathLike[str] | None = None, program: str | None = None) -> None:
        """`plan` is a tracking plan; `program` is where `tidegate` is, else what the variable `TIDEGATE_BIN` names, else it is looked for in `PATH`."""
        found = program or os.environ.get(PROGRAM_VARIABLE) or shutil.which("tidegate")
        if found is None:
            raise FileNotFoundError(f"there is no program tidegate; put it in PATH, or name it with {PROGRAM_VARIABLE}")
        command = [found, "micro", "--listen", "127.0.0.1:0", *([] if plan is None else ["--plan", os.fspath(plan)])]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stdout is not None and self._process.stderr is not None
        self.url = self._process.stdout.readline().strip()
        """Where clients send to."""
        if not self.url:
            said = self._process.stderr.read()
            self._process.wait(READY_SECONDS)
            raise RuntimeError(f"tidegate micro did not start: {said.strip()}")

    def all(self) -> dict[str, int]:
        """How many events came: `total`, `good`, `bad`, and `duplicates`, which are copies of good ones."""
        counts: dict[str, int] = self._ask("all")
        return counts

    def good(self, event_type: str | None = None) -> list[dict[str, Any]]:
        """The events that would be in Silver, in the native shape, each once, in the order they came."""
        events = [kept["event"] for kept in self._ask("good")]
        return [event for event in events if event_type is None or event["event_type"] == event_type]

    def bad(self) -> list[dict[str, Any]]:
        """What would not: each with `violations` (`code`, `field`, `message`) and its `payload`."""
        bad: list[dict[str, Any]] = self._ask("bad")
        return bad

    def reset(self) -> None:
        """Forgets all of it."""
        self._ask("reset")

    def wait_for(self, good: int, timeout: float = 10.0) -> list[dict[str, Any]]:
        """Waits until there are so many good events; raises `TimeoutError` with what there is."""
        deadline = time.monotonic() + timeout
        while (found := self.all())["good"] < good:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{good} good events expected, there are {found}; bad ones: {self.bad()[:3]}")
            time.sleep(0.02)
        return self.good()

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.communicate(timeout=READY_SECONDS)

    def __enter__(self) -> "Micro":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _ask(self, what: str) -> Any:
        # Not through a proxy that the environment names.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.url}/micro/{what}", timeout=READY_SECONDS) as answer:
            return json.load(answer)
